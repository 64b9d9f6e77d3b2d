"""Images by their attributes: what a generator of them has to be better than."""

import torch
from torch import Tensor

PIECE = 1 << 24  # distances at a time


def nearest_by_attributes(wanted: Tensor, known: Tensor) -> Tensor:
    """The places (B,) of the images whose attributes (N, A) are nearest to those wanted, (B, A).

    Of 0 and 1 the distance counts those that differ; other numbers have the Euclidean one. Of
    several that are equally near it is the first. An image whose attributes are not known, -1 each,
    is far from all others.
    """
    if wanted.dim() != 2 or known.dim() != 2 or wanted.shape[1] != known.shape[1]:
        raise ValueError(
            "attributes must be (B, A) and (N, A), with as many of them in both, got "
            f"{tuple(wanted.shape)} and {tuple(known.shape)}"
        )
    if not len(known):
        raise ValueError("there are no images among which one could be the nearest")
    known, rows = known.double(), max(1, PIECE // len(known))
    # |a - b|^2 without |a|^2: exact for small integers, so that what is equally near stays so.
    lengths = known.square().sum(1)
    parts = [(lengths - 2 * part @ known.T).argmin(1) for part in wanted.double().split(rows)]
    return torch.cat(parts) if parts else wanted.new_zeros(0, dtype=torch.int64)
