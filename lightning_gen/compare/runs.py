"""Reading runs from their folders. What is missing or damaged is noted, and the rest is used."""

import csv
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from lightning_gen.secrets import redact

from .extra import load

ReadConfig = Callable[[Path], dict[str, Any]]
REMOTE = "wandb://"
LARGEST = 2**28  # bytes of a file of numbers
PICTURE = re.compile(r"(\d{1,12})\.png")


@dataclass(frozen=True)
class Score:
    """One number; None where it was not finite. Its error and interval are of its measurement alone.

    It is from elsewhere if its checkpoint had seen other than the images that the run's budget states.
    """

    key: str
    value: float | None
    protocol: str
    standard_error: float | None = None
    interval: tuple[float, float] | None = None
    images_seen: float | None = None
    elsewhere: bool = False


@dataclass
class Run:
    """A run, as far as it could be read.

    Arguments:
        place: Its folder, or its address.
        config: Its settings without secrets; empty if they could not be read.
        scores: Its scores, those under other protocols too.
        budget: What it took: `images_seen`, `steps`, `parameters`, `processes`, `seconds`.
        history: A pandas frame of what was logged, with `images_seen` and perhaps `seconds`.
        pictures: Grids of samples by step.
        problems: What is missing or damaged, in sentences.
        name: The end of its place.
        row: The row of a suite that it is of, if `reproduce` made it.
    """

    place: str
    config: dict[str, Any] = field(default_factory=dict)
    scores: list[Score] = field(default_factory=list)
    budget: dict[str, float] = field(default_factory=dict)
    history: Any = None
    pictures: dict[int, Path] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    finished: bool | None = None  # not known
    problems: list[str] = field(default_factory=list)
    name: str = ""
    row: str = ""

    @property
    def seed(self) -> int | None:
        """The seed, where the config states one."""
        seed = self.config.get("seed_everything")
        return seed if isinstance(seed, int) and not isinstance(seed, bool) else None

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint of a run that is a folder."""
        return Path(self.place) / "checkpoints" / "last.ckpt"


def read_run(place: str, read_config: ReadConfig) -> Run:
    """A run from its folder; whatever is wrong with it is among its problems."""
    run, folder = Run(place), Path(place)
    try:
        run.config = redact(read_config(folder / "config.yaml"))
    except (ValueError, OSError, RecursionError) as error:
        run.problems.append(f"left out, as its settings are unknown: {_words(error)}")
    run.environment = redact(_read_json(run, folder / "environment.json"))
    result = _read_json(run, folder / "result.json")
    budget = result.get("budget")
    if isinstance(budget, Mapping):
        run.budget = finite(budget)
    run.scores = list(scores_of(run, result.get("scores", {})))
    run.finished = is_number(result.get("finished")) if result else None
    if run.finished is False:
        run.problems.append(f"unfinished, at step {run.budget.get('steps', 0):.0f}")
    stopped = result.get("stopped")
    if isinstance(stopped, Mapping):
        run.problems.append(f"stopped at step {stopped.get('step')}: {stopped.get('reason')}")
    run.history = _read_history(run, folder / "metrics.csv")
    complete(run)
    samples = folder / "samples"
    names = sorted(os.listdir(samples)) if samples.is_dir() else []
    steps = {name: PICTURE.fullmatch(name) for name in names}
    run.pictures = {int(step[1]): samples / name for name, step in steps.items() if step}
    run.row = redact(_row(run, folder))
    run.problems = [redact(problem) for problem in run.problems]
    return run


def _row(run: Run, folder: Path) -> str:
    """The row of a suite that a run is of, as it was noted or else as its folder is named: row-seed."""
    note = folder / "suite.json"
    if not note.is_file():
        return ""
    row = _read_json(run, note).get("row")
    if isinstance(row, str):
        return " ".join(row.split())
    slug, _, seed = folder.resolve().name.rpartition("-")
    return slug if seed == str(run.seed) else ""


def complete(run: Run) -> None:
    """Adds the time in training to a run's history, and to its budget what only the history says."""
    if run.history is None or not len(run.history):
        return
    run.history = with_seconds(run.history)
    if "images_seen" not in run.budget:
        run.budget["images_seen"] = float(run.history["images_seen"].max())
    if "seconds" in run.history:
        run.budget["seconds"] = float(run.history["seconds"].max())


