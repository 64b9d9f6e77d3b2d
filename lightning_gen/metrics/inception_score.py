r"""The inception score: are samples of one class each, and of all classes in equal parts?

From the probabilities :math:`p(c|x)` that a classifier gives to classes,

.. math:: \exp E_x[KL(p(c|x) \,\|\, E_x[p(c|x)])]

between 1 and the number of classes. It knows no real images. As published it is the mean over 10
equal parts of the samples, which is smaller than that of all of them.

References:
    | Improved Techniques for Training GANs (Salimans et al., 2016)
    | https://arxiv.org/abs/1606.03498
"""

from typing import NamedTuple

import torch
from torch import Tensor

SPLITS = 10


class InceptionScore(NamedTuple):
    """The mean over parts, the deviation over them, and the score of all samples at once."""

    value: float
    deviation: float
    of_all: float


class InceptionSums:
    """What the score needs of samples, in float64: sums of p and of p log p over each part.

    Part i of S begins at sample i n / S, so the samples' places say where they belong.

    Arguments:
        n: How many samples there will be.
        classes: How many classes there are, C.
        splits: How many parts.
    """

    def __init__(self, n: int, classes: int, splits: int = SPLITS) -> None:
        self.bounds = torch.tensor([i * n // splits for i in range(splits + 1)])
        if n < splits:
            raise ValueError(f"an inception score of {splits} parts needs as many samples, got {n}")
        self.sums = torch.zeros(splits, classes + 1, dtype=torch.float64)

    def add(self, logits: Tensor, places: Tensor) -> None:
        """Adds logits (B, C) of the samples at `places` (B,)."""
        log_p = logits.double().log_softmax(1)
        p = log_p.exp()
        inner = (p * log_p).sum(1, keepdim=True)
        part = torch.bucketize(places.contiguous(), self.bounds[1:-1], right=True)
        self.sums.index_add_(0, part, torch.cat([p, inner], 1).cpu())

    def score(self, sums: Tensor | None = None) -> InceptionScore:
        """The score, of these sums or of those that were added up over processes."""
        sums = self.sums if sums is None else sums
        counts = self.bounds.diff().to(sums)
        parts = _score(sums, counts)
        of_all = _score(sums.sum(0, keepdim=True), counts.sum(0, keepdim=True))
        return InceptionScore(parts.mean().item(), parts.std(correction=0).item(), of_all[0].item())


def _score(sums: Tensor, counts: Tensor) -> Tensor:
    """E[p log p] - E[p] log E[p], exponentiated, of each row."""
    means = sums / counts[:, None]
    mean, inner = means[:, :-1], means[:, -1]
    return (inner - torch.xlogy(mean, mean).sum(1)).exp()
