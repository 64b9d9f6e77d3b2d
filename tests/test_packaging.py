"""What a new machine installs: ranges in pyproject.toml, exact versions in constraints.txt."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_range_contains_its_pin():
    pins = {normal(name): version for name, version in PINS.items()}
    extras = [r for group in PROJECT["optional-dependencies"].values() for r in group]
    for requirement in map(Requirement, PROJECT["dependencies"] + extras):
        if requirement.name != PROJECT["name"]:
            assert requirement.specifier.contains(pins[normal(requirement.name)]), requirement


def test_pins_hold_on_machines_with_and_without_a_gpu():
    """A local version such as +cpu exists on one kind of machine only."""
    assert all(re.fullmatch(r"[\w.]+", version) for version in PINS.values())


def test_the_version_is_said_once_in_each_place():
    import lightning_gen

    assert lightning_gen.__version__ == PROJECT["version"]
