"""What a suite is: a published table as YAML.

A suite has rows. A row has a config, the published scores with their source, and for each scale what
changes in the config, which seeds are run, what a run costs, and between which values the mean over
the seeds should lie::

    title: Likelihoods of MNIST
    about: What is compared, and under which protocol.
    rows:
      - name: VAE
        config: configs/mnist/vae.yaml
        published: {nll/bound: {value: 86.77, source: "https://..."}}
        scales:
          short:
            seeds: [0, 1]
            cost: {minutes: 5, machine: two CPU cores}
            expect: {nll/bound: [93, 98]}
            overrides: {trainer.max_epochs: 28}
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Scale(NamedTuple):
    """One size at which a row is run.

    Arguments:
        seeds: One run for each.
        minutes: What a run takes.
        machine: On what.
        expect: For each score, the least and the greatest mean that passes.
        overrides: Settings that differ from the config's, by their dotted names.
    """

    seeds: tuple[int, ...]
    minutes: float
    machine: str
    expect: dict[str, tuple[float, float]]
    overrides: dict[str, Any]


class Row(NamedTuple):
    """A line of the table.

    Arguments:
        name: Of the model, as the table has it.
        config: What it is run by.
        published: For a score, its value and its source, and a note on what differs.
        scales: By name.
    """

    name: str
    config: Path
    published: dict[str, dict[str, Any]]
    scales: dict[str, Scale]

    @property
    def slug(self) -> str:
        """The name as a part of a path."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


class Suite(NamedTuple):
    """A published table.

    Arguments:
        name: That of its file.
        title: Of the table.
        about: What is compared, and how.
        rows: In their order.
    """

    name: str
    title: str
    about: str
    rows: list[Row]

    @property
    def scales(self) -> list[str]:
        """The scales that any row has, in the order in which they are met."""
        return list(dict.fromkeys(scale for row in self.rows for scale in row.scales))


def read_suite(path: Path) -> Suite:
    """The suite in a file.

    Raises:
        ValueError: If it is none, in one sentence that says where.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"the suite {path} cannot be read: {error}") from error
    rows = _get(content, "rows", list, f"the suite {path}")
    if not rows:
        raise ValueError(f"the suite {path} has no rows")
    found = [_row(row, f"row {number} of the suite {path}") for number, row in enumerate(rows, 1)]
    slugs = [row.slug for row in found]
    if len(set(slugs)) < len(slugs):
        raise ValueError(f"two rows of the suite {path} have the same name")
    return Suite(
        path.stem, str(content.get("title", path.stem)), str(content.get("about", "")), found
    )


def _row(content: Any, where: str) -> Row:
    name = _get(content, "name", str, where)
    config = Path(_get(content, "config", str, where))
    if not config.is_file():
        raise ValueError(
            f"{where} is run by {config}, which is not there; run it from the repository"
        )
    scales = _get(content, "scales", dict, where)
    published = content.get("published") or {}
    for score, value in published.items() if isinstance(published, dict) else [("published", None)]:
        if not isinstance(value, dict) or not isinstance(value.get("value"), int | float):
            raise ValueError(f"{where} should have {score} as {{value: NUMBER, source: WHERE}}")
    return Row(
        name,
        config,
        published,
        {key: _scale(value, f"scale {key} of {where}") for key, value in scales.items()},
    )


def _scale(content: Any, where: str) -> Scale:
    cost = _get(content, "cost", dict, where)
    expect = {}
    for score, bounds in _get(content, "expect", dict, where).items():
        numbers = [bounds] if not isinstance(bounds, list) else bounds
        if len(numbers) != 2 or not all(isinstance(each, int | float) for each in numbers):
            raise ValueError(f"{where} should expect {score} in [low, high], got {bounds}")
        expect[score] = (float(numbers[0]), float(numbers[1]))
        if not expect[score][0] < expect[score][1] or math.isnan(sum(expect[score])):
            raise ValueError(f"{where} expects {score} in {bounds}, in which nothing lies")
    seeds = tuple(_get(content, "seeds", list, where))
    whole = all(isinstance(seed, int) for seed in seeds)
    if not seeds or not whole or len(set(seeds)) < len(seeds):
        raise ValueError(
            f"{where} should have different seeds, such as [0, 1, 2], got {list(seeds)}"
        )
    minutes = float(_get(cost, "minutes", int | float, f"the cost of {where}"))
    machine = _get(cost, "machine", str, f"the cost of {where}")
    overrides = content.get("overrides") or {}
    if not isinstance(overrides, dict):
        raise ValueError(f"{where} should have overrides by their dotted names, got {overrides}")
    return Scale(seeds, minutes, machine, expect, overrides)


def _get(content: Any, key: str, kind: Any, where: str) -> Any:
    value = content.get(key) if isinstance(content, Mapping) else None
    if not isinstance(value, kind):
        raise ValueError(
            f"{where} lacks {key}, or has something else there; see docs/reproducing.md"
        )
    return value
