"""The catalogue of models, read without importing any."""

import csv
from pathlib import Path

COLUMNS = ("name", "class_path", "family", "capabilities", "paper", "status")


def read_catalogue() -> list[dict[str, object]]:
    """Every model, as in models/catalogue.csv; `capabilities` is a list."""
    with open(Path(__file__).parents[1] / "models" / "catalogue.csv", newline="") as file:
        return [
            {**row, "capabilities": row["capabilities"].split()} for row in csv.DictReader(file)
        ]
