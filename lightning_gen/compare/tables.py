"""A comparison as text: Markdown, CSV, LaTeX with booktabs."""

import math
import re
from collections.abc import Sequence
from typing import Any

from .budgets import BUDGETS, amount, budget
from .comparison import Comparison
from .extra import load
from .grouping import Group
from .pairs import Cell, Column, Pair, best_of
from .statistics import RESAMPLES, Summary

METHODS = {
    "Student's t": "mean ± Student's t interval over seeds",
    "bootstrap-t": f"mean [studentised bootstrap interval over seeds, {RESAMPLES:,} resamples]",
}
PROBABILITY = (
    "P(A better) is the posterior probability that A's mean over seeds is the better one, by the t "
    "distribution that the prior 1/sigma leads to."
)
_TEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "±": "$\\pm$",
}


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
        if not known:
            sentence += "; more seeds are needed to tell whether that is chance"
        elif open_:
            names = [p.a if p.b == best else p.b for p in open_]
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            sentence += f"; not distinguishable from {', '.join(names[:4])}{more}"
            sentence += f" ({open_[0].verdict.partition(' at ')[2]})" if len(names) == 1 else ""
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
    parts = ["# Comparison of runs", _pipes(head, rows)]
    parts += [f"- {_plain(note)}" for note in notes(found)]
    parts += [f"- To measure it again: {_code(command)}" for command in found.again]
    if found.tested:
        names = ["score", "A", "B", "A - B", "P(A better)", "p (Holm)", "verdict", "method"]
        parts += ["## Differences", _pipes(names, [pair_texts(pair) for pair in found.tested])]
        parts.append(PROBABILITY)
    parts += ["## Protocols"] + [f"- {_plain(c.title)}: {_code(c.protocol)}" for c in found.columns]
    if found.problems:
        parts += ["## Problems"]
        parts += [f"- {_plain(name)}: {_plain(problem)}" for name, problem in found.problems]
    return _joined(parts) + "\n"


def latex(found: Comparison) -> str:
    """A table for a paper, to stand in a `table`; needs booktabs."""
    marks = {-1: " $\\downarrow$", 1: " $\\uparrow$"}
    head = [
        "Model",
        *(f"{_tex(c.title)}{marks.get(c.direction, '')}" for c in found.columns),
        "$n$",
    ]
    lines = []
    for group in found.groups:
        cells = []
        for cell in found.row(group):
            text = _tex(shown(cell.summary) if cell.summary else cell.reason.partition(":")[0])
            text = f"\\textbf{{{text}}}" if cell.best else text
            cells.append(f"{text}$^\\dagger$" if cell.elsewhere else text)
        lines.append(" & ".join([_tex(group.name), *cells, str(len(group.runs))]) + " \\\\")
    comments = [f"% {_line(note)}" for note in notes(found)]
    comments += [f"% {_line(c.title)}: {_line(c.protocol)}" for c in found.columns]
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
                "p_holm": pair.p,
                "a_better": pair.better,
                "method": pair.difference.method,
                "verdict": pair.verdict,
            }
            for pair in found.pairs
        ]
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _joined(parts: Sequence[str]) -> str:
    """Parts with a blank line between them, but for the lines of a list."""
    text = ""
    for before, part in zip(["", *parts], parts, strict=False):
        both = before.startswith("- ") and part.startswith("- ")
        text += ("\n" if both else "\n\n") * bool(text) + part
    return text


def _pipes(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [[_plain(text) for text in row] for row in [head, *rows]]
    ruled = [lines[0], ["---", *["---:"] * (len(head) - 1)], *lines[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled)


def _plain(text: str) -> str:
    """A text that is nothing but text in Markdown, stars of bold cells apart."""
    return _line(re.sub(r"([|\\`<>_\[\]])", r"\\\1", text))


def _code(text: str) -> str:
    """A text as code in Markdown, which no tick in it ends."""
    line = _line(text)
    ticks = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{ticks} {line} {ticks}" if "`" in line else f"{ticks}{line}{ticks}"


def _line(text: str) -> str:
    """A text on one line, without signs that cannot be seen."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())


def _tex(text: str) -> str:
    return "".join(_TEX.get(c, c) for c in text)
