r"""Precision, recall, density and coverage: are samples where images are, and are there all of them?

:math:`B_k(x)` is the ball around a feature that reaches to the k-th nearest of its own set. Of real
features :math:`x_1 \ldots x_N` and generated ones :math:`y_1 \ldots y_M`, with k = 3,

.. math::
    \mathrm{precision} = \frac{1}{M} \sum_j 1[y_j \in \cup_i B_k(x_i)], \quad
    \mathrm{recall} = \frac{1}{N} \sum_i 1[x_i \in \cup_j B_k(y_j)]

and, less at the mercy of outliers, with k = 5,

.. math::
    \mathrm{density} = \frac{1}{kM} \sum_j \sum_i 1[y_j \in B_k(x_i)], \quad
    \mathrm{coverage} = \frac{1}{N} \sum_i 1[\exists j: y_j \in B_k(x_i)]

The first two take in the surface of a ball and the others leave it out, as their authors' codes do:
so for a set and itself all four are 1. They are ratios of counts, hence the same on any number of
processes. All need numbers of images to be compared at.

References:
    | Improved Precision and Recall Metric for Assessing Generative Models (Kynkäänniemi et al., 2019)
    | https://arxiv.org/abs/1904.06991
    | Reliable Fidelity and Diversity Metrics for Generative Models (Naeem et al., 2020)
    | https://arxiv.org/abs/2002.09797
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .neighbours import COLUMNS, ROWS, centre, radii, squared_distances
from .shares import Share, slices

NEAREST, NEAREST_DENSITY = 3, 5  # the papers' k


class Manifolds(NamedTuple):
    """How much two sets overlap."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifolds(
    real: Tensor,
    fake: Tensor,
    k: int = NEAREST,
    k_density: int = NEAREST_DENSITY,
    share: Share | None = None,
    real_radii: Tensor | None = None,
    rows: int = ROWS,
    columns: int = COLUMNS,
) -> Manifolds:
    """Precision and recall with `k`, density and coverage with `k_density` neighbours.

    Arguments:
        real: Features of real images, (N, D).
        fake: Features of samples, (M, D).
        k: Which neighbour the balls of precision and recall reach to.
        k_density: The same of density and coverage.
        share: This process's share of the rows.
        real_radii: What `radii(real, (k, k_density))` gave, if it is known.
        rows: Of a chunk, which does not change the numbers.
        columns: The same.
    """
    share = share or Share()
    if not (centre(real).isfinite().all() and centre(fake).isfinite().all()):
        return Manifolds(*[torch.nan] * 4)
    if real_radii is None:
        real_radii = radii(real, (k, k_density), share, rows, columns)
    fake_radii = radii(fake, (k,), share, rows, columns)[:, 0]
    middle = share.wide(centre(real))
    near, dense = real_radii.to(share.device).unbind(1)
    seen = torch.zeros(2, len(real), dtype=torch.int64, device=share.device)  # recalled, covered
    hits = torch.zeros(2, dtype=torch.int64, device=share.device)  # precise, dense
    for own in share.of("precision and recall", slices(len(fake), rows)):
        y, reach = share.wide(fake[own]) - middle, fake_radii[own, None].to(share.device)
        inside = torch.zeros(len(y), dtype=torch.bool, device=share.device)
        for at in slices(len(real), columns):
            squares, slack = squared_distances(y, share.wide(real[at]) - middle)
            inside |= (squares - slack <= near[at]).any(1)
            seen[0, at] += (squares - slack <= reach).sum(0)
            within = squares + slack < dense[at]
            seen[1, at] += within.sum(0)
            hits[1] += within.sum()
        hits[0] += inside.sum()
    precise, density = share.total(hits).tolist()
    recalled, covered = (share.total(seen) > 0).sum(1).tolist()
    return Manifolds(
        precise / len(fake),
        recalled / len(real),
        density / (k_density * len(fake)),
        covered / len(real),
    )
