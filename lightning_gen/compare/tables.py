"""A comparison as text: Markdown, CSV, LaTeX with booktabs."""

import math
from collections.abc import Sequence
from typing import Any

from .budgets import BUDGETS, amount, budget
from .comparison import Comparison
from .extra import load
from .grouping import Group
from .markup import code, joined, line, pipes, plain, tex
from .pairs import Cell, Column, Family, Pair, best_of
from .selection import TABLES
from .statistics import RESAMPLES, Summary

METHODS = {
    "Student's t": "mean ± Student's t interval over seeds",
    "bootstrap-t": f"mean [studentised bootstrap interval over seeds, {RESAMPLES:,} resamples]",
}
PROBABILITY = (
    "P(A better) is the posterior probability that A's mean over seeds is the better one, by the t "
    "distribution that the prior 1/sigma leads to; it is of each pair by itself."
)
CORRECTIONS: dict[Family, str] = {
    "best": "Every group is compared with the one of the best mean of two seeds or more, k - 1 comparisons of "
    f"k groups for each score. As the values have chosen that one, p is corrected to how often, in {TABLES:,} simulated tables "
    "of as many equal groups, the best has so small a p against any other; step by step, the groups "
    "that had a smaller p are left out.",
    "baseline": "Every group is compared with {baseline}, and p is corrected by Holm's steps for these "
    "comparisons, k - 1 of k groups for each score.",
    "pairs": "Of scores of which it is not known what is better every group is compared with every other, and "
    "p is corrected by Holm's steps for all pairs of the score.",
}
DECIDED = (
    "A verdict needs a 95 % interval without 0 and a corrected p below 0.05: were all groups equal, "
    "at most about one score in twenty would have any."
)
HEAD = ["score", "A", "B", "A - B", "P(A better)", "p (corrected)", "verdict", "method"]  # of pairs


def shown(summary: Summary) -> str:
    """A mean with as many digits as its interval warrants: 12.3 ± 0.6."""
    half = (summary.high - summary.low) / 2
    if math.isnan(half):
        return digits(summary.mean, abs(summary.mean), 4)
    mean = digits(summary.mean, half or abs(summary.mean), 2 if half else 4)
    if summary.method == "Student's t":
        return f"{mean} ± {digits(half, half, 2)}"
    return f"{mean} [{digits(summary.low, half, 2)}, {digits(summary.high, half, 2)}]"


def digits(value: float, scale: float, count: int) -> str:
    """A value with so many significant digits as something of this scale would have."""
    if not math.isfinite(value):
        return "-"
    if scale <= 0 or not math.isfinite(scale):
        return f"{value:.4g}"
    places = count - 1 - math.floor(math.log10(scale))
    if places > 8:
        return f"{value:.{count}g}"
    return f"{value:.{places}f}" if places >= 0 else f"{round(value, places):,.0f}"


def cell_text(cell: Cell) -> str:
    """What stands in a cell."""
    if cell.summary is None:
        return cell.reason + (
            f" ({cell.note})" if cell.note and cell.reason != "not finite" else ""
        )
    notes = [f"n = {cell.summary.n}", *([cell.note] if cell.note else [])]
    return f"{shown(cell.summary)} ({', '.join(notes)})"


def arrow(column: Column) -> str:
    """Which way is better."""
    return {-1: " ↓", 1: " ↑"}.get(column.direction, "")


def budget_text(group: Group, name: str) -> str:
    """The mean of a budget over a group's runs."""
    known = budget(group, name)
    return amount(sum(known) / len(known), name) if known else "not known"


def probability(value: float) -> str:
    """A probability that is neither 0 nor 1."""
    if math.isnan(value):
        return "-"
    return "> 0.999" if value > 0.999 else "< 0.001" if value < 0.001 else f"{value:.3f}"


