"""The catalogues of models, here and known, read without importing any."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

COLUMNS = ("name", "class_path", "family", "capabilities", "paper", "status", "config")
FOLDER = Path(__file__).parents[1] / "models"
ZOO_STATUSES = {
    "implemented": "a class of its own",
    "config": "a config of another's class",
    "planned": "fits here, not written yet",
    "out of scope": "with the reason in --json",
}


def read_catalogue() -> list[dict[str, object]]:
    """Every model, as in models/catalogue.csv; `capabilities` is a list."""
    return [{**row, "capabilities": row["capabilities"].split()} for row in _rows("catalogue.csv")]


def read_zoo() -> list[dict[str, str]]:
    """The adversarial models of the literature's zoo, as in models/zoo.csv, in its order."""
    return list(_rows("zoo.csv"))


def model_lines() -> Iterator[str]:
    """The catalogue as a table."""
    rows = read_catalogue()
    longest = max(len(str(row["name"])) for row in rows)
    for row in rows:
        capabilities = ", ".join(row["capabilities"])  # type: ignore[arg-type]
        yield (
            f"{row['name']:{longest}} {row['family']:15} {row['status']:12} {row['paper']}  "
            f"{capabilities}"
        )


def zoo_lines() -> Iterator[str]:
    """The zoo as a table, and how many there are of each status."""
    rows = read_zoo()
    for row in rows:
        yield f"{row['name']:18} {row['status']:13} {row['change']}"
    yield ""
    counts = Counter(row["status"] for row in rows)
    for status, meaning in ZOO_STATUSES.items():
        yield f"{status:18} {counts[status]:<12} {meaning}"
    yield f"{'total':18} {len(rows)}"


def _rows(name: str) -> Iterator[dict[str, str]]:
    with open(FOLDER / name, newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)
