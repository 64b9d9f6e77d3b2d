"""What came out of a suite, judged: every number is read from the result.json of a run."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lightning_gen.compare.statistics import Summary, summarise
from lightning_gen.tracking import read_results

from .cells import FLOOR, TALLY_HEAD, section, table_of, tallies, tally_text
from .jobs import Job, jobs_of
from .suite import Row, Suite

# By scale, row and seed: what `collect` gives.
Found = Mapping[str, Mapping[str, Mapping[str, Any]]]


class Outcome(NamedTuple):
    """One score of one row at one scale.

    Arguments:
        row: The row's name.
        score: Such as `nll/bound`.
        published: The value that was published, None if there is none.
        comparable: Whether it was measured by the same protocol.
        source: Where.
        dequantised: Whether the likelihood is that of a density, of images with noise.
        expected: Between which values the mean should lie; None of a row that nothing here trains.
        seeds: How many runs there are, and how many there should be.
        summary: Mean and interval over them; None if there are none.
        verdict: PASS, FAIL, missing or not trained.
        protocols: By which it was measured; more than one is a fault.
    """

    row: str
    score: str
    published: float | None
    comparable: bool
    source: str
    dequantised: bool
    expected: tuple[float, float] | None
    seeds: tuple[int, int]
    summary: Summary | None
    verdict: str
    protocols: list[str]


def collect(job: Job) -> dict[str, Any]:
    """What a run that is complete found, and what it took."""
    made = _environment(job.folder / "environment.json")
    machine, versions = made.get("hardware", {}), made.get("versions", {})
    environment = {
        "commit": str(made.get("git", {}).get("commit"))[:10],
        "torch": versions.get("torch"),
        "pytorch-lightning": versions.get("pytorch-lightning"),
        "on": ", ".join(machine.get("gpus") or [f"{machine.get('threads')} threads of a CPU"]),
        "processes": machine.get("processes"),
    }
    return {
        "recipe": job.recipe,
        "scores": job.scores(),
        "budget": read_results(job.folder / "result.json").get("budget", {}),
        "seconds": round(job.note().get("seconds", 0.0)),
        "environment": environment,
    }


def _environment(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text()) if path.exists() else {}
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged; what the run was made on cannot be said")
    return content


def read_found(path: Path) -> dict[str, Any]:
    """The kept results of a suite, nothing if there are none; ValueError if it is no such file."""
    try:
        content = json.loads(path.read_text()) if path.exists() else {}
        if all(
            isinstance(run, dict)
            for at in content.values()
            for row in at.values()
            for run in row.values()
        ):
            return content
    except (ValueError, AttributeError):  # another kind of JSON
        pass
    raise ValueError(f"{path} does not hold the results of a suite; move it away")


def of_present_settings(suite: Suite, found: Found) -> dict[str, Any]:
    """Results without those of runs that were made by other settings than the suite has now."""
    kept: dict[str, Any] = {}
    for scale in suite.scales:
        for job in jobs_of(suite, scale, Path()):
            run = found.get(scale, {}).get(job.row.slug, {}).get(str(job.seed))
            if run is not None and run.get("recipe") == job.recipe:
                kept.setdefault(scale, {}).setdefault(job.row.slug, {})[str(job.seed)] = run
        if suite.matrix is not None and scale in kept and FLOOR in found[scale]:
            kept[scale][FLOOR] = found[scale][FLOOR]
    return kept


def outcomes(suite: Suite, scale: str, found: Mapping[str, Mapping[str, Any]]) -> list[Outcome]:
    """The verdicts of a scale.

    Arguments:
        suite: The suite.
        scale: Which of its scales.
        found: By row and seed, what `collect` gave.
    """
    every = []
    for row in suite.rows:
        at = row.scales.get(scale)
        if row.config is None:
            stated = [_stated(row, score) for score in row.published]
            every += [Outcome(*each, None, (0, 0), None, NOT_TRAINED, []) for each in stated]
        if at is None:
            continue
        runs = list(found.get(row.slug, {}).values())
        for score, bounds in at.expect.items():
            made = [run["scores"][score] for run in runs if score in run["scores"]]
            seeds = len(made), len(at.seeds)
            judged = bounds, seeds, *_judged(made, bounds, len(at.seeds))
            every.append(Outcome(*_stated(row, score, at.comparable), *judged))
    return every


def _stated(
    row: Row, score: str, comparable: bool = True
) -> tuple[str, str, float | None, bool, str, bool]:
    """What the suite says of a score, as an `Outcome` begins."""
    published = row.published.get(score, {})
    same = published.get("comparable", True) and (comparable or not published)
    said = published.get("value"), bool(same), published.get("source", "")
    return row.name, score, *said, row.dequantised


def _judged(
    made: list[dict[str, Any]], bounds: tuple[float, float], wanted: int
) -> tuple[Summary | None, str, list[str]]:
    protocols = sorted({score["protocol"] for score in made})
    if not made:
        return None, "missing", []
    values = [math.nan if score["value"] is None else score["value"] for score in made]
    summary = summarise(values)
    inside = bounds[0] <= summary.mean <= bounds[1]  # also false of NaN
    verdict = "FAIL" if not inside or len(protocols) > 1 else "PASS"
    return summary, verdict if len(made) == wanted else "missing", protocols


def text(outcome: Outcome) -> list[str]:
    """The cells of an outcome's line."""
    expected, seeds, measured = "-", "-", "-"
    if outcome.expected is not None:
        expected = "{:g} to {:g}".format(*outcome.expected)
        seeds = f"{outcome.seeds[0]} of {outcome.seeds[1]}"
    if outcome.summary is not None:
        measured = f"{outcome.summary.mean:.4g}"
        if not math.isnan(outcome.summary.low):
            measured += f" [{outcome.summary.low:.4g}, {outcome.summary.high:.4g}]"
    score = f"{outcome.score}, dequantised" if outcome.dequantised else outcome.score
    published = "-" if outcome.published is None else f"{outcome.published:g}"
    published += "" if outcome.comparable else "*"
    return [outcome.row, score, published, expected, measured, seeds, outcome.verdict]


