"""Images of a few levels: whether data has them, and how densities become likelihoods of them."""

from math import log

from torch import Tensor

from ..levels import from_levels, to_levels
from ..randomness import Noise

BIN_WIDTH = 2 / 255  # of a level in [-1, 1]


def check_images(images: Tensor, levels: int) -> None:
    """Raises ValueError for images (B, C, H, W) in [-1, 1] that have other values than `levels`."""
    nearest = from_levels(to_levels(images, levels), levels, images.dtype)
    if (images - nearest).abs().max() > 0.5 / 255:
        raise ValueError(
            f"the model has {levels} levels but the data has others; set levels to 256, or use "
            f"data with {levels}, such as BinarizedMNIST for 2"
        )


def dequantise(x: Tensor, noise: Noise) -> Tensor:
    """Images of 256 levels with noise that fills their bins, (B, C, H, W).

    The mean over the noise of a density's logarithm is at most that of the level's probability
    (Theis et al., 2016, Section 3.1, https://arxiv.org/abs/1511.01844).
    """
    u = noise.spawn("dequantise").uniform(*x.shape[1:])
    return x + (u.to(x) - 0.5) * BIN_WIDTH


def discrete_nll(density_nll: Tensor, dimensions: int) -> Tensor:
    """What a density at dequantised images in [-1, 1] says of their levels, in nats (B,)."""
    return density_nll - dimensions * log(BIN_WIDTH)


def at_levels(x: Tensor) -> Tensor:
    """The nearest images of 256 levels."""
    return from_levels(to_levels(x), dtype=x.dtype)
