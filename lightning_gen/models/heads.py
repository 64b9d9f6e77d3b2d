"""What the numbers that a causal network gives at a pixel say about the pixel's levels.

Numbers have shape (B, outputs, colors, H, W), images (B, C, H, W) in [-1, 1]. A head gives the
likelihood of whole images for training and, colour by colour, the distribution of one pixel, from
which samples are drawn.
"""

from abc import ABC, abstractmethod
from math import isfinite

import torch
from torch import Tensor

from .. import losses
from ..levels import from_levels, to_levels
from ..losses.precision import wide
from ..nn.roles import PixelNetwork


class PixelHead(ABC):
    """A distribution over the levels of a pixel.

    Where `couples` is true it makes colours depend on each other itself, so the network has to
    predict all of a pixel from the pixels before it. Where `reads_logits` is true the numbers are
    a logit for each level.
    """

    couples = False
    reads_logits = False

    @abstractmethod
    def outputs(self, channels: int, levels: int) -> int:
        """How many numbers it needs: for each sub-pixel, or for each pixel if it couples."""

    def check(self, network: PixelNetwork) -> None:
        """Raises ValueError for a network whose numbers are not those that the head needs."""
        name, colors = type(self).__name__, 1 if self.couples else network.channels
        if network.only_logits and not self.reads_logits:
            raise ValueError(
                f"{type(network).__name__} gives a logit for each level, which {name} does not "
                "read; use Softmax"
            )
        if network.colors != colors:
            raise ValueError(
                f"{name} {'makes' if self.couples else 'does not make'} the colours of a pixel "
                "depend on each other; set the network's color_order to "
                f"{str(not self.couples).lower()}"
            )
        needed = self.outputs(network.channels, network.levels)
        if network.outputs != needed:
            raise ValueError(
                f"{name} needs {needed} numbers but the network gives {network.outputs}; set the "
                f"network's outputs to {needed}"
            )

    def nll(self, numbers: Tensor, x: Tensor, levels: int) -> Tensor:
        """Nats per image, (B,)."""
        return self.costs(numbers, x, levels).flatten(1).sum(1)

    @abstractmethod
    def costs(self, numbers: Tensor, x: Tensor, levels: int) -> Tensor:
        """Nats per sub-pixel (B, C, H, W), each given those before it."""

    @abstractmethod
    def logits(self, numbers: Tensor, known: Tensor, channels: int, levels: int) -> Tensor:
        """Log-probabilities, up to a constant, of the levels of a pixel's next colour, (B, levels).

        Numbers (B, outputs) are of this colour, or of the pixel if the head couples; `known` (B, c)
        are the colours before, in [-1, 1], of all `channels`.
        """


class Softmax(PixelHead):
    """A probability of its own for each level; for two levels it is a Bernoulli distribution."""

    reads_logits = True

    def outputs(self, channels: int, levels: int) -> int:
        return levels

    def costs(self, numbers: Tensor, x: Tensor, levels: int) -> Tensor:
        return losses.categorical_costs(numbers, to_levels(x, levels))

    def logits(self, numbers: Tensor, known: Tensor, channels: int, levels: int) -> Tensor:
        return numbers


class Logistic(PixelHead):
    """A logistic distribution cut into levels. The numbers are its location and log-scale.

    Arguments:
        min_log_scale: Log-scales below are raised to it; PixelCNN++ has -7.
    """

    def __init__(self, min_log_scale: float = -7.0) -> None:
        self.min_log_scale = finite(min_log_scale)

    def outputs(self, channels: int, levels: int) -> int:
        return 2

    def costs(self, numbers: Tensor, x: Tensor, levels: int) -> Tensor:
        location, log_scale = numbers.unbind(1)
        log_scale = log_scale.clamp(min=self.min_log_scale)
        return -losses.discretized_logistic_log_mass(location, log_scale, x, levels)

    def logits(self, numbers: Tensor, known: Tensor, channels: int, levels: int) -> Tensor:
        location, log_scale = wide(numbers)[:, :, None].unbind(1)
        log_scale = log_scale.clamp(min=self.min_log_scale)
        every = every_level(location, levels)
        return losses.discretized_logistic_log_mass(location, log_scale, every, levels)


def every_level(like: Tensor, levels: int) -> Tensor:
    """All levels in [-1, 1], (1, levels)."""
    return from_levels(torch.arange(levels, device=like.device), levels, like.dtype)[None]


def finite(min_log_scale: float) -> float:
    """Raises ValueError for a bound on log-scales that is none."""
    if not isfinite(min_log_scale):
        raise ValueError(f"min_log_scale must be finite, got {min_log_scale}")
    return min_log_scale