def with_seconds(history: Any) -> Any:
    """A history with the seconds spent on training, where it has the speed.

    The speed stands at log lines, over the images since the line before: images over speed are
    seconds. Validation, sampling and checkpoints do not count, nor does time between a stop and
    going on.
    """
    numpy = load("numpy")
    if "images_per_second" not in history:
        return history
    speed = history[["images_seen", "images_per_second"]].dropna()
    speed = speed[speed["images_per_second"] > 0].drop_duplicates("images_seen", keep="last")
    if not len(speed):
        return history
    seen = numpy.concatenate([[0.0], speed["images_seen"]])
    seconds = numpy.cumsum(numpy.diff(seen) / speed["images_per_second"].to_numpy())
    at = numpy.interp(history["images_seen"], seen, [0.0, *seconds], right=numpy.nan)
    # A line a little later than the last that has the speed is at that speed.
    beyond = history["images_seen"] - seen[-1]
    last = float(speed["images_per_second"].iloc[-1])
    at = numpy.where(beyond > 0, seconds[-1] + beyond / last, at)
    return history.assign(seconds=at)


def _read_json(run: Run, path: Path) -> dict[str, Any]:
    """An object of a JSON file; nothing, and a problem noted, where it cannot be read."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST:,} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no object")
        return content
    except FileNotFoundError:
        run.problems.append(f"has no {path.name}")
    except (OSError, ValueError, RecursionError) as error:
        run.problems.append(f"{path.name} cannot be read: {_words(error)}")
    return {}


def scores_of(run: Run, content: Any) -> Iterator[Score]:
    """The scores of a result.json, those under other protocols after each.

    The run must have its budget already, so that scores of other checkpoints are told.
    """
    if not isinstance(content, Mapping):
        run.problems.append("result.json has scores that are no object")
        return
    for key, newest in content.items():
        others = newest.get("also", {}) if isinstance(newest, Mapping) else {}
        for score in [newest, *(others.values() if isinstance(others, Mapping) else [])]:
            if not isinstance(score, Mapping) or not isinstance(score.get("protocol"), str):
                run.problems.append(f"result.json has {key} without a protocol")
                continue
            value, spread = score.get("value"), score.get("standard_error")
            if value is not None and not is_number(value):
                run.problems.append(f"result.json has {key} that is no number")
                continue
            if not is_number(value) or not math.isfinite(value):
                run.problems.append(f"{key} is not finite")
                value = None
            error = float(spread) if is_number(spread) and math.isfinite(spread) else None
            number = None if value is None else float(value)
            seen, end = finite(score).get("images_seen"), run.budget.get("images_seen")
            elsewhere = seen is not None and end is not None and seen != end
            if elsewhere:
                run.problems.append(
                    f"{key} is of another checkpoint: of {seen:,.0f} images, where the run saw {end:,.0f}"
                )
            made = error, _ends(score), seen, elsewhere
            yield Score(str(key), number, score["protocol"], *made)


def _ends(score: Mapping[str, Any]) -> tuple[float, float] | None:
    """The ends of a score's own interval, if it has one."""
    ends = score.get("interval_95")
    if isinstance(ends, list) and len(ends) == 2 and len(finite(dict(enumerate(ends)))) == 2:
        return float(ends[0]), float(ends[1])
    return None


def _read_history(run: Run, path: Path) -> Any:
    """The numbers of a metrics.csv as a frame, or None and a problem noted."""
    pandas = load("pandas")
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST:,} bytes")
        frame = pandas.read_csv(path, on_bad_lines="skip", low_memory=False, encoding="utf-8")
    except FileNotFoundError:
        run.problems.append("has no metrics.csv")
        return None
    except (OSError, ValueError, csv.Error, pandas.errors.ParserError) as error:
        run.problems.append(f"metrics.csv cannot be read: {_words(error)}")
        return None
    frame = tidy(frame)
    if frame is None:
        run.problems.append("metrics.csv has no column images_seen")
    elif not len(frame):
        run.problems.append("metrics.csv has no rows")
    return frame


def tidy(frame: Any) -> Any:
    """A frame of finite numbers in order of `images_seen`, or None if that is not known."""
    pandas, numpy = load("pandas"), load("numpy")
    if "images_seen" not in frame:
        return None
    frame = frame.apply(pandas.to_numeric, errors="coerce").astype(float)
    frame = frame.replace([numpy.inf, -numpy.inf], numpy.nan)
    frame = frame[frame["images_seen"] >= 0]
    if len(frame):
        frame = frame.dropna(axis="columns", how="all")
    return frame.sort_values("images_seen", kind="stable").reset_index(drop=True)


def finite(values: Mapping[Any, Any]) -> dict[str, float]:
    """Those values that are finite numbers."""
    return {str(k): float(v) for k, v in values.items() if is_number(v) and math.isfinite(v)}


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value of JSON is a number, and not larger than a float can be."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, float) or (whole and abs(value) < 2**1023)


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
