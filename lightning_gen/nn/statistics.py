"""Sums over images, in double precision, that processes share as they do those of norms."""

import torch
from torch import Tensor, nn


class Counts(nn.Module):
    """How often each number of vectors (D,) had each level.

    Arguments:
        size: D.
        levels: How many there are.
    """

    counts: Tensor

    def __init__(self, size: int, levels: int) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(levels, size, dtype=torch.double))

    @torch.no_grad()
    def add(self, levels: Tensor, weight: float = 1.0) -> None:
        """Adds vectors of integers (B, D), each `weight` times."""
        self.counts.scatter_add_(0, levels, self.counts.new_tensor(weight).expand(levels.shape))


class Moments(nn.Module):
    """The mean of vectors (D,), and how they vary.

    Arguments:
        size: D.
    """

    count: Tensor
    total: Tensor
    products: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.double))
        self.register_buffer("total", torch.zeros(size, dtype=torch.double))
        self.register_buffer("products", torch.zeros(size, size, dtype=torch.double))

    @torch.no_grad()
    def add(self, x: Tensor, weight: float = 1.0) -> None:
        """Adds vectors (B, D), each `weight` times."""
        x = x.double()
        self.count += weight * len(x)
        self.total += weight * x.sum(0)
        self.products.addmm_(x.T, x, alpha=weight)

    def fit(self) -> tuple[Tensor, Tensor]:
        """The mean (D,) and the covariance (D, D) of what was added; zeros before anything was."""
        count = self.count.clamp(min=1)
        mean = self.total / count
        return mean, self.products / count - torch.outer(mean, mean)
