"""What can be the size of a layer, and the number of levels."""

from collections.abc import Sequence


def check_sizes(**sizes: int | Sequence[int] | None) -> None:
    """Raises ValueError for a size below 1, or for no sizes at all where several are given.

    What may be absent is None where it is.
    """
    for name, size in sizes.items():
        if isinstance(size, Sequence) and (not size or min(size) < 1):
            raise ValueError(f"{name} must be one or more sizes of at least 1, got {list(size)}")
        if isinstance(size, int) and size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")


def check_levels(levels: int) -> int:
    """Raises ValueError for a number of levels that sub-pixels cannot have."""
    if not 2 <= levels <= 256:
        raise ValueError(f"levels must be from 2 to 256, got {levels}")
    return levels