def pair_texts(pair: Pair) -> list[str]:
    """A pair as texts: what, A, B, difference, P(A better), corrected p, verdict, method."""
    found = pair.difference
    half = (found.high - found.low) / 2
    scale, count = (abs(found.mean), 4) if math.isnan(half) or half == 0 else (half, 2)
    text = digits(found.mean, scale, count)
    if not math.isnan(half):
        text += f" [{digits(found.low, scale, count)}, {digits(found.high, scale, count)}]"
    p = "-" if math.isnan(pair.p) else "< 0.001" if pair.p < 0.001 else f"{pair.p:.3f}"
    better = probability(pair.better)
    return [pair.column.title, pair.a, pair.b, text, better, p, pair.verdict, found.method]


def corrections(found: Comparison) -> list[str]:
    """What p-values are corrected for, what a verdict needs, and what is a probability."""
    used = {pair.family for pair in found.tested if pair.comparisons}
    said = [text for family, text in CORRECTIONS.items() if family in used]
    return [
        *(text.replace("{baseline}", str(found.baseline)) for text in said),
        DECIDED,
        PROBABILITY,
    ]


def methods(found: Comparison) -> list[str]:
    """How the intervals were made."""
    used = {cell.summary.method for cell in found.cells.values() if cell.summary}
    said = [f"Intervals are at 95 %: {words}." for name, words in METHODS.items() if name in used]
    if any(cell.summary and cell.summary.n == 1 for cell in found.cells.values()):
        said.append("A single run has no interval; another seed may give another number.")
    return said


def headlines(found: Comparison) -> list[str]:
    """A sentence for each score: which group has the best mean, and what is not distinguishable."""
    said = []
    for column in found.columns:
        here = {g.name: c for g in found.groups if (c := found.cells[g.name, column]).summary}
        if len(here) < 2 or not column.judged:
            continue
        best = best_of(here, column)
        rivals = [p for p in found.pairs if p.column == column and best in (p.a, p.b)]
        known = [p for p in rivals if not math.isnan(p.difference.p)]
        open_ = [p for p in known if p.winner != best]
        first = here[best].summary
        sentence = f"{column.title}: {best} has the best mean, {shown(first) if first else ''}"
        if found.baseline is not None and found.baseline not in here:
            sentence += f"; {found.baseline} has no such score to compare with"
        elif not known:
            sentence += "; more seeds are needed to tell whether that is chance"
        elif open_:
            names = [p.a if p.b == best else p.b for p in open_]
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            comma = "; " if any("," in name for name in names) else ", "
            sentence += f"; not distinguishable from {comma.join(names[:4])}{more}"
            sentence += f" ({open_[0].verdict.partition(' at ')[2]})" if len(names) == 1 else ""
        elif len(known) < len(rivals):
            sentence += f"; better than {len(known)} of the other {len(rivals)}, which have seeds enough to tell"
        else:
            others = "the other" if len(rivals) == 1 else f"each of the other {len(rivals)}"
            sentence += f"; better than {others}" if len(rivals) == len(here) - 1 else ""
        said.append(f"{sentence}.")
    return said


def notes(found: Comparison) -> list[str]:
    """What one must know to read the tables."""
    said = [*headlines(found), *methods(found)]
    said += [f"Protocols: {sentence}." for sentence in found.mixed]
    said += [f"Budgets differ in {sentence}." for sentence in found.budgets]
    for (name, column), cell in found.cells.items():
        if cell.elsewhere:
            what = f"{cell.elsewhere} of the scores of {name} under {column.title}"
            said.append(f"Not of the runs' last checkpoints: {what}.")
    return said


