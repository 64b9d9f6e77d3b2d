r"""The kernel distance between two sets of images (KID), in the features of a network.

The squared maximum mean discrepancy under :math:`k(x, y) = (x^T y / D + 1)^3`, without bias at any
number of images:

.. math:: \frac{1}{m(m-1)} \sum_{i \ne j} (k(x_i, x_j) + k(y_i, y_j)) - \frac{2}{m^2} \sum_{i, j} k(x_i, y_j)

It is the mean over random subsets, as in the paper. All of it is in float64.

References:
    | Demystifying MMD GANs (Binkowski et al., 2018)
    | https://arxiv.org/abs/1801.01401
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..randomness import stream
from .shares import Share

SUBSETS, SUBSET_SIZE = 100, 1000  # as in the authors' code


class KernelDistance(NamedTuple):
    """The mean over subsets, which may be negative, its standard error, and the size of a subset."""

    value: float
    standard_error: float
    size: int


def kernel_distance(
    real: Tensor,
    fake: Tensor,
    count: int = SUBSETS,
    size: int = SUBSET_SIZE,
    share: Share | None = None,
) -> KernelDistance:
    """The kernel distance of features (N, D) and (M, D).

    Arguments:
        real: Features of real images.
        fake: Features of samples.
        count: How many subsets, at least 2. Of each kind, subset i is the same for the same numbers
            of images.
        size: Images in a subset, or as many as there are.
        share: This process's share of the subsets.
    """
    share = share or Share()
    size = min(size, len(real), len(fake))
    if size < 2 or count < 2:
        raise ValueError(
            f"a kernel distance needs two subsets of two images, got {count} of {size}"
        )
    values = torch.zeros(count, dtype=torch.float64)
    for i in share.of("kernel distance", range(count)):
        x, y = (share.wide(each) for each in subset(real, fake, size, i))
        values[i] = squared_discrepancy(x, y).cpu()
    values = share.total(values)
    return KernelDistance(values.mean().item(), values.std().item() / count**0.5, size)


def subset(real: Tensor, fake: Tensor, size: int, i: int) -> tuple[Tensor, Tensor]:
    """Subset i of both kinds, drawn without replacement."""
    generator = stream("kernel distance", i)
    chosen = [torch.randperm(len(each), generator=generator)[:size] for each in (real, fake)]
    return real[chosen[0]], fake[chosen[1]]


def squared_discrepancy(x: Tensor, y: Tensor) -> Tensor:
    """The unbiased estimate from float64 features (m, D) and (m, D)."""
    m = len(x)
    within = sum(k.sum() - k.diagonal().sum() for k in (kernel(x, x), kernel(y, y)))
    return within / (m * (m - 1)) - 2 * kernel(x, y).mean()


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """The kernel of all pairs, (N, M)."""
    return (x @ y.T / x.shape[1] + 1).pow(3)
