"""What there is to say about groups of runs: columns of one protocol each, cells, pairs, budgets."""

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lightning_gen.scores import direction

from .budgets import budget_differences
from .grouping import Group, group_runs, without_twins
from .pairs import Cell, Column, Pair, mark_best, pairs_of
from .protocols import UNSTATED, command, differing, impossible, short, telling
from .runs import REMOTE, Run
from .statistics import summarise


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
        baseline: The name of the group that others are compared with; by default the best of a score.
        capabilities: What known models can do, by the names of their classes.

    Raises:
        ValueError: If a name is unknown.
    """
    problems = [(run.name, problem) for run in runs for problem in run.problems]
    groups = group_runs(without_twins(runs, by, problems), by)
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
    here = {
        column: {name: cells[name, column] for name in names if cells[name, column].summary}
        for column in columns
    }
    pairs = [pair for column in columns for pair in pairs_of(column, here[column], baseline)]
    for column in columns:
        mark_best(column, here[column], pairs)
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
    elsewhere = sum(score.elsewhere for _, score in scores)
    if elsewhere:
        notes.append(f"{elsewhere} of {len(scores)} of another checkpoint")
    note = ", ".join(notes)
    if not values:
        return Cell(reason="not finite", note=note, elsewhere=elsewhere)
    return Cell(summarise(list(values.values())), values, note=note, elsewhere=elsewhere)


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
