"""Comparing runs: read from their folders or from W&B, as tables with intervals over seeds, and a page."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from lightning_gen.files import make_folder, write_text

from .comparison import Comparison, compare_runs
from .extra import load
from .page import page
from .places import find_runs, name_runs
from .runs import REMOTE, ReadConfig, Run, read_run
from .tables import group_frame, latex, markdown, pair_frame, run_frame
from .tracked import read_offline, read_online

WRITERS = {  # by suffix
    ".html": page,
    ".md": markdown,
    ".tex": latex,
    ".csv": lambda found: group_frame(found).to_csv(index=False),
}
FOLDER = {  # what a folder gets
    **{f"compare{suffix}": writer for suffix, writer in WRITERS.items()},
    "runs.csv": lambda found: run_frame(found).to_csv(index=False),
    "differences.csv": lambda found: pair_frame(found).to_csv(index=False),
}


def compare(
    places: Sequence[str],
    outputs: Sequence[Path],
    read_config: ReadConfig,
    by: str = "model",
    baseline: str | None = None,
    strict: bool = False,
    capabilities: Mapping[str, Collection[str]] | None = None,
) -> Comparison:
    """Reads runs, compares them and writes reports.

    Arguments:
        places: Run folders, folders of such, patterns, or W&B's addresses.
        outputs: Files to write, by their suffixes, or folders, which get one of each kind.
        read_config: Reads a config.yaml, or raises a ValueError.
        by: See `group_runs`.
        baseline: See `compare_runs`.
        strict: Refuse runs with scores under different protocols.
        capabilities: See `compare_runs`.

    Raises:
        ValueError: If there is nothing to compare, or a name is unknown.
    """
    load("pandas")
    reports = written(outputs)
    runs = read_runs(places, read_config)
    found = compare_runs(runs, by, baseline, capabilities)
    for name, problem in found.problems:
        print(f"{name}: {problem}", file=sys.stderr)
    if not found.groups:
        raise ValueError("none of these runs has a config.yaml that can be read; name others")
    if strict and found.mixed:
        raise ValueError(
            f"{'; '.join(found.mixed)}; measure them alike, such as by "
            f"`{found.again[0] if found.again else 'run.py evaluate'}`, or leave out --strict"
        )
    for path, writer in reports:
        make_folder(path.parent)
        write_text(path, writer(found))
    return found


def read_runs(places: Sequence[str], read_config: ReadConfig) -> list[Run]:
    """The runs that places name, each with a name of its own."""
    runs: list[Run] = []
    for place in find_runs(places):
        if place.startswith(REMOTE):
            runs += read_online(place)
        elif next(Path(place).glob("*.wandb"), None):
            runs.append(read_offline(Path(place)))
        else:
            runs.append(read_run(place, read_config))
    name_runs(runs)
    return runs


def written(outputs: Sequence[Path]) -> list[tuple[Path, Callable[[Comparison], str]]]:
    """The files that outputs stand for, and what writes each.

    Raises:
        ValueError: If one has a suffix that nothing is written for.
    """
    files: list[tuple[Path, Callable[[Comparison], str]]] = []
    for output in outputs:
        if output.is_dir() or not output.suffix:
            files += [(output / name, writer) for name, writer in FOLDER.items()]
        elif output.suffix.lower() in WRITERS:
            files.append((output, WRITERS[output.suffix.lower()]))
        else:
            raise ValueError(
                f"{output.name} ends in {output.suffix}; reports end in {', '.join(WRITERS)}, or are a folder"
            )
    return files
