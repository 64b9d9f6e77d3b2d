r"""One Gaussian over whole images, fitted by its formula: a baseline for flows.

.. math:: \log p(y) = -\tfrac{1}{2} \big( (y - m)^T S^{-1} (y - m) + \log \det S + D \log 2 \pi \big)

with the mean m and the covariance S of the training images, dequantised by noise.

References:
    | A note on the evaluation of generative models (Theis et al., 2016), for bits/dim of densities
    | https://arxiv.org/abs/1511.01844
"""

from math import prod
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from ...nn.statistics import Moments
from ...randomness import Noise
from ..quantised import at_levels, check_images, dequantise, discrete_nll
from .baselines import Baseline, Shape


class GaussianModel(Baseline):
    """One Gaussian over whole images of 256 levels, whose bins noise fills.

    Arguments:
        shape: (C, H, W) of the images.
        covariance: "full"; "diagonal", with independent sub-pixels; or "isotropic", with one
            variance for all.
        ridge: Added to the variances, in shares of their mean, as few images leave directions
            without any. Of 7,000 images of CIFAR-10 1e-3 makes the best of unseen ones.
        kwargs: See `Baseline`.
    """

    nll_kind: Literal["exact", "bound"] = "bound"
    dequantisation = "uniform"

    def __init__(
        self,
        shape: Shape = (1, 28, 28),
        covariance: Literal["full", "diagonal", "isotropic"] = "full",
        ridge: float = 1e-6,
        **kwargs: Any,
    ) -> None:
        super().__init__(shape, **kwargs)
        if covariance not in ("full", "diagonal", "isotropic"):
            raise ValueError(f"covariance must be full, diagonal or isotropic, got {covariance}")
        if not ridge > 0:
            raise ValueError(f"ridge must be a positive share of the variance, got {ridge}")
        self.covariance, self.ridge = covariance, ridge
        self.moments = Moments(prod(shape))
        self._fitted: tuple[object, MultivariateNormal] | None = None  # to which moments, and it

    def gather(self, images: Tensor, noise: Noise, weight: float) -> None:
        self.moments.add(dequantise(images, noise).flatten(1), weight)

    def nll(self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """An upper bound in nats, (B,), as the bins are filled by noise."""
        y = dequantise(x.double(), self.noise_for(len(x), noise)).flatten(1)
        return discrete_nll(-self.density().log_prob(y), y.shape[1]).to(x.dtype)

    def density(self) -> MultivariateNormal:
        """The best fit to all images so far, dequantised in [-1, 1], (D,)."""
        # Made when the moments have changed: between batches of an evaluation they have not.
        m = self.moments
        sums = torch.stack([m.count, m.total.square().sum(), m.products.square().sum()])
        moments = (sums.device, sums.dtype, *sums.tolist())
        if self._fitted is None or self._fitted[0] != moments:
            self._fitted = moments, self._fit()
        return self._fitted[1]

    def _fit(self) -> MultivariateNormal:
        mean, covariance = self.moments.fit()
        variances = covariance.diagonal()
        if self.covariance == "isotropic":
            variances = variances.mean().expand_as(variances)
        if self.covariance != "full":
            covariance = torch.diag(variances)
        ridge = (self.ridge * variances.mean()).clamp(min=1e-12)
        covariance.diagonal().add_(ridge)
        factor = torch.linalg.cholesky(covariance)
        return MultivariateNormal(mean, scale_tril=factor, validate_args=False)

    def check(self, images: Tensor) -> None:
        check_images(images, 256)

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Draws `n` images."""
        density = self.density()
        eps = self.noise_for(n, noise).normal(prod(self.shape)).to(density.loc)
        y = density.loc + eps @ density.scale_tril.T
        return at_levels(y.view(n, *self.shape)).to(self.precision)
