"""`reproduce`: says what a suite costs, makes the runs that are missing, and judges what came out."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_gen.files import write_text
from lightning_gen.suites.engines import ENGINES
from lightning_gen.suites.jobs import Job, jobs_of
from lightning_gen.suites.results import (
    collect,
    document,
    of_present_settings,
    outcomes,
    read_found,
    table,
)
from lightning_gen.suites.suite import Suite, read_suite

from .classes import nearest

SUITES = Path("benchmarks") / "suites"
FAILED = 3  # the exit code where a row does not pass


def reproduce(
    name: str,
    scale: str,
    output: Path,
    data: str | None,
    engine: str,
    options: Mapping[str, Any],
    results: Path,
    dry_run: bool,
) -> None:
    """Reproduces a suite at a scale; see the command's own words.

    Raises:
        ValueError: If the suite, the scale or the engine is not there.
        SystemExit: With FAILED, if not every row passes.
    """
    suite = find_suite(name)
    if engine not in ENGINES:
        raise ValueError(f"there is no engine {engine}; {nearest(engine, list(ENGINES))}")
    every = jobs_of(suite, scale, output, data)
    for job in every:
        job.note()  # which refuses what is of other settings, before anything is run
    kept = read_found(results / f"{suite.name}.json")
    sound, failed = readable(every)
    missing = [job for job in sound if not job.is_complete()]
    say_cost(suite, scale, sound, missing)
    if dry_run:
        return
    try:
        failed += ENGINES[engine](missing, options) if missing else []
    finally:  # what there is, also if it was stopped
        found = gather(suite, scale, sound, kept, results)
    verdicts = outcomes(suite, scale, found)
    print(f"\n{table(verdicts)}\n\nresults      {results / f'{suite.name}.md'}")
    for sentence in failed:
        print(f"failed       {sentence}")
    if not all(each.verdict == "PASS" for each in verdicts):
        raise SystemExit(FAILED)


def find_suite(name: str) -> Suite:
    """A suite by its name, or by its file."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return read_suite(path)
    names = sorted(each.stem for each in SUITES.glob("*.yaml"))
    if not names:
        raise ValueError(f"there is no {SUITES} here; run it from the repository, or name a .yaml")
    if name not in names:
        raise ValueError(f"there is no suite {name}; {nearest(name, names)}")
    return read_suite(SUITES / f"{name}.yaml")


def say_cost(suite: Suite, scale: str, every: list[Job], missing: list[Job]) -> None:
    """Says what will be run, and how long it takes."""
    print(f"{suite.title}, scale {scale}: {len(every)} runs")
    for job in every:
        state = "to do" if job in missing else "done"
        if job in missing and job.is_started():
            state = "to go on with"
        print(f"  {state:14} {job.label:40} {job.scale.minutes:g} minutes on {job.scale.machine}")
    minutes = sum(job.scale.minutes for job in missing)
    length = f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
    print(f"cost         {length} for {len(missing)} runs, one after the other", flush=True)


def readable(jobs: Sequence[Job]) -> tuple[list[Job], list[str]]:
    """The runs whose files can be read, and sentences about the others."""
    sound, said = [], []
    for job in jobs:
        try:
            if job.is_complete():
                collect(job)
            sound.append(job)
        except ValueError as error:
            said.append(f"{job.label}: {error}")
    return sound, said


def gather(
    suite: Suite, scale: str, jobs: Sequence[Job], kept: dict[str, Any], results: Path
) -> dict[str, dict[str, Any]]:
    """What all complete runs of a scale found, which goes to the page of the suite as well."""
    found: dict[str, dict[str, Any]] = {}
    for job in jobs:
        if job.is_complete():
            found.setdefault(job.row.slug, {})[str(job.seed)] = collect(job)
    if found:
        every = of_present_settings(suite, {**kept, scale: found})
        path = results / f"{suite.name}.json"
        write_text(path, json.dumps(every, indent=2) + "\n")
        write_text(path.with_suffix(".md"), document(suite, every))
    return found
