"""The cells of a matrix, judged: which train, which are worse for it, and which collapse.

A cell is measured against the distance of real images that no run has trained on, the floor: it
trains up to a few times that, and has collapsed beyond many times, where its samples show two classes
at most, or where there are no numbers at all.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lightning_gen.compare.statistics import Summary, summarise
from lightning_gen.compare.tables import digits, shown

from .matrix import Axis, Counts, Matrix, Rule
from .suite import Scale, Suite

FLOOR = "floor"  # under this name it stands among the results of a scale
FEW = 2.0  # classes
VERDICTS = ("trains", "degraded", "collapses")  # from best to worst

At = Mapping[str, Mapping[str, Mapping[str, Any]]]  # by row and seed: what `collect` gives


class Cell(NamedTuple):
    """One cell at one scale.

    Arguments:
        summary: The mean of its distance and the interval over seeds, None if a seed has none.
        verdict: The worst of its seeds, or missing.
        reason: Why a seed has no distance, if one has none.
        protocols: By which the distance was measured.
    """

    summary: Summary | None
    verdict: str
    reason: str
    protocols: list[str]


class Tally(NamedTuple):
    """In how many rows a column trains.

    Arguments:
        column: Which.
        trains: How many.
        rows: Of how many.
        expected: How many it should be, None where nothing is expected.
        verdict: PASS, FAIL, or missing if a cell is.
    """

    column: Axis
    trains: int
    rows: int
    expected: Counts | None
    verdict: str


def floor_of(found: At, rule: Rule) -> dict[str, Any]:
    """The distance of real images, with its protocol; empty if it was not measured."""
    return found.get(FLOOR, {}).get("0", {}).get("scores", {}).get(rule.distance, {})


def cells_of(suite: Suite, scale: str, found: At) -> dict[tuple[str, str], Cell]:
    """All cells of a scale by the names of their row and column."""
    matrix, wanted = _matrix(suite), suite.rows[0].scales[scale]
    rule, floor = matrix.rules[scale], floor_of(found, matrix.rules[scale])
    return {
        (row.name, column.name): _judged(
            found.get(matrix.slug(row, column), {}), wanted, rule, floor
        )
        for row in matrix.rows
        for column in matrix.columns
    }


def tallies(suite: Suite, scale: str, found: At) -> list[Tally]:
    """What is to be said of each column."""
    matrix, cells, every = _matrix(suite), cells_of(suite, scale, found), []
    for column in matrix.columns:
        verdicts = [cells[row.name, column.name].verdict for row in matrix.rows]
        trains, expected = verdicts.count(VERDICTS[0]), matrix.rules[scale].expect.get(column.name)
        inside = expected is None or expected[0] <= trains <= expected[1]
        verdict = "missing" if "missing" in verdicts else "PASS" if inside else "FAIL"
        every.append(Tally(column, trains, len(verdicts), expected, verdict))
    return every


def _judged(
    runs: Mapping[str, Mapping[str, Any]], wanted: Scale, rule: Rule, floor: Mapping[str, Any]
) -> Cell:
    made = [run["scores"] for run in runs.values() if rule.distance in run["scores"]]
    distances = [scores[rule.distance] for scores in made]
    without = [each["protocol"] for each in distances if each["value"] is None]
    protocols = sorted({each["protocol"] for each in distances if each["value"] is not None})
    summary = summarise([d["value"] for d in distances]) if made and not without else None
    sound = floor.get("value") is not None and set(protocols) <= {floor.get("protocol")}
    if len(made) < len(wanted.seeds) or not sound:
        return Cell(summary, "missing", "; ".join(without), protocols)
    verdicts = [_verdict(scores, rule, floor["value"]) for scores in made]
    return Cell(summary, max(verdicts, key=VERDICTS.index), "; ".join(without), protocols)


def _verdict(scores: Mapping[str, Mapping[str, Any]], rule: Rule, floor: float) -> str:
    """The verdict of one run."""
    distance = scores[rule.distance]["value"]
    classes = scores[rule.classes]["value"] if rule.classes else FEW + 1
    if distance is None or classes is None or classes <= FEW or distance > rule.floors[1] * floor:
        return "collapses"
    return "degraded" if distance > rule.floors[0] * floor else "trains"


def table_of(suite: Suite, scale: str, found: At) -> list[list[str]]:
    """The cells as texts, head and row names included."""
    matrix, cells = _matrix(suite), cells_of(suite, scale, found)
    lines = [["", *(column.name for column in matrix.columns)]]
    for row in matrix.rows:
        texts = [cell_text(cells[row.name, column.name]) for column in matrix.columns]
        lines.append([row.name, *texts])
    return lines


TALLY_HEAD = ["method", "rows that train", "published", "expected", "verdict"]


def tally_text(tally: Tally) -> list[str]:
    """The cells of a column's line."""
    trains = f"{tally.trains} of {tally.rows}"
    published = _range(tally.column.published)
    return [tally.column.name, trains, published, _range(tally.expected), tally.verdict]


