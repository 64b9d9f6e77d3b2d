r"""NICE: a density of images by an invertible map to independent codes.

.. math:: \log p(y) = \sum_i \log p(f_i(y)) + \log |\det f'(y)|

Images y are those of 256 levels with noise that fills the bins, so that the density bounds the
likelihood of the levels.

References:
    | NICE: Non-linear Independent Components Estimation (Dinh et al., 2014)
    | https://arxiv.org/abs/1410.8516
"""

from math import prod
from typing import Any, Literal, cast

import torch
from torch import Tensor

from ... import losses
from ...nn.roles import ImageFlow
from ...randomness import Noise
from ..base import evaluating
from ..likelihood import LikelihoodModel
from ..quantised import at_levels, check_images, dequantise, discrete_nll


class NICE(LikelihoodModel):
    """An invertible network and a prior of independent codes.

    Arguments:
        flow: Maps images to codes and back.
        prior: Of each code: "logistic", as the paper has it on MNIST, or "normal", as on CIFAR-10.
        kwargs: See `LikelihoodModel`.
    """

    nll_kind: Literal["exact", "bound"] = "bound"
    dequantisation = "uniform"

    def __init__(
        self, flow: ImageFlow, prior: Literal["logistic", "normal"] = "logistic", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if prior not in ("logistic", "normal"):
            raise ValueError(f"prior must be logistic or normal, got {prior}")
        self.flow, self.prior = flow, prior
        self.average("flow")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.flow.shape

    def nll(self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """An upper bound in nats, (B,), as the bins are filled by noise."""
        flow = self.flow if self.training else self.averaged("flow")
        z, log_det = flow(dequantise(x, self.noise_for(len(x), noise)))
        logistic = self.prior == "logistic"
        prior = losses.standard_logistic_nll if logistic else losses.standard_normal_nll
        return discrete_nll(prior(z) - log_det, z.shape[1])

    def check(self, images: Tensor) -> None:
        check_images(images, 256)

    # Capabilities

    def encode(self, x: Tensor) -> Tensor:
        """The codes (B, D) of images."""
        with evaluating(cast(ImageFlow, self.averaged("flow"))) as flow:
            return flow(x)[0]

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The images of codes (B, D), clamped to [-1, 1]."""
        with evaluating(cast(ImageFlow, self.averaged("flow"))) as flow:
            return flow.inverse(z).clamp(-1, 1)

    def latent(self, n: int, noise: Noise | None = None) -> Tensor:
        """Draws `n` codes from the prior, (n, D)."""
        noise, size = self.noise_for(n, noise), prod(self.shape)
        if self.prior == "normal":
            return noise.normal(size).to(self.precision)
        u = noise.uniform(size).double()
        return torch.logit(u, eps=1e-12).to(self.precision)

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Draws `n` images, at the nearest levels."""
        return at_levels(self.decode(self.latent(n, noise)))
