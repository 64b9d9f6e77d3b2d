"""The base of all models that are fitted by likelihood, or by a bound on it."""

from abc import abstractmethod
from typing import Literal

from torch import Tensor

from ..randomness import Noise
from .base import Batch, Terms
from .fitted import FittedModel


class LikelihoodModel(FittedModel):
    """A model that gives each image a likelihood, or a bound on it. A subclass states `nll`.

    Arguments:
        kwargs: See `FittedModel`.
    """

    nll_kind: Literal["exact", "bound"]

    @abstractmethod
    def nll(self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Nats per image (B,), summed over dimensions: -ln p(x), or an upper bound on it.

        It is that of discrete images at their levels, never of a density, so that bits/dim of all
        models compare. In evaluation mode it is of the averaged weights where they are kept.
        """

    @abstractmethod
    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Draws `n` images, (n, C, H, W) in [-1, 1]."""

    def terms(self, batch: Batch) -> Terms:
        """What training minimises, under "loss", with further scalars to log."""
        return {"loss": self.nll(batch.images, batch.labels, batch.noise).mean()}

    def check(self, images: Tensor) -> None:
        """Raises ValueError for images that the model gives no likelihood. Called once a run."""