def markdown(found: Comparison) -> str:
    """Tables in Markdown."""
    head = ["model", *(f"{c.title}{arrow(c)}" for c in found.columns), *BUDGETS.values()]
    rows = [
        [
            group.name,
            *(f"**{cell_text(c)}**" if c.best else cell_text(c) for c in found.row(group)),
            *(budget_text(group, name) for name in BUDGETS),
        ]
        for group in found.groups
    ]
    parts = ["# Comparison of runs", pipes(head, rows)]
    parts += [f"- {plain(note)}" for note in notes(found)]
    parts += [f"- To measure it again: {code(command)}" for command in found.again]
    if found.tested:
        parts += ["## Differences", pipes(HEAD, [pair_texts(pair) for pair in found.tested])]
        parts += [plain(text) for text in corrections(found)]
    parts += ["## Protocols"] + [f"- {plain(c.title)}: {code(c.protocol)}" for c in found.columns]
    if found.problems:
        parts += ["## Problems"]
        parts += [f"- {plain(name)}: {plain(problem)}" for name, problem in found.problems]
    return joined(parts) + "\n"


def latex(found: Comparison) -> str:
    """A table for a paper, to stand in a `table`; needs booktabs."""
    marks = {-1: " $\\downarrow$", 1: " $\\uparrow$"}
    head = [
        "Model",
        *(f"{tex(c.title)}{marks.get(c.direction, '')}" for c in found.columns),
        "$n$",
    ]
    lines = []
    for group in found.groups:
        cells = []
        for cell in found.row(group):
            text = tex(shown(cell.summary) if cell.summary else cell.reason.partition(":")[0])
            text = f"\\textbf{{{text}}}" if cell.best else text
            cells.append(f"{text}$^\\dagger$" if cell.elsewhere else text)
        lines.append(" & ".join([tex(group.name), *cells, str(len(group.runs))]) + " \\\\")
    comments = [f"% {line(note)}" for note in notes(found)]
    comments += [f"% {line(c.title)}: {line(c.protocol)}" for c in found.columns]
    return "\n".join(
        [
            *comments,
            f"\\begin{{tabular}}{{l{'r' * len(found.columns)}r}}",
            "\\toprule",
            " & ".join(head) + " \\\\",
            "\\midrule",
            *lines,
            "\\bottomrule",
            "\\end{tabular}\n",
        ]
    )


def group_frame(found: Comparison) -> Any:
    """A pandas frame with a row for each group and column."""
    rows = []
    for group in found.groups:
        for column, cell in zip(found.columns, found.row(group), strict=True):
            s = cell.summary
            rows.append(
                {
                    "model": group.name,
                    "score": column.key,
                    "protocol": column.protocol,
                    "better": {-1: "lower", 1: "higher"}.get(column.direction, ""),
                    "n": s.n if s else 0,
                    "mean": s.mean if s else None,
                    "low": s.low if s else None,
                    "high": s.high if s else None,
                    "interval": s.method if s else "",
                    "note": cell.note if s else cell.reason,
                    **{name: _mean(budget(group, name)) for name in BUDGETS},
                }
            )
    return load("pandas").DataFrame(rows)


def run_frame(found: Comparison) -> Any:
    """A pandas frame with a row for each run and score."""
    names = {id(run): group.name for group in found.groups for run in group.runs}
    return load("pandas").DataFrame(
        [
            {
                "run": run.name,
                "model": names.get(id(run), ""),
                "seed": run.seed,
                "finished": run.finished,
                "score": score.key,
                "protocol": score.protocol,
                "value": score.value,
                "standard_error": score.standard_error,
                "measured_at": score.images_seen,
                **{name: run.budget.get(name) for name in BUDGETS},
            }
            for run in found.runs
            for score in run.scores
        ]
    )


def pair_frame(found: Comparison) -> Any:
    """A pandas frame with a row for each pair of groups and column."""
    return load("pandas").DataFrame(
        [
            {
                "score": pair.column.key,
                "protocol": pair.column.protocol,
                "a": pair.a,
                "b": pair.b,
                "difference": pair.difference.mean,
                "low": pair.difference.low,
                "high": pair.difference.high,
                "p": pair.difference.p,
                "p_corrected": pair.p,
                "family": pair.family,
                "comparisons": pair.comparisons,
                "a_better": pair.better,
                "method": pair.difference.method,
                "verdict": pair.verdict,
            }
            for pair in found.pairs
        ]
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