def cell_text(cell: Cell) -> str:
    """Verdict and distance, if there is one."""
    if cell.summary is not None:
        return f"{cell.verdict}, {shown(cell.summary)}"
    return f"{cell.verdict}, no distance" if cell.reason else cell.verdict


def section(suite: Suite, scale: str, found: At) -> list[str]:
    """The part of the page about a scale, but for its head."""
    rule = _matrix(suite).rules[scale]
    lines = ["Verdict and distance of each cell:", "", *_pipes(table_of(suite, scale, found))]
    lines += ["", f"![samples of each cell]({picture_of(suite, scale)})", ""]
    lines += [*_rule_in_words(rule, floor_of(found, rule).get("value")), ""]
    cells, every = cells_of(suite, scale, found), tallies(suite, scale, found)
    reasons = [f"- {', '.join(name)}: {cell.reason}" for name, cell in cells.items() if cell.reason]
    lines += ["Given up on the way:", "", *reasons, ""] if reasons else []
    lines += _pipes([TALLY_HEAD, *(tally_text(each) for each in every)])
    sources = dict.fromkeys(each.column.source for each in every if each.column.source)
    lines += ["", "Published:", "", *(f"- {source}" for source in sources)] if sources else []
    protocols = {protocol for cell in cells.values() for protocol in cell.protocols}
    return [*lines, "", "Measured as:", "", *(f"- `{p}`" for p in sorted(protocols))]


def _rule_in_words(rule: Rule, floor: float | None) -> list[str]:
    """How the cells were judged."""
    if floor is None:
        return ["The distance of real images was not measured, so nothing is judged."]
    trains, collapses = (f"{k:g} times the floor, {digits(k * floor, 1, 3)}" for k in rule.floors)
    said = [
        f"The floor, the distance of real images that no run has trained on, is {digits(floor, 1, 3)}.",
        f"A cell trains up to {trains}; it has collapsed beyond {collapses}, and where its losses or",
        "weights are not finite.",
    ]
    if rule.classes:
        said.append(f"It also has where `{rule.classes}`, an inception score, is {FEW:g} or less.")
    return said


def picture_of(suite: Suite, scale: str) -> str:
    """The name of the picture of a scale, beside the page."""
    return f"{suite.name}-{scale}.png"


def _matrix(suite: Suite) -> Matrix:
    if suite.matrix is None:
        raise ValueError(f"the suite {suite.name} has no columns")
    return suite.matrix


def _range(counts: Counts | None) -> str:
    if counts is None:
        return "-"
    return str(counts[0]) if counts[0] == counts[1] else f"{counts[0]} to {counts[1]}"


def _pipes(lines: list[list[str]]) -> list[str]:
    ruled = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return [f"| {' | '.join(line)} |" for line in ruled]
