"""What is wrong with the data of a user, in one sentence."""


class DataError(ValueError):
    """A file that cannot be served. The message names it and says what to do."""

    def __init__(self, sentence: str) -> None:
        # A loader's worker wraps its traceback around the sentence; only the sentence is kept.
        if sentence.startswith("Caught DataError in "):
            sentence = sentence.rpartition(f"\n{__name__}.DataError: ")[2]
        super().__init__(" ".join(sentence.splitlines()))
