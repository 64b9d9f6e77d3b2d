"""The tests that docs/reliability.md names are there."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DOCUMENT = (TESTS.parent / "docs" / "reliability.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", DOCUMENT)))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file, name):
    assert re.search(rf"^ *def {name}\(", (TESTS / file).read_text(), re.MULTILINE)


def test_every_row_names_its_test():
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("|") and "---" not in line]
    promises = [row for row in rows if not re.search(r"\| (test|what) \|$", row)]
    codes = [row for row in promises if row.count("|") == 3 and "::" not in row]
    assert len(codes) == 5  # the table of exit codes
    assert len(NAMED) > 50
    assert [row for row in promises if "::" not in row and row not in codes] == []


def test_every_fault_is_in_the_table():
    tests = re.findall(r"^def (test_\w+)", (TESTS / "test_faults.py").read_text(), re.MULTILINE)
    assert set(tests) <= {name for _, name in NAMED}
