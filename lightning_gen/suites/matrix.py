"""A table of rows and columns, each cell of which is a run: every row and column is stated once.

A cell's config is that of the suite, changed by the scale, then by its row, then by its column; a row
or a column may have more to say at a scale. A scale names the distance that judges a cell, and the
scores that count classes, if there are any::

    config: configs/celeba64/dcgan.yaml
    columns:
      - name: WGAN-GP
        overrides: {model: WGANGP, model.discriminator.init_args.norm: layer}
        published: {trains: [6, 6], source: "who, where: https://..."}
    rows:
      - {name: baseline}
      - name: MLP
        overrides: {model.generator: {class_path: MLPGenerator}}
        at: {short: {model.generator.init_args.shape: [1, 32, 32]}}
    scales:
      short:
        seeds: [0]
        cost: {minutes: 2, machine: one CPU core}
        distance: fid/digits@2000
        classes: is_all/digits@2000
        floors: [5, 20]            # the default
        expect: {WGAN-GP: [5, 6]}  # in how many rows it trains
        overrides: {trainer.max_steps: 1000}
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from .fields import field, overrides_of, slug_of

Counts = tuple[int, int]  # the least and the greatest number of rows
FLOORS = (5.0, 20.0)


class Axis(NamedTuple):
    """A row or a column.

    Arguments:
        name: As the table has it.
        overrides: Settings that it changes.
        at: Settings that it changes besides, by scale.
        published: In how many rows a column is said to train.
        source: Where.
    """

    name: str
    overrides: dict[str, Any]
    at: dict[str, dict[str, Any]]
    published: Counts | None = None
    source: str = ""


class Rule(NamedTuple):
    """How the cells of a scale are judged.

    Arguments:
        distance: The score that is to be small.
        classes: A score that is about the number of classes among the samples, if there is one.
        floors: Up to how many times the distance of real images a cell trains, and beyond how many
            it has collapsed.
        expect: For a column, in how many rows it should train.
    """

    distance: str
    classes: str | None
    floors: tuple[float, float]
    expect: dict[str, Counts]


class Matrix(NamedTuple):
    """Rows, columns and the rule of each scale."""

    rows: list[Axis]
    columns: list[Axis]
    rules: dict[str, Rule]

    def slug(self, row: Axis, column: Axis) -> str:
        """The name of a cell's runs."""
        return slug_of(_name(row, column))


def expand(content: Mapping[str, Any], where: str) -> tuple[list[dict[str, Any]], Matrix]:
    """The rows of a plain suite that a matrix stands for, and the matrix.

    Raises:
        ValueError: If something is missing or wrong, in one sentence.
    """
    config, scales = field(content, "config", str, where), field(content, "scales", dict, where)
    rows = [_axis(each, "row", scales, where) for each in field(content, "rows", list, where)]
    given = field(content, "columns", list, where)
    columns = [_axis(each, "column", scales, where) for each in given]
    if not columns:
        raise ValueError(f"{where} has no columns")
    names = [column.name for column in columns]
    rules = {
        key: _rule(at, names, len(rows), f"scale {key} of {where}") for key, at in scales.items()
    }
    matrix = Matrix(rows, columns, rules)
    cells = [
        {
            "name": _name(row, column),
            "config": config,
            "scales": {key: _cell(at, key, row, column, rules[key]) for key, at in scales.items()},
        }
        for row in rows
        for column in columns
    ]
    return cells, matrix


def merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in the order in which they are to be made; the last word on each counts.

    The order matters: a class that is named anew keeps what settings it shares with the one before.
    """
    found: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            found.pop(key, None)
            found[key] = value
    return found


def _cell(scale: Any, key: str, row: Axis, column: Axis, rule: Rule) -> dict[str, Any]:
    """A scale of a cell, as a plain suite has it: any distance will do, and none at all."""
    shared = overrides_of(scale, f"scale {key}")
    axes = (row.overrides, row.at.get(key, {}), column.overrides, column.at.get(key, {}))
    scores = [rule.distance, *([rule.classes] if rule.classes else [])]
    return {
        **{name: scale[name] for name in ("seeds", "cost") if name in scale},
        "expect": {score: [0, math.inf] for score in scores},
        "overrides": merged(shared, *axes),
        "may_collapse": True,
    }


def _name(row: Axis, column: Axis) -> str:
    return f"{row.name}, {column.name}"


def _axis(content: Any, kind: str, scales: Mapping[str, Any], where: str) -> Axis:
    name = field(content, "name", str, f"a {kind} of {where}")
    here = f"the {kind} {name} of {where}"
    every = content.get("at") or {}
    if not isinstance(every, dict) or not set(every) <= set(scales):
        raise ValueError(f"{here} should have `at` by scale, of {', '.join(scales)}, got {every}")
    at = {scale: overrides_of({"overrides": part}, here) for scale, part in every.items()}
    overrides, published = overrides_of(content, here), content.get("published")
    if published is None:
        return Axis(name, overrides, at)
    claim = field({"published": published}, "published", dict, here)
    counts = _counts(claim.get("trains"), f"{here} should have published trains")
    return Axis(name, overrides, at, counts, field(claim, "source", str, f"published of {here}"))


def _rule(content: Any, columns: list[str], rows: int, where: str) -> Rule:
    distance, classes = field(content, "distance", str, where), content.get("classes")
    if not isinstance(classes, str | None):
        raise ValueError(f"{where} should name one score of classes, or none, got {classes}")
    floors = content.get("floors", list(FLOORS))
    numbers = isinstance(floors, list) and all(isinstance(each, int | float) for each in floors)
    if not numbers or len(floors) != 2 or not 1 < floors[0] < floors[1]:
        raise ValueError(
            f"{where} should have floors as [trains, collapses] with 1 < trains < collapses, such "
            f"as [5, 20], got {floors}"
        )
    expect = {}
    for name, counts in (content.get("expect") or {}).items():
        if name not in columns:
            raise ValueError(f"{where} expects something of {name}, which is no column")
        expect[name] = _counts(counts, f"{where} should expect {name} to train")
        if expect[name][1] > rows:
            raise ValueError(f"{where} expects {name} to train in {counts} of {rows} rows")
    return Rule(distance, classes, (float(floors[0]), float(floors[1])), expect)


def _counts(value: Any, what: str) -> Counts:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(each, int) for each in value):
        low, high = value
        if 0 <= low <= high:
            return low, high
    raise ValueError(f"{what} in [least, most] rows, such as [5, 6], got {value}")
