"""What is wrong with the data of a user, in one sentence."""


class DataError(ValueError):
    """A file that is there and cannot be served. The message names it and says what to do."""

    def __init__(self, sentence: str) -> None:
        # A loader's worker wraps its traceback around the sentence; only the sentence is kept.
        super().__init__(sentence.rstrip().rpartition("DataError: ")[2])