NOT_TRAINED = "not trained"
HEAD = ["row", "score", "published", "expected", "mean [95 %]", "seeds", "verdict"]


def report(suite: Suite, scale: str, found: Mapping[str, Mapping[str, Any]]) -> tuple[str, bool]:
    """What came out of a scale for a terminal, and whether all of it passes."""
    if suite.matrix is None:
        every = outcomes(suite, scale, found)
        passes = all(each.verdict in ("PASS", NOT_TRAINED) for each in every)
        return aligned([HEAD, *map(text, every)]), passes
    columns = tallies(suite, scale, found)
    cells, said = table_of(suite, scale, found), [TALLY_HEAD, *map(tally_text, columns)]
    passes = all(each.verdict == "PASS" for each in columns)
    return f"{aligned(cells)}\n\n{aligned(said)}", passes


def aligned(lines: list[list[str]]) -> str:
    """Lines of cells, in columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def document(suite: Suite, found: Found) -> str:
    """The page of a suite: a table for each scale at which there are runs."""
    parts = [f"# {suite.title}", "", *([suite.about.strip(), ""] if suite.about else [])]
    parts += [
        f"Generated by `python run.py reproduce {suite.name}` from the `result.json` of each run.",
        f"The numbers are in [{suite.name}.json]({suite.name}.json).",
        "",
    ]
    for scale in suite.scales:
        if scale in found:
            parts += _section(suite, scale, found[scale])
    return "\n".join(parts).rstrip() + "\n"


def _section(suite: Suite, scale: str, found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    runs = [run for name, row in found.items() if name != FLOOR for run in row.values()]
    minutes = sum(run["seconds"] for run in runs) / 60
    lines = [f"## {scale}", "", f"{len(runs)} runs in {minutes:.0f} minutes.", ""]
    lines += _rows(suite, scale, found) if suite.matrix is None else section(suite, scale, found)
    for each in sorted({json.dumps(run["environment"]) for run in runs}):
        lines += ["", ", ".join(f"{k} {v}" for k, v in json.loads(each).items())]
    return [*lines, ""]


def _rows(suite: Suite, scale: str, found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    every = outcomes(suite, scale, found)
    lines = [f"| {' | '.join(HEAD)} |", "| --- | --- | --- | --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(text(each))} |" for each in every]
    sources = dict.fromkeys(f"{e.row}, {e.score}: {e.source}" for e in every if e.source)
    if sources:
        lines += ["", "Published:", "", *(f"- {source}" for source in sources)]
    if not all(e.comparable for e in every):
        lines += ["", "\\* by another protocol: not to be compared with the numbers beside it."]
    reasons = [f"- {row.name}: {row.why}" for row in suite.rows if row.config is None]
    lines += ["", "Not trained here:", "", *reasons] if reasons else []
    lines += ["", "Measured as:", ""]
    return [*lines, *(f"- {e.row}: `{p}`" for e in every for p in e.protocols)]
