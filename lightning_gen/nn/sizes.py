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


def inner_shape(shape: tuple[int, int, int], widths: Sequence[int]) -> tuple[int, int, int]:
    """What is left of an image when it was halved once for each of `widths`, which are channels."""
    _, height, width = shape
    scale = 2 ** len(widths)
    if height % scale or width % scale:
        raise ValueError(
            f"{len(widths)} halvings need a height and width divisible by {scale}, "
            f"got {height} x {width}"
        )
    return widths[-1], height // scale, width // scale
