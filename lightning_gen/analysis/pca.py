"""Principal components: the best that a linear encoder and decoder of a given size can do."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


class PrincipalComponents:
    """The directions of the largest variance, from one pass over the data, in float64.

    Arguments:
        batches: Of images (B, ...).
        size: How many directions; at most the numbers that an image has.
        total: Adds up a tensor over processes, in place or not, if each has a share of the images.
    """

    mean: Tensor  # (D,)
    directions: Tensor  # (D, size), orthonormal, the largest variance first
    variances: Tensor  # (D,), of all directions, the largest first

    def __init__(
        self,
        batches: Iterable[Tensor],
        size: int,
        total: Callable[[Tensor], Tensor] = lambda part: part,
    ) -> None:
        sums: list[Tensor] = []  # of 1, of images and of their products
        for batch in batches:
            x = batch.flatten(1).double()
            more = [x.new_tensor(len(x)), x.sum(0), x.T @ x]
            sums = [a + b for a, b in zip(sums, more, strict=True)] if sums else more
        count, first, products = map(total, sums or [torch.zeros(1)] * 3)
        if not 1 <= size <= len(first) or count < 2:
            raise ValueError(
                f"principal components need two images or more and a size from 1 to {len(first)}, "
                f"got {int(count)} and {size}"
            )
        self.mean = first / count
        variances, directions = torch.linalg.eigh(products / count - self.mean.outer(self.mean))
        self.variances = variances.flip(0).clamp(min=0)
        self.directions = directions.flip(1)[:, :size]

    def encode(self, x: Tensor) -> Tensor:
        """Maps images (B, ...) to codes (B, size)."""
        return (x.flatten(1).double() - self.mean) @ self.directions

    def reconstruct(self, x: Tensor) -> Tensor:
        """The closest images (B, ...) to some, of those that codes can say."""
        flat = self.encode(x) @ self.directions.T + self.mean
        return flat.view_as(x).to(x.dtype)
