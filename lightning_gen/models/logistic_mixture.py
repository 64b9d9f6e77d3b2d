"""The head of PixelCNN++: a mixture of logistic distributions over whole pixels."""

import torch
from torch import Tensor

from .. import losses
from ..losses.precision import wide
from .heads import PixelHead, every_level, finite


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
        self.components, self.min_log_scale = components, finite(min_log_scale)

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
        numbers, color = wide(numbers), known.shape[1]
        weights, location, log_scale, coefficients = self._split(numbers, channels)
        for c in range(color):  # the colours before tell the components apart
            at = _follow(location[:, :, c], coefficients, known[:, :c])
            weights = weights + losses.discretized_logistic_log_mass(
                at, log_scale[:, :, c], known[:, c, None], levels
            )
        at = _follow(location[:, :, color], coefficients, known)[..., None]
        scale = log_scale[:, :, color, None]
        every = every_level(numbers, levels)[:, None]
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
