"""What any model has to beat: even odds, and sub-pixels that do not depend on each other.

They are not trained by steps. Each image is added to statistics of which the best fit is a
function, so that one epoch is enough.
"""

from abc import ABC, abstractmethod
from math import log, prod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...levels import from_levels, to_levels
from ...nn.sizes import check_levels, check_sizes
from ...nn.statistics import Counts
from ...randomness import Noise
from ..base import Batch, Terms
from ..likelihood import LikelihoodModel
from ..quantised import check_images

Shape = tuple[int, int, int]


class Baseline(LikelihoodModel, ABC):
    """A model whose fit is a formula.

    Arguments:
        shape: (C, H, W) of the images.
        kwargs: See `LikelihoodModel`. Its optimizer has nothing to do.
    """

    nll_kind: Literal["exact", "bound"] = "exact"

    def __init__(self, shape: Shape = (1, 28, 28), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_sizes(shape=shape)
        self._shape = shape
        # Steps, which budgets and checkpoints are counted in, are those of an optimizer.
        self.nothing = nn.Parameter(torch.zeros(()))

    @property
    def shape(self) -> Shape:
        return self._shape

    def terms(self, batch: Batch) -> Terms:
        # Processes average what each has, of which all together should be the sum.
        self.gather(batch.images, batch.noise, batch.noise.total / len(batch))
        return {"loss": 0 * self.nothing}

    @abstractmethod
    def gather(self, images: Tensor, noise: Noise, weight: float) -> None:
        """Adds images, each so many times, to the statistics."""


class UniformModel(Baseline):
    """All images are equally likely: 8 bits/dim for 256 levels.

    Arguments:
        shape: (C, H, W) of the images.
        levels: How many values a sub-pixel can have.
        kwargs: See `Baseline`.
    """

    def __init__(self, shape: Shape = (1, 28, 28), levels: int = 256, **kwargs: Any) -> None:
        super().__init__(shape, **kwargs)
        self.levels = check_levels(levels)

    def gather(self, images: Tensor, noise: Noise, weight: float) -> None:
        """There is nothing to learn."""

    def nll(self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Exact, in nats, (B,)."""
        return x.new_full((len(x),), x[0].numel() * log(self.levels))

    def pixel_nll(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Nats per sub-pixel, (B, C, H, W)."""
        return torch.full_like(x, log(self.levels))

    def check(self, images: Tensor) -> None:
        check_images(images, self.levels)

    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Draws `n` images of white noise."""
        drawn = self.noise_for(n, noise).integers(self.levels, *self.shape)
        return from_levels(drawn, self.levels, self.precision)


class IndependentModel(Baseline):
    """Each sub-pixel has the levels that it had in training, as often, whatever the others have.

    Arguments:
        shape: (C, H, W) of the images.
        levels: How many values a sub-pixel can have.
        smoothing: Images that every level of every sub-pixel is given beside those seen.
        kwargs: See `Baseline`.
    """

    def __init__(
        self,
        shape: Shape = (1, 28, 28),
        levels: int = 256,
        smoothing: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(shape, **kwargs)
        if not smoothing > 0:
            raise ValueError(f"smoothing must be positive images, got {smoothing}")
        self.levels, self.smoothing = check_levels(levels), smoothing
        self.counts = Counts(prod(shape), levels)

    def gather(self, images: Tensor, noise: Noise, weight: float) -> None:
        self.counts.add(self._levels_of(images), weight)

    def nll(self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Exact, in nats, (B,)."""
        return self._costs(x).sum(1).to(x.dtype)

    def pixel_nll(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Nats per sub-pixel, (B, C, H, W)."""
        return self._costs(x).view(x.shape).to(x.dtype)

    def _costs(self, x: Tensor) -> Tensor:
        """(B, D)."""
        log_p = (self.counts.counts + self.smoothing).log().log_softmax(0)
        return -log_p.gather(0, self._levels_of(x))

    def check(self, images: Tensor) -> None:
        check_images(images, self.levels)

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Draws `n` images."""
        u = self.noise_for(n, noise).uniform(*self.shape).flatten(1).double()
        counts = (self.counts.counts + self.smoothing).T
        cdf = (counts / counts.sum(1, keepdim=True)).cumsum(1)[:, :-1].contiguous()
        level = torch.searchsorted(cdf, u.T.contiguous(), right=True).T.view(n, *self.shape)
        return from_levels(level, self.levels, self.precision)

    def _levels_of(self, images: Tensor) -> Tensor:
        """(B, D)."""
        return to_levels(images, self.levels).flatten(1).long()
