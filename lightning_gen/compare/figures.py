"""What a page draws: curves with bands over seeds, and grids of samples."""

import base64
import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from lightning_gen.scores import direction

from .grouping import Group
from .runs import Run
from .statistics import LEVEL

POINTS = 300  # of a curve, at most
NUMBERS = 300_000  # of all curves, at most
AXES = ("images_seen", "seconds")
APART = {*AXES, "step", "epoch", "waiting_share", "trainer/global_step"}
SIDE = 420  # pixels of a grid of samples, at most
FRAMES = 8  # grids of a run, at most
GRIDS = 24  # runs with grids, at most

Curve = dict[str, Any]
Line = tuple[np.ndarray, np.ndarray]


def curves(groups: Sequence[Group]) -> dict[str, dict[str, list[Curve]]]:
    """By key and axis, a curve for each group that has it: `group` (its place), `x`, `y`, `low`, `high`, `n`."""
    keys = dict.fromkeys(
        str(column)
        for group in groups
        for run in group.runs
        if run.history is not None
        for column in run.history.columns
        if column not in APART
    )
    having = {
        key: sum(any(r.history is not None and key in r.history for r in g.runs) for g in groups)
        for key in keys
    }
    ordered = sorted(
        keys, key=lambda key: (not direction(key), -having[key], "loss" not in key, key)
    )
    per_curve = NUMBERS // max(1, len(groups) * len(ordered) * len(AXES) * 4)
    points = max(20, min(POINTS, per_curve))
    found: dict[str, dict[str, list[Curve]]] = {}
    for key in ordered:
        for k, group in enumerate(groups):
            curve = band([c for run in group.runs if (c := line(run, key))], points)
            if curve is None:
                continue
            axes = found.setdefault(key, {})
            axes.setdefault("images_seen", []).append({"group": k, **curve})
            timed = over_seconds(curve, [c for run in group.runs if (c := line(run, "seconds"))])
            if timed:
                axes.setdefault("seconds", []).append({"group": k, **timed})
    return found


def line(run: Run, key: str) -> Line | None:
    """One run's values by images seen, of the same place the last; None if it has none."""
    if run.history is None or key not in run.history:
        return None
    rows = run.history[["images_seen", key]].dropna().drop_duplicates("images_seen", keep="last")
    return (rows["images_seen"].to_numpy(), rows[key].to_numpy()) if len(rows) else None


def over_seconds(curve: Curve, times: Sequence[Line]) -> Curve | None:
    """A curve by images seen as one by time: by the mean over seeds of the time that so many images took."""
    if not times:
        return None
    at = np.stack(
        [np.interp(curve["x"], [0, *x], [0, *seconds], right=np.nan) for x, seconds in times]
    )
    known = np.flatnonzero(np.isfinite(at).any(axis=0))
    kept = {
        name: [values[k] for k in known]
        for name, values in curve.items()
        if isinstance(values, list)
    }
    return {**curve, **kept, "x": short(np.nanmean(at[:, known], axis=0))} if len(known) else None


def band(lines: Sequence[Line], points: int) -> Curve | None:
    """The mean of lines and its interval, Student's t, on places that they have in common.

    A line of more points than are wanted is averaged within bins; where lines have different places
    they are interpolated, and only those that reach a place are averaged there.
    """
    if not lines:
        return None
    if len({x.tobytes() for x, _ in lines}) == 1 and len(lines[0][0]) <= points:
        grid = lines[0][0]
        values = np.stack([y for _, y in lines])
    else:
        thinned = [thin(x, y, points) for x, y in lines]
        first, last = min(x[0] for x, _ in thinned), max(x[-1] for x, _ in thinned)
        grid = np.unique(np.concatenate([x for x, _ in thinned]))
        grid = grid if len(grid) <= points else np.linspace(first, last, points)
        values = np.stack([np.interp(grid, x, y, np.nan, np.nan) for x, y in thinned])
    n = np.isfinite(values).sum(axis=0)
    grid, values, n = grid[n > 0], values[:, n > 0], n[n > 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of one value there is no deviation
        mean, deviation = np.nanmean(values, axis=0), np.nanstd(values, axis=0, ddof=1)
        half = stats.t.ppf((1 + LEVEL) / 2, np.maximum(n - 1, 1)) * deviation / np.sqrt(n)
    half = np.where(n > 1, half, np.nan)
    curve = {"x": short(grid), "y": short(mean), "n": int(n.max())}
    if np.isfinite(half).any():
        curve |= {"low": short(mean - half), "high": short(mean + half)}
    return curve


def thin(x: np.ndarray, y: np.ndarray, points: int) -> Line:
    """A line of at most so many points: means within bins of as many points each."""
    if len(x) <= points:
        return x, y
    starts = np.linspace(0, len(x), points, endpoint=False).astype(int)
    sizes = np.diff([*starts, len(x)])
    return np.add.reduceat(x, starts) / sizes, np.add.reduceat(y, starts) / sizes


def short(values: np.ndarray) -> list[float | None]:
    """Numbers of five digits, which is more than a screen shows; null where there is none."""
    return [float(f"{v:.5g}") if math.isfinite(v) else None for v in values.tolist()]


def grids(groups: Sequence[Group], problems: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """For each group its first run with samples: `group`, `run`, and `frames` of (step, images, picture)."""
    found = []
    for k, group in enumerate(groups[:GRIDS]):
        run = next((run for run in group.runs if run.pictures), None)
        if run is None:
            continue
        frames = []
        for step in spread(sorted(run.pictures), FRAMES):
            picture = embedded(run.pictures[step])
            if picture is None:
                problems.append((run.name, f"{run.pictures[step].name} is no picture"))
                continue
            frames.append({"step": step, "images": seen_at(run, step), "picture": picture})
        if frames:
            found.append({"group": k, "run": run.name, "frames": frames})
    return found


def spread(steps: Sequence[int], count: int) -> list[int]:
    """So many of some steps, first and last among them."""
    if len(steps) <= count:
        return list(steps)
    return [steps[round(k * (len(steps) - 1) / (count - 1))] for k in range(count)]


def seen_at(run: Run, step: int) -> int | None:
    """How many images a run had seen at a step, if its history says so."""
    for name in ("step", "trainer/global_step"):
        if run.history is not None and name in run.history:
            rows = run.history[[name, "images_seen"]].dropna().sort_values(name)
            if len(rows):
                known = [0.0, *rows[name]], [0.0, *rows["images_seen"]]
                return round(float(np.interp(step, *known)))
    return None


def embedded(path: Path) -> str | None:
    """A picture as an address that holds it; None if it is none."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > 2**26:
                return None
            small = picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    small.save(encoded, "WEBP", quality=82, method=4)
    return f"data:image/webp;base64,{base64.b64encode(encoded.getvalue()).decode()}"
