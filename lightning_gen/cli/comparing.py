"""`compare`: its arguments, which may be many, and what it prints."""

from collections.abc import Iterator, Sequence
from itertools import islice
from json import dumps
from pathlib import Path

from lightning_gen.compare import compare as run
from lightning_gen.compare import written
from lightning_gen.compare.tables import markdown, notes

from .catalogue import read_catalogue
from .configs import read_config


def compare(
    runs: Sequence[str], outputs: Sequence[Path], by: str, baseline: str | None, strict: bool
) -> None:
    """Compares runs; prints the table, or what it says and where the reports are."""
    rows = [(str(row["class_path"]).rpartition(".")[2], row) for row in read_catalogue()]
    capabilities = {name: list(row["capabilities"]) for name, row in rows}  # type: ignore[call-overload]
    found = run(runs, outputs, read_config, by, baseline, strict, capabilities)
    if not outputs:
        print(markdown(found), end="")
        return
    for note in notes(found):
        print(note)
    for command in found.again:
        print(f"to measure it again: {command}")
    for path, _ in written(outputs):
        print(f"report       {path}")


def as_lists(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments of `compare` for a parser that takes one value each: its runs and its outputs as lists.

    Raises:
        ValueError: If an output has no name.
    """
    runs, outputs, others = [], [], []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            runs.append(word)
        elif name == "--output":
            outputs.append(value if equals else next(words, ""))
            if not outputs[-1]:
                raise ValueError("--output needs a file or a folder, such as --output report.html")
        elif equals or word in ("--strict", "--help", "-h"):
            others.append(word)
        else:
            others += [word, *islice(words, 1)]
    yield from others
    if outputs:
        yield f"--output={dumps(outputs)}"
    if runs:
        yield dumps(runs)
