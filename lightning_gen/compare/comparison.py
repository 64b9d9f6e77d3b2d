"""What there is to say about groups of runs: columns of one protocol each, cells, pairs, budgets."""

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from lightning_gen.scores import direction

from .budgets import budget_differences
from .grouping import Group, group_runs
from .protocols import UNSTATED, command, differing, impossible, short, telling
from .runs import REMOTE, Run
from .statistics import Difference, Summary, difference, holm, summarise

ALL_PAIRS = 8  # groups up to which each is compared with each


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


@dataclass
class Cell:
    """What a group has in a column: a summary, or why there is none."""

    summary: Summary | None = None
    values: dict[int | str, float] = field(default_factory=dict)
    reason: str = ""  # n/a: ..., not measured, not finite
    note: str = ""
    best: bool = False


@dataclass
class Pair:
    """Two groups in a column; `a` less `b`."""

    column: Column
    a: str
    b: str
    difference: Difference
    p: float = math.nan  # corrected
    family: int = 1  # how many pairs it is corrected for

    @property
    def better(self) -> float:
        """The probability that A is better than B; NaN where better is not known."""
        if self.column.direction == 0:
            return math.nan
        above = self.difference.above
        return above if self.column.direction > 0 else 1 - above

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out 0, and Holm's correction agrees."""
        found = self.difference
        return self.p < 0.05 and not found.low <= 0 <= found.high

    @property
    def verdict(self) -> str:
        """What may be said, in words."""
        a, b = self.difference.n
        n = f"n = {a}" if a == b else f"n = {a} and {b}"
        if math.isnan(self.difference.p):
            return f"no interval at {n}"
        if not self.decided:
            after = ", after Holm's correction" if self.difference.p < 0.05 else ""
            return f"not distinguishable at {n}{after}"
        if self.column.direction == 0:
            return f"{self.a} is {'higher' if self.difference.mean > 0 else 'lower'}"
        return f"{self.a if self.better > 0.5 else self.b} is better"


@dataclass
class Comparison:
    """All of a report but its pictures."""

    runs: list[Run]
    groups: list[Group]
    columns: list[Column]
    cells: dict[tuple[str, Column], Cell]
    pairs: list[Pair]
    mixed: list[str]  # about protocols that differ
    again: list[str]  # commands that would put runs under one protocol
    budgets: list[str]  # about budgets that differ
    problems: list[tuple[str, str]]  # run and what is wrong with it
    baseline: str | None = None

    @property
    def tested(self) -> list[Pair]:
        """The pairs, if of any there is more to say than that there are too few runs."""
        return self.pairs if any(not math.isnan(pair.p) for pair in self.pairs) else []

    def row(self, group: Group) -> list[Cell]:
        return [self.cells[group.name, column] for column in self.columns]


def compare_runs(
    runs: Sequence[Run],
    by: str = "model",
    baseline: str | None = None,
    capabilities: Mapping[str, Collection[str]] | None = None,
) -> Comparison:
    """Puts runs into groups and says how these differ.

    Arguments:
        runs: As they were read.
        by: See `group_runs`.
        baseline: The name of the group that others are compared with; by default each with each or,
            of many groups, with the best.
        capabilities: What known models can do, by the names of their classes.

    Raises:
        ValueError: If a name is unknown.
    """
    problems = [(run.name, problem) for run in runs for problem in run.problems]
    groups = group_runs(_once(runs, problems), by)
    names = [group.name for group in groups]
    if baseline is not None and baseline not in names:
        near = difflib.get_close_matches(baseline, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names[:8])}"
        raise ValueError(f"there is no group {baseline} to compare with; {hint}")
    columns, mixed = _columns(groups)
    cells = {
        (group.name, column): _cell(group, column, capabilities or {})
        for group in groups
        for column in columns
    }
    pairs = [pair for column in columns for pair in _pairs(groups, column, cells, baseline)]
    _mark_best(columns, names, cells, pairs)
    again = _again(groups, columns, cells)
    return Comparison(
        list(runs),
        groups,
        columns,
        cells,
        pairs,
        mixed,
        again,
        budget_differences(groups),
        problems,
        baseline,
    )


def _once(runs: Sequence[Run], problems: list[tuple[str, str]]) -> list[Run]:
    """The runs without those that are another once more: the same settings and the same seed."""
    kept: list[Run] = []
    for run in runs:
        twin = next(
            (r for r in kept if run.seed is not None and r.seed == run.seed and _alike(r, run)),
            None,
        )
        if twin is None:
            kept.append(run)
        else:
            problems.append(
                (run.name, f"left out, as {twin.name} has the same settings and the same seed")
            )
    return kept


def _alike(a: Run, b: Run) -> bool:
    return all(a.config.get(room) == b.config.get(room) for room in ("model", "data", "trainer"))


