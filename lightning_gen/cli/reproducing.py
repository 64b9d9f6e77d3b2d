"""`reproduce`: says what a suite costs, makes the runs that are missing, and judges what came out."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_gen.files import write_text
from lightning_gen.suites.cells import FLOOR, picture_of
from lightning_gen.suites.engines import ENGINES, at_once
from lightning_gen.suites.jobs import Job, jobs_of
from lightning_gen.suites.pictures import draw_matrix
from lightning_gen.suites.results import collect, document, of_present_settings, read_found, report
from lightning_gen.suites.suite import Suite, read_suite
from lightning_gen.tracking import read_results

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
    side_by_side = at_once(options) if engine == "here" else 1
    every = jobs_of(suite, scale, output, data)
    for job in every:
        job.note()  # which refuses what is of other settings, before anything is run
    kept = read_found(results / f"{suite.name}.json")
    sound, failed = readable(every)
    missing = [job for job in sound if not job.is_complete()]
    say_cost(suite, scale, sound, missing, side_by_side)
    if dry_run:
        return
    try:
        failed += ENGINES[engine](missing, options) if missing else []
        see_floor(suite, scale, sound, data)
    finally:  # what there is, also if it was stopped
        found = gather(suite, scale, sound, kept, results)
    said, passes = report(suite, scale, found)
    print(f"\n{said}\n\nresults      {results / f'{suite.name}.md'}")
    for sentence in failed:
        print(f"failed       {sentence}")
    if not passes:
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


def say_cost(
    suite: Suite, scale: str, every: list[Job], missing: list[Job], side_by_side: int = 1
) -> None:
    """Says what will be run, and how long it takes with so many runs at a time."""
    print(f"{suite.title}, scale {scale}: {len(every)} runs")
    width = max((len(job.label) for job in every), default=0)
    for job in every:
        state = "to do" if job in missing else "done"
        if job in missing and job.is_started():
            state = "to go on with"
        print(
            f"  {state:14} {job.label:{width}} {job.scale.minutes:g} minutes on {job.scale.machine}"
        )
    minutes = sum(job.scale.minutes for job in missing) / side_by_side
    length = f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
    order = "one after the other" if side_by_side == 1 else f"{side_by_side} at a time"
    print(f"cost         {length} for {len(missing)} runs, {order}", flush=True)


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
        if suite.matrix is not None:
            add_floor(found, jobs[0].folder.parent / FLOOR, kept.get(scale, {}))
            draw_matrix(suite, scale, list(jobs), found, results / picture_of(suite, scale))
        every = of_present_settings(suite, {**kept, scale: found})
        path = results / f"{suite.name}.json"
        write_text(path, json.dumps(every, indent=2) + "\n")
        write_text(path.with_suffix(".md"), document(suite, every))
    return found


def see_floor(suite: Suite, scale: str, jobs: Sequence[Job], data: str | None) -> None:
    """Measures what the cells of a matrix are judged against, unless it has been."""
    configs = [job.folder / "config.yaml" for job in jobs]
    config = next((path for path in configs if path.exists()), None)
    if suite.matrix is None or config is None:
        return
    distance = suite.matrix.rules[scale].distance
    protocols = {job.scores().get(distance, {}).get("protocol") for job in jobs}
    folder = jobs[0].folder.parent / FLOOR
    known = read_results(folder / "result.json").get("scores", {}).get(distance, {})
    if known.get("value") is None or known["protocol"] not in protocols:
        from .floor import measure_floor

        print("\nthe distance of real images, once", flush=True)
        measure_floor(config, data, folder)


def add_floor(found: dict[str, dict[str, Any]], folder: Path, kept: Mapping[str, Any]) -> None:
    """Puts the distance of real images among the results, as it was measured or as it was kept."""
    scores = read_results(folder / "result.json").get("scores")
    if scores:
        found[FLOOR] = {"0": {"scores": scores}}
    elif FLOOR in kept:
        found[FLOOR] = kept[FLOOR]
