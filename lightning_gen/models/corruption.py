"""What spoils the images that a denoising autoencoder is shown.

References:
    | Stacked Denoising Autoencoders (Vincent et al., 2010), Section 3.3
    | https://www.jmlr.org/papers/v11/vincent10a.html
"""

from abc import ABC, abstractmethod
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from ..randomness import Noise


class Corrupted(NamedTuple):
    """Spoilt images, and which of their numbers were spoilt, bool; both in the images' shape."""

    images: Tensor
    touched: Tensor


class Corruption(ABC):
    """Spoils images, each in its own way, by the noise that belongs to them."""

    everywhere = False  # it touches all numbers

    @property
    @abstractmethod
    def name(self) -> str:
        """What it does and how much, for protocols."""

    @abstractmethod
    def __call__(self, x: Tensor, noise: Noise, low: float = -1.0, high: float = 1.0) -> Corrupted:
        """Spoils numbers (B, ...).

        Arguments:
            x: Images, or units of a hidden level.
            noise: What the result is a function of.
            low: The least that such a number can be: black.
            high: The most that it can be: white.
        """


class GaussianNoise(Corruption):
    """Adds noise from N(0, sigma) to all sub-pixels.

    Arguments:
        sigma: Standard deviation, in the unit of images in [-1, 1], where Vincent et al. have
            images in [0, 1]: it is twice theirs. It is halved for units of a hidden level, in [0, 1].
    """

    everywhere = True

    def __init__(self, sigma: float = 0.5) -> None:
        if not 0 <= sigma < inf:
            raise ValueError(f"sigma must be finite and not negative, got {sigma}")
        self.sigma = sigma

    @property
    def name(self) -> str:
        return f"gaussian-{self.sigma}"

    def __call__(self, x: Tensor, noise: Noise, low: float = -1.0, high: float = 1.0) -> Corrupted:
        eps = noise.normal(*x.shape[1:]).to(x)
        return Corrupted(x + self.sigma * (high - low) / 2 * eps, torch.ones_like(x).bool())


class Masking(Corruption):
    """Makes sub-pixels black, each with the same probability.

    Arguments:
        share: That probability.
    """

    def __init__(self, share: float = 0.3) -> None:
        self.share = _checked(share)

    @property
    def name(self) -> str:
        return f"masking-{self.share}"

    def __call__(self, x: Tensor, noise: Noise, low: float = -1.0, high: float = 1.0) -> Corrupted:
        touched = noise.uniform(*x.shape[1:]).to(x.device) < self.share
        return Corrupted(torch.where(touched, low, x), touched)


class SaltAndPepper(Corruption):
    """Makes sub-pixels black or white, either as often, each with the same probability.

    Arguments:
        share: That probability, of both together.
    """

    def __init__(self, share: float = 0.3) -> None:
        self.share = _checked(share)

    @property
    def name(self) -> str:
        return f"salt-and-pepper-{self.share}"

    def __call__(self, x: Tensor, noise: Noise, low: float = -1.0, high: float = 1.0) -> Corrupted:
        u = noise.uniform(*x.shape[1:]).to(x.device)
        spoilt = torch.where(u < self.share / 2, low, torch.where(u < self.share, high, x))
        return Corrupted(spoilt, u < self.share)


def _checked(share: float) -> float:
    if not 0 <= share <= 1:
        raise ValueError(f"share must be a probability, from 0 to 1, got {share}")
    return share
