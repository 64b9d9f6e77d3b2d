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
      - name: DRAW
        published: {nll/bound: {value: 80.97, source: "https://..."}}
        why: Its reader and writer are not here.

A row that nothing here trains says `why` in place of `config` and `scales`: its number stands in the
table alone. Where rows are crossed with columns, `matrix` says how each is stated once.
"""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from .fields import bounds_of, field, overrides_of, slug_of
from .matrix import Matrix, expand


class Scale(NamedTuple):
    """One size at which a row is run.

    Arguments:
        seeds: One run for each.
        minutes: What a run takes.
        machine: On what.
        expect: For each score, the least and the greatest mean that passes.
        overrides: Settings that differ from the config's, by their dotted names.
        may_collapse: Whether a run that a guard gave up, as for a loss that is no number, is a
            result: that there is no score.
        comparable: Whether the published numbers are of the same data.
    """

    seeds: tuple[int, ...]
    minutes: float
    machine: str
    expect: dict[str, tuple[float, float]]
    overrides: dict[str, Any]
    may_collapse: bool = False
    comparable: bool = True


class Row(NamedTuple):
    """A line of the table.

    Arguments:
        name: Of the model, as the table has it.
        config: What it is run by, None if nothing here trains it.
        published: For a score, its value and its source, and whether it is comparable.
        scales: By name; none without a config.
        why: Nothing here trains it.
        dequantised: Whether its likelihoods are those of a density, of images with noise.
    """

    name: str
    config: Path | None
    published: dict[str, dict[str, Any]]
    scales: dict[str, Scale]
    why: str = ""
    dequantised: bool = False

    @property
    def slug(self) -> str:
        """The name as a part of a path."""
        return slug_of(self.name)


class Suite(NamedTuple):
    """A published table.

    Arguments:
        name: That of its file.
        title: Of the table.
        about: What is compared, and how.
        rows: In their order.
        matrix: Of what rows and columns the rows are the cells, if they are.
    """

    name: str
    title: str
    about: str
    rows: list[Row]
    matrix: Matrix | None = None

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
    rows, matrix = field(content, "rows", list, f"the suite {path}"), None
    if not rows:
        raise ValueError(f"the suite {path} has no rows")
    if "columns" in content:
        rows, matrix = expand(content, f"the suite {path}")
    found = [_row(row, f"row {number} of the suite {path}") for number, row in enumerate(rows, 1)]
    slugs = [row.slug for row in found]
    if len(set(slugs)) < len(slugs):
        raise ValueError(f"two rows of the suite {path} have the same name")
    title, about = str(content.get("title", path.stem)), str(content.get("about", ""))
    return Suite(path.stem, title, about, found, matrix)


def _row(content: Any, where: str) -> Row:
    name, published = field(content, "name", str, where), _published(content, where)
    dequantised = bool(content.get("dequantised", False))
    if "why" in content:
        given = [key for key in ("config", "scales") if key in content]
        if given or not published:
            raise ValueError(
                f"{where} says why nothing trains it, so it should have published numbers, and "
                "neither a config nor scales"
            )
        return Row(name, None, published, {}, field(content, "why", str, where), dequantised)
    config = Path(field(content, "config", str, where))
    if not config.is_file():
        raise ValueError(
            f"{where} is run by {config}, which is not there; run it from the repository"
        )
    scales = {
        key: _scale(value, f"scale {key} of {where}")
        for key, value in field(content, "scales", dict, where).items()
    }
    return Row(name, config, published, scales, "", dequantised)


def _published(content: Any, where: str) -> dict[str, dict[str, Any]]:
    published = content.get("published") or {}
    for score, value in published.items() if isinstance(published, dict) else [("published", None)]:
        if not isinstance(value, dict) or not isinstance(value.get("value"), int | float):
            raise ValueError(f"{where} should have {score} as {{value: NUMBER, source: WHERE}}")
    return published


def _scale(content: Any, where: str) -> Scale:
    cost = field(content, "cost", dict, where)
    expect = {
        score: bounds_of(bounds, score, where)
        for score, bounds in field(content, "expect", dict, where).items()
    }
    seeds = tuple(field(content, "seeds", list, where))
    whole = all(isinstance(seed, int) for seed in seeds)
    if not seeds or not whole or len(set(seeds)) < len(seeds):
        raise ValueError(
            f"{where} should have different seeds, such as [0, 1, 2], got {list(seeds)}"
        )
    minutes = float(field(cost, "minutes", int | float, f"the cost of {where}"))
    machine = field(cost, "machine", str, f"the cost of {where}")
    collapses = bool(content.get("may_collapse", False))
    comparable = bool(content.get("comparable", True))
    overrides = overrides_of(content, where)
    return Scale(seeds, minutes, machine, expect, overrides, collapses, comparable)
