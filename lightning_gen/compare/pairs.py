"""Which of two groups is better in a column, and which are the best of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from lightning_gen.scores import direction

from .protocols import UNSTATED
from .selection import after_selection
from .statistics import Difference, Summary, difference, holm

ALL_PAIRS = 8  # groups up to which each is compared with each, where it is not known what is better

# With whom the groups of a column are compared: the best of them, whom their values have chosen, one
# that was named before, or each with each.
Family = Literal["best", "baseline", "pairs"]


@dataclass(frozen=True)
class Column:
    """Scores under one key and one protocol; `told_apart` is what other columns of the key have otherwise."""

    key: str
    protocol: str
    told_apart: str = ""

    @property
    def title(self) -> str:
        return f"{self.key} ({self.told_apart})" if self.told_apart else self.key

    @property
    def direction(self) -> int:
        return direction(self.key)

    @property
    def judged(self) -> bool:
        """Whether one may be called better here: it is known what is, and that all were measured alike."""
        return self.direction != 0 and self.protocol != UNSTATED


@dataclass
class Cell:
    """What a group has in a column: a summary, or why there is none."""

    summary: Summary | None = None
    values: dict[int | str, float] = field(default_factory=dict)
    reason: str = ""  # n/a: ..., not measured, not finite
    note: str = ""
    best: bool = False
    elsewhere: int = 0  # how many scores are of another checkpoint than the run's last


@dataclass
class Pair:
    """Two groups in a column; `a` less `b`. Its p is corrected for the comparisons of its family."""

    column: Column
    a: str
    b: str
    difference: Difference
    p: float = math.nan  # corrected
    family: Family = "pairs"
    comparisons: int = 1  # of the family, in this column

    @property
    def better(self) -> float:
        """The probability that A is better than B; NaN where better is not known."""
        if self.column.direction == 0:
            return math.nan
        above = self.difference.above
        return above if self.column.direction > 0 else 1 - above

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out 0, and the corrected p agrees."""
        found = self.difference
        return self.p < 0.05 and not found.low <= 0 <= found.high

    @property
    def winner(self) -> str:
        """The group that is better; empty where that is not decided."""
        if not self.decided or not self.column.judged:
            return ""
        return self.a if self.difference.mean * self.column.direction > 0 else self.b

    @property
    def verdict(self) -> str:
        """What may be said, in words."""
        a, b = self.difference.n
        n = f"n = {a}" if a == b else f"n = {a} and {b}"
        if math.isnan(self.difference.p):
            return f"no interval at {n}"
        if not self.decided:
            after = ", after correction" if self.difference.p < 0.05 else ""
            return f"not distinguishable at {n}{after}"
        if self.column.direction == 0:
            return f"{self.a} is {'higher' if self.difference.mean > 0 else 'lower'}"
        return f"{self.winner} is better"


def pairs_of(column: Column, cells: Mapping[str, Cell], baseline: str | None) -> list[Pair]:
    """The pairs of a column, each against the baseline or else the best, corrected for their number."""
    if column.protocol == UNSTATED or len(cells) < 2:
        return []
    family, chosen = _chosen(column, cells, baseline)
    pairs = [Pair(column, a, b, difference(cells[a].values, cells[b].values)) for a, b in chosen]
    p = [pair.difference.p for pair in pairs]
    if family == "best" and pairs:
        best, others = pairs[0].b, [cells[pair.a].values for pair in pairs]
        corrected = after_selection(p, cells[best].values, others)
    else:
        corrected = holm(p)
    count = sum(not math.isnan(value) for value in p)
    for pair, value in zip(pairs, corrected, strict=True):
        pair.p, pair.family, pair.comparisons = value, family, count
    return pairs


def _chosen(
    column: Column, cells: Mapping[str, Cell], baseline: str | None
) -> tuple[Family, list[tuple[str, str]]]:
    """Who is compared with whom, and why."""
    if baseline is None and not column.direction:
        return "pairs", list(combinations(cells, 2)) if len(cells) <= ALL_PAIRS else []
    several = {name: cell for name, cell in cells.items() if cell.summary and cell.summary.n > 1}
    to = best_of(several or cells, column) if baseline is None else baseline
    others = [(name, to) for name in cells if to in cells and name != to]
    return "best" if baseline is None else "baseline", others


def best_of(cells: Mapping[str, Cell], column: Column) -> str:
    """The group of the best mean."""
    means = {name: cell.summary.mean for name, cell in cells.items() if cell.summary}
    return min(means, key=lambda name: -column.direction * means[name])


def mark_best(column: Column, cells: Mapping[str, Cell], pairs: Sequence[Pair]) -> None:
    """Marks the best of a column and those that it does not beat, if it beats any."""
    if not column.judged or len(cells) < 2:
        return
    best = best_of(cells, column)
    beaten = {
        ({pair.a, pair.b} - {best}).pop(): pair.winner == best
        for pair in pairs
        if pair.column == column and best in (pair.a, pair.b)
    }
    if any(beaten.values()) and len(beaten) == len(cells) - 1:
        for name, cell in cells.items():
            cell.best = name == best or not beaten[name]
