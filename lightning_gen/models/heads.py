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
    predict all of a pixel from the pixels before it.
    """

    couples = False

    @abstractmethod
    def outputs(self, channels: int, levels: int) -> int:
        """How many numbers it needs: for each sub-pixel, or for each pixel if it couples."""

    def check(self, network: PixelNetwork) -> None:
        """Raises ValueError for a network whose numbers are not those that the head needs."""
        name, colors = type(self).__name__, 1 if self.couples else network.channels
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
        self.min_log_scale = _finite(min_log_scale)

    def outputs(self, channels: int, levels: int) -> int:
        return 2

    def costs(self, numbers: Tensor, x: Tensor, levels: int) -> Tensor:
        location, log_scale = numbers.unbind(1)
        log_scale = log_scale.clamp(min=self.min_log_scale)
        return -losses.discretized_logistic_log_mass(location, log_scale, x, levels)

    def logits(self, numbers: Tensor, known: Tensor, channels: int, levels: int) -> Tensor:
        location, log_scale = numbers[:, :, None].unbind(1)
        log_scale = log_scale.clamp(min=self.min_log_scale)
        every = _every(numbers, levels)
        return losses.discretized_logistic_log_mass(location, log_scale, every, levels)


class LogisticMixture(PixelHead):
    r"""A mixture of logistic distributions whose locations follow the colours before.

    Within a component, with :math:`\mu` what the network says and :math:`c = \tanh` of it, green is
    at :math:`\mu_G + c_0 x_R` and blue at :math:`\mu_B + c_1 x_R + c_2 x_G`. The colours of a pixel
    share the component, so it is summed over last.

    References:
        | PixelCNN++ (Salimans et al., 2017), Sections 2.1 and 2.2
        | https://arxiv.org/abs/1701.05517

    Arguments:
        components: How many logistic distributions are mixed; the paper has 10 on CIFAR-10.
        min_log_scale: Log-scales below are raised to it.
    """

    couples = True

    def __init__(self, components: int = 10, min_log_scale: float = -7.0) -> None:
        if components < 1:
            raise ValueError(f"components must be at least 1, got {components}")
        self.components, self.min_log_scale = components, _finite(min_log_scale)

    def outputs(self, channels: int, levels: int) -> int:
        return self.components * (1 + 2 * channels + channels * (channels - 1) // 2)

    def costs(self, numbers: Tensor, x: Tensor, levels: int) -> Tensor:
        numbers = wide(numbers)
        weights, location, log_scale, coefficients = self._split(numbers[:, :, 0], x.shape[1])
        location = torch.stack(
            [_follow(location[:, :, c], coefficients, x[:, :c]) for c in range(x.shape[1])],
            2,
        )
        log_mass = losses.discretized_logistic_log_mass(location, log_scale, x[:, None], levels)
        # Of the first colour, the first two, and so on, by all components together.
        log_p = (weights.log_softmax(1)[:, :, None] + log_mass.cumsum(2)).logsumexp(1)
        return torch.cat([-log_p[:, :1], -log_p.diff(dim=1)], 1)

    def logits(self, numbers: Tensor, known: Tensor, channels: int, levels: int) -> Tensor:
        color = known.shape[1]
        weights, location, log_scale, coefficients = self._split(numbers, channels)
        for c in range(color):  # the colours before tell the components apart
            at = _follow(location[:, :, c], coefficients, known[:, :c])
            weights = weights + losses.discretized_logistic_log_mass(
                at, log_scale[:, :, c], known[:, c, None], levels
            )
        at = _follow(location[:, :, color], coefficients, known)[..., None]
        scale = log_scale[:, :, color, None]
        every = _every(numbers, levels)[:, None]
        log_mass = losses.discretized_logistic_log_mass(at, scale, every, levels)
        return (weights.log_softmax(1)[..., None] + log_mass).logsumexp(1)

    def _split(self, numbers: Tensor, channels: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weights (B, K, ...), locations and log-scales (B, K, C, ...), coefficients (B, K, P, ...).

        The coefficients go by pairs of colours: of green, its red; of blue, its red and green.
        """
        k = self.components
        weights, rest = numbers[:, :k], numbers[:, k:].unflatten(1, (k, -1))
        location, log_scale, coefficients = rest.split(
            [channels, channels, channels * (channels - 1) // 2], 2
        )
        return weights, location, log_scale.clamp(min=self.min_log_scale), coefficients.tanh()


def _follow(location: Tensor, coefficients: Tensor, before: Tensor) -> Tensor:
    """Where a colour is (B, K, ...), given those before it in its pixel (B, c, ...)."""
    color = before.shape[1]
    first = color * (color - 1) // 2
    for c in range(color):
        location = location + coefficients[:, :, first + c] * before[:, None, c]
    return location


def _every(like: Tensor, levels: int) -> Tensor:
    """All levels in [-1, 1], (1, levels)."""
    return from_levels(torch.arange(levels, device=like.device), levels, like.dtype)[None]


def _finite(min_log_scale: float) -> float:
    if not isfinite(min_log_scale):
        raise ValueError(f"min_log_scale must be finite, got {min_log_scale}")
    return min_log_scale
