"""A comparison as one file of HTML that needs nothing else: no server, no network, no font."""

import json
import math
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .budgets import BUDGETS, amount, budget
from .comparison import Comparison
from .extra import load
from .figures import GRIDS, curves, grids
from .grouping import flatten
from .naming import words
from .pairs import Column, Pair
from .protocols import parts
from .runs import Run
from .tables import (
    HEAD,
    arrow,
    budget_text,
    cell_text,
    corrections,
    digits,
    headlines,
    methods,
    pair_texts,
    shown,
)


def page(found: Comparison) -> str:
    """The page."""
    jinja2 = load("jinja2")
    library = load("plotly.offline").get_plotlyjs()
    problems = list(found.problems)
    data = {
        "groups": [group.name for group in found.groups],
        "curves": curves(found.groups),
        "grids": grids(found.groups, problems),
        "settings": settings(found),
    }
    script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(
        (Path(__file__).parent / "page.html.jinja").read_text(encoding="utf-8")
    )
    markup = load("markupsafe").Markup
    return template.render(
        library=markup(library.replace("</script", "<\\/script")),
        script=markup(script),
        data=markup(embedded_json(data)),
        title=title(found),
        made=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        found=found,
        columns=[{"column": c, "arrow": arrow(c).strip()} for c in found.columns],
        rows=group_rows(found),
        runs=[run_row(found, run) for run in found.runs],
        pairs=[pair_row(pair) for pair in found.tested],
        protocols=[(c.title, c.protocol, parts(c.protocol)) for c in found.columns],
        headlines=headlines(found),
        methods=methods(found),
        problems=problems,
        budgets=BUDGETS,
        grids=GRIDS,
        pair_head=[name if name.startswith("p ") else name[0].upper() + name[1:] for name in HEAD],
        corrections=corrections(found),
    )


def embedded_json(value: Any) -> str:
    """JSON that may stand in a script: it cannot end it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, default=str)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def title(found: Comparison) -> str:
    """The models of a comparison, if they are few."""
    names = [group.name for group in found.groups]
    if not names:
        return "Comparison of runs"
    if len(names) <= 4:
        return " vs ".join(names) if len(names) > 1 else names[0]
    return f"{len(names)} models"


def group_rows(found: Comparison) -> list[dict[str, Any]]:
    """A row for each group: texts, and numbers to sort by."""
    rows = []
    for k, group in enumerate(found.groups):
        cells = []
        for cell in found.row(group):
            known = cell.summary
            cells.append(
                {
                    "text": shown(known) if known else cell.reason.partition(": ")[0],
                    "n": f"n = {known.n}" if known else cell.reason.partition(": ")[2],
                    "note": cell.note,
                    "sort": known.mean if known else "",
                    "best": cell.best,
                    "full": cell_text(cell),
                }
            )
        amounts = [
            {"text": budget_text(group, name), "sort": _mean(budget(group, name))}
            for name in BUDGETS
        ]
        rows.append(
            {
                "place": k,
                "name": group.name,
                "baseline": group.name == found.baseline,
                "unfinished": sum(run.finished is False for run in group.runs),
                "cells": cells,
                "budgets": amounts,
                "n": len(group.runs),
            }
        )
    return rows


def run_row(found: Comparison, run: Run) -> dict[str, Any]:
    """A row for a run: where it is, what it is of, its scores."""
    group = next((g.name for g in found.groups if any(r is run for r in g.runs)), "")
    status = {True: "finished", False: "unfinished", None: "not known"}[run.finished]
    if not group:
        status = "left out"
    return {
        "name": run.name,
        "group": group or "-",
        "seed": "-" if run.seed is None else run.seed,
        "status": status,
        "scores": [_score(run, column) for column in found.columns],
        "budgets": [
            {"text": _amount(run, name), "sort": run.budget.get(name, "")} for name in BUDGETS
        ],
    }


def pair_row(pair: Pair) -> dict[str, Any]:
    """A pair as texts, and numbers to sort by."""
    texts = pair_texts(pair)
    numbers = [None, None, None, pair.difference.mean, pair.better, pair.p, None, None]
    return {
        "cells": [
            {"text": text, "sort": "" if n is None or math.isnan(n) else n}
            for text, n in zip(texts, numbers, strict=True)
        ],
        "decided": pair.decided,
    }


def settings(found: Comparison) -> list[list[Any]]:
    """The settings of the groups' first runs: path, whether they differ, the usual value, each value."""
    flat = [dict(flatten(group.runs[0].config)) for group in found.groups]
    rows = []
    paths = dict.fromkeys(path for each in flat for path in each)
    order = {"model": 0, "data": 1, "trainer": 2}
    for path in sorted(paths, key=lambda p: (order.get(p.split(".")[0], 3), "callbacks" in p)):
        if path == "seed_everything":
            continue
        values = [words(each[path]) if path in each else "" for each in flat]
        usual = Counter(values).most_common(1)[0][0]
        rows.append([path, int(len(set(values)) > 1), usual, values])
    return rows


def _score(run: Run, column: Column) -> dict[str, Any]:
    for score in run.scores:
        if (score.key, score.protocol) == (column.key, column.protocol):
            if score.value is None:
                return {"text": "not finite", "sort": ""}
            spread = score.standard_error
            scale, count = (spread, 2) if spread else (abs(score.value), 4)
            text = digits(score.value, scale, max(count, 2))
            error = (
                f"standard error of its measurement {digits(spread, spread, 2)}" if spread else ""
            )
            if score.interval:
                low, high = score.interval
                ends = (digits(end, (high - low) / 2, 2) for end in score.interval)
                error = f"95 % interval of its measurement {' to '.join(ends)}"
            at = f"at {score.images_seen:,.0f} images" if score.elsewhere else ""
            return {"text": text, "sort": score.value, "note": error, "at": at}
    return {"text": "-", "sort": ""}


def _amount(run: Run, name: str) -> str:
    return amount(run.budget[name], name) if name in run.budget else "not known"


def _mean(values: list[float]) -> float | str:
    return sum(values) / len(values) if values else ""
