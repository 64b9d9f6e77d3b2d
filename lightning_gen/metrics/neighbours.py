"""Distances to nearest neighbours among many features, a chunk of a matrix at a time.

Squared distances are :math:`|x|^2 + |y|^2 - 2 x^T y`, one matrix product for each chunk. Features are
centred and made float64 first, so that what cancels is no larger than the spread of the features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .shares import Share, slices

ROWS, COLUMNS = 1000, 2000  # of a chunk: 16 MB of distances, and 48 MB of 2,048 features
# Distances that are equal to so many digits of |x|^2 + |y|^2 are ties, whatever the chunks round to.
TIE = 1e-12


def centre(features: Tensor, rows: int = ROWS) -> Tensor:
    """The mean of features (N, D) in float64."""
    total = torch.zeros(features.shape[1], dtype=torch.float64)
    for rows_ in slices(len(features), rows):
        total += features[rows_].double().sum(0)
    return total / len(features)


def squared_distances(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Of all pairs (N, M), and what they may be wrong by; of centred float64 features."""
    norms = x.square().sum(1)[:, None] + y.square().sum(1)
    return norms - 2 * (x @ y.T), TIE * norms


def radii(
    features: Tensor,
    ks: Sequence[int],
    share: Share | None = None,
    rows: int = ROWS,
    columns: int = COLUMNS,
) -> Tensor:
    """Squared distances (N, K) of each of N features to the k-th nearest of the others.

    Arguments:
        features: (N, D).
        ks: Which neighbours, K of them, the first being 1.
        share: This process's share of the rows.
        rows: Of a chunk.
        columns: Of a chunk.
    """
    share = share or Share()
    if min(ks) < 1 or len(features) <= max(ks):
        raise ValueError(f"{len(features)} images have no neighbours number {max(ks)}")
    middle = share.wide(centre(features))
    found = torch.zeros(len(features), len(ks), dtype=torch.float64)
    wanted = torch.tensor(ks, device=share.device) - 1
    for own in share.of("nearest neighbours", slices(len(features), rows)):
        x = share.wide(features[own]) - middle
        best = x.new_full((len(x), max(ks)), torch.inf)
        for others in slices(len(features), columns):
            squares, _ = squared_distances(x, share.wide(features[others]) - middle)
            _leave_out_itself(squares, own, others)
            best = torch.cat([best, squares], 1).topk(max(ks), largest=False).values
        found[own] = best[:, wanted].clamp_min(0).cpu()
    return share.total(found)


def _leave_out_itself(squares: Tensor, rows: slice, columns: slice) -> None:
    same = range(max(rows.start, columns.start), min(rows.stop, columns.stop))
    if same:
        at = torch.tensor(same, device=squares.device)
        squares[at - rows.start, at - columns.start] = torch.inf
