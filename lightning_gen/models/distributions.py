"""Distributions of an image given the numbers that a decoder gives for each sub-pixel.

Parameters have shape (B, parameters, C, H, W), images (B, C, H, W) in [-1, 1]. All are of the
discrete image, so that their likelihoods compare.
"""

from abc import ABC, abstractmethod
from math import isfinite, prod

import torch
from torch import Tensor

from .. import losses
from ..randomness import Noise
from .quantised import at_levels, dequantise, discrete_nll


class Distribution(ABC):
    """Independent sub-pixels, each with a few parameters."""

    parameters: int
    dequantisation = "none"

    def check(self, x: Tensor) -> None:  # noqa: B027
        """Raises ValueError for images that can have no likelihood; by default all have one."""

    def targets(self, x: Tensor, noise: Noise) -> Tensor:
        """What `nll` takes for images; by default the images themselves."""
        return x

    @abstractmethod
    def nll(self, parameters: Tensor, targets: Tensor) -> Tensor:
        """Nats per image, (B,)."""

    def nll_of_draws(self, parameters: Tensor, targets: Tensor) -> Tensor:
        """Nats (B, k) of images (B, ...), of which each has k parameters, (B, k, ...)."""
        k = parameters.shape[1]
        nll = self.nll(parameters.flatten(0, 1), targets.repeat_interleave(k, 0))
        return nll.unflatten(0, (-1, k))

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """The images that one expects."""

    @abstractmethod
    def sample(self, parameters: Tensor, noise: Noise) -> Tensor:
        """Draws images at their levels."""


class Bernoulli(Distribution):
    """Black or white. The parameter is the logit of white.

    Cross-entropy of gray values is no likelihood, so images that are not binary are refused.
    """

    parameters = 1

    def check(self, x: Tensor) -> None:
        if not (x.abs() == 1).all():
            raise ValueError(
                "the Bernoulli distribution needs binary images but the data has grays; use "
                "binarised data, such as BinarizedMNIST, or DiscretizedLogistic"
            )

    def nll(self, parameters: Tensor, targets: Tensor) -> Tensor:
        return losses.sign_nll(parameters[:, 0], targets)

    def nll_of_draws(self, parameters: Tensor, targets: Tensor) -> Tensor:
        return losses.sign_nll(parameters[:, :, 0], targets[:, None])  # nothing is repeated

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters[:, 0].sigmoid() * 2 - 1

    def sample(self, parameters: Tensor, noise: Noise) -> Tensor:
        logits = parameters[:, 0]
        white = noise.uniform(*logits.shape[1:]) < logits.sigmoid()
        return white.to(logits.dtype) * 2 - 1


class DiscretizedLogistic(Distribution):
    """256 levels as bins of a logistic distribution. The parameters are location and log-scale.

    Arguments:
        min_log_scale: Log-scales below are raised to it; PixelCNN++ has -7.
    """

    parameters = 2

    def __init__(self, min_log_scale: float = -7.0) -> None:
        if not isfinite(min_log_scale):
            raise ValueError(f"min_log_scale must be finite, got {min_log_scale}")
        self.min_log_scale = min_log_scale

    def nll(self, parameters: Tensor, targets: Tensor) -> Tensor:
        return losses.discretized_logistic_nll(*self._split(parameters), targets)

    def mean(self, parameters: Tensor) -> Tensor:
        """The locations, clamped: they are close to the mean where the scale is small."""
        return parameters[:, 0].clamp(-1, 1)

    def sample(self, parameters: Tensor, noise: Noise) -> Tensor:
        location, log_scale = self._split(parameters)
        u = noise.uniform(*location.shape[1:]).to(location)
        return at_levels(location + log_scale.exp() * torch.logit(u))

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        location, log_scale = parameters.unbind(1)
        return location, log_scale.clamp(min=self.min_log_scale)


class Gaussian(Distribution):
    """256 levels, with noise that fills their bins, under a Gaussian: mean and log-variance.

    The noise makes a density into a bound on the probability of the level (Theis et al., 2016,
    Section 3.1, https://arxiv.org/abs/1511.01844); it also keeps the density of constant pixels
    finite.

    Arguments:
        log_var_range: Log-variances are clamped to it.
        log_var: The log-variance of all sub-pixels, in place of the second parameter. The costs are
            then squared errors but for a factor and a constant. Images are in [-1, 1], so the unit
            variance of pixels in [0, 1] is ln 4 here.
    """

    parameters = 2
    dequantisation = "uniform"

    def __init__(
        self, log_var_range: tuple[float, float] = (-10.0, 10.0), log_var: float | None = None
    ) -> None:
        low, high = log_var_range
        if not low < high:
            raise ValueError(f"log_var_range must be (low, high), got {tuple(log_var_range)}")
        if log_var is not None:
            if not isfinite(log_var):
                raise ValueError(f"log_var must be finite, got {log_var}")
            self.parameters = 1
        self.log_var_range, self.log_var = log_var_range, log_var

    def targets(self, x: Tensor, noise: Noise) -> Tensor:
        return dequantise(x, noise)

    def nll(self, parameters: Tensor, targets: Tensor) -> Tensor:
        density = losses.gaussian_nll(*self._split(parameters), targets)
        return discrete_nll(density, prod(targets.shape[1:]))

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters[:, 0].clamp(-1, 1)

    def sample(self, parameters: Tensor, noise: Noise) -> Tensor:
        mean, log_var = self._split(parameters)
        return at_levels(mean + (log_var / 2).exp() * noise.normal(*mean.shape[1:]).to(mean))

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        if self.log_var is not None:
            return parameters[:, 0], parameters.new_full((), self.log_var)
        mean, log_var = parameters.unbind(1)
        return mean, log_var.clamp(*self.log_var_range)