def _columns(groups: Sequence[Group]) -> tuple[list[Column], list[str]]:
    """A column for each key and protocol, and what is to be said of keys with several.

    Scores that most groups have come first.
    """
    protocols: dict[str, dict[str, set[str]]] = {}
    for group in groups:
        for score in [score for run in group.runs for score in run.scores]:
            having = protocols.setdefault(score.key, {}).setdefault(score.protocol, set())
            having.add(group.name)
    columns, mixed = [], []
    count = {key: len(set().union(*found.values())) for key, found in protocols.items()}
    for key in sorted(protocols, key=lambda key: (not direction(key), -count[key], key)):
        found = sorted(protocols[key], key=lambda protocol: -len(protocols[key][protocol]))
        if len(found) == 1:
            columns.append(Column(key, found[0], short(found[0], ())))
            continue
        stated = [protocol for protocol in found if protocol != UNSTATED]
        names = telling(stated)
        columns += [Column(key, protocol, short(protocol, names)) for protocol in found]
        what = ", ".join(differing(stated)) or "what a tracker does not state"
        mixed.append(f"{key} was measured under {len(found)} protocols, which differ in {what}")
    return columns, mixed


def _cell(group: Group, column: Column, capabilities: Mapping[str, Collection[str]]) -> Cell:
    scores = [
        (run, score)
        for run in group.runs
        for score in run.scores
        if (score.key, score.protocol) == (column.key, column.protocol)
    ]
    if not scores:
        keys = {score.key for run in group.runs for score in run.scores}
        why = impossible(column.key, group.model, keys, capabilities)
        return Cell(reason=f"n/a: {why}" if why else "not measured")
    values: dict[int | str, float] = {}
    for run, score in scores:
        if score.value is not None:
            taken = run.seed is None or run.seed in values
            values[run.place if taken else run.seed] = score.value  # type: ignore[index]
    notes = []
    if len(values) < len(scores):
        notes.append(f"{len(scores) - len(values)} of {len(scores)} not finite")
    if len(scores) < len(group.runs):
        notes.append(f"{len(group.runs) - len(scores)} of {len(group.runs)} not measured")
    unfinished = sum(run.finished is False for run, _ in scores)
    if unfinished:
        notes.append(f"{unfinished} of {len(scores)} unfinished")
    if not values:
        return Cell(reason="not finite", note=", ".join(notes))
    return Cell(summarise(list(values.values())), values, note=", ".join(notes))


def _pairs(
    groups: Sequence[Group],
    column: Column,
    cells: Mapping[tuple[str, Column], Cell],
    baseline: str | None,
) -> list[Pair]:
    """The pairs of a column, corrected for their number."""
    found = {g.name: cells[g.name, column] for g in groups if cells[g.name, column].summary}
    if baseline is None and len(found) > ALL_PAIRS and column.direction:
        baseline = best_of(found, column)
    if baseline is None and len(found) <= ALL_PAIRS:
        chosen = list(combinations(found, 2))
    else:
        chosen = [(name, baseline) for name in found if baseline in found and name != baseline]
    pairs = [Pair(column, a, b, difference(found[a].values, found[b].values)) for a, b in chosen]
    corrected = holm([pair.difference.p for pair in pairs])
    for pair, p in zip(pairs, corrected, strict=True):
        pair.p, pair.family = p, sum(not math.isnan(value) for value in corrected)
    return pairs


def best_of(cells: Mapping[str, Cell], column: Column) -> str:
    """The group of the best mean."""
    means = {name: cell.summary.mean for name, cell in cells.items() if cell.summary}
    return min(means, key=lambda name: -column.direction * means[name])


def _mark_best(
    columns: Sequence[Column],
    names: Sequence[str],
    cells: Mapping[tuple[str, Column], Cell],
    pairs: Sequence[Pair],
) -> None:
    """Marks the best of each column and those it is not distinguishable from, if it beats any."""
    for column in columns:
        here = {name: cells[name, column] for name in names if cells[name, column].summary}
        if not column.direction or len(here) < 2:
            continue
        best = best_of(here, column)
        rivals = {
            ({pair.a, pair.b} - {best}).pop(): pair.decided
            for pair in pairs
            if pair.column == column and best in (pair.a, pair.b)
        }
        if any(rivals.values()) and len(rivals) == len(here) - 1:
            for name, cell in here.items():
                cell.best = name == best or not rivals[name]


def _again(
    groups: Sequence[Group],
    columns: Sequence[Column],
    cells: Mapping[tuple[str, Column], Cell],
) -> list[str]:
    """Commands that measure runs under the protocol that most of them have, where keys have several."""
    commands = []
    for key in dict.fromkeys(column.key for column in columns if column.told_apart):
        same = [c for c in columns if c.key == key and c.protocol != UNSTATED]
        count = {c: sum(len(cells[g.name, c].values) for g in groups) for c in same}
        if not count:
            continue
        target = max(same, key=lambda c: count[c])
        for run in [run for group in groups for run in group.runs]:
            protocols = {score.protocol for score in run.scores if score.key == key}
            if protocols and target.protocol not in protocols and not run.place.startswith(REMOTE):
                commands.append(command(str(run.checkpoint), target.protocol))
    return commands
