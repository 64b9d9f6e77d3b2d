"""How the files of suites are read: a field of its kind, or one sentence that says where it is wrong."""

import math
import re
from collections.abc import Mapping
from typing import Any


def field(content: Any, key: str, kind: Any, where: str) -> Any:
    """What stands under a key; ValueError if there is nothing of this kind."""
    value = content.get(key) if isinstance(content, Mapping) else None
    if not isinstance(value, kind):
        raise ValueError(
            f"{where} lacks {key}, or has something else there; see docs/reproducing.md"
        )
    return value


def overrides_of(content: Any, where: str) -> dict[str, Any]:
    """The settings that differ from a config's, by their dotted names."""
    found = (content.get("overrides") if isinstance(content, Mapping) else content) or {}
    if not isinstance(found, dict):
        raise ValueError(f"{where} should have overrides by their dotted names, got {found}")
    return found


def bounds_of(value: Any, what: str, where: str) -> tuple[float, float]:
    """The least and the greatest value that passes."""
    numbers = value if isinstance(value, list) else [value]
    if len(numbers) != 2 or not all(isinstance(each, int | float) for each in numbers):
        raise ValueError(f"{where} should expect {what} in [low, high], got {value}")
    low, high = map(float, numbers)
    if not low < high or math.isnan(low + high):
        raise ValueError(f"{where} expects {what} in {value}, in which nothing lies")
    return low, high


def slug_of(name: str) -> str:
    """A name as a part of a path."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
