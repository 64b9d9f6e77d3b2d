"""Where runs are: which folders and addresses arguments name, and what runs are called by these."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .runs import REMOTE, Run

PARTS = ("config.yaml", "result.json", "metrics.csv")  # a folder with one of them is a run


def find_runs(arguments: Sequence[str]) -> list[str]:
    """The run folders and W&B runs that arguments name, each once.

    Arguments:
        arguments: Run folders, folders of such, patterns of a shell, or wandb:// addresses.

    Raises:
        ValueError: If an argument names no run.
    """
    found: dict[str, str] = {}
    for argument in arguments:
        if argument.startswith(REMOTE):
            found[argument] = argument
            continue
        paths = (
            [argument] if os.path.exists(argument) else sorted(glob.glob(argument, recursive=True))
        )
        here = [place for path in paths for place in _runs_under(Path(path))]
        if not here:
            what = (
                "holds no run, which is a folder with a config.yaml" if paths else "does not exist"
            )
            raise ValueError(f"{argument} {what}; name runs, such as runs/digits-dcgan")
        for place in here:
            found.setdefault(os.path.realpath(place), str(place))
    if not found:
        raise ValueError("there are no runs to compare; name some, such as runs/digits-dcgan")
    return list(found.values())


def name_runs(runs: Iterable[Run]) -> None:
    """Names runs by the ends of their places, as short as tells them apart."""
    left, length = list(runs), 2
    while left:
        ends: dict[str, list[Run]] = {}
        for run in left:
            parts = run.place.removeprefix(REMOTE).strip("/").split("/")
            run.name = "/".join(parts[-length:])
            ends.setdefault(run.name, []).append(run)
        unclear = [run for same in ends.values() if len(same) > 1 for run in same]
        if all(len(run.place.split("/")) <= length for run in unclear):
            return
        left, length = unclear, length + 1


def _runs_under(path: Path) -> Iterator[Path]:
    """The run folders in a folder, at any depth; none within a run."""
    if path.is_file():
        if path.suffix == ".wandb" or path.name in PARTS:
            yield path.parent
        return
    for folder, folders, files in os.walk(path):
        tracked = any(name.endswith(".wandb") for name in files)
        if tracked or set(PARTS) & set(files):
            folders.clear()
            yield Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
