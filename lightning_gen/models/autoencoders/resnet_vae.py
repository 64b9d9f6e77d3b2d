r"""ResNet VAE: codes at many depths, whose posteriors go down the same way as the priors do.

Both the prior and the posterior of a block's codes depend on all codes above it,

.. math:: p(z) = \prod_l p(z_l|z_{<l}), \quad q(z|x) = \prod_l q(z_l|z_{<l}, x),

the posterior by what is known from above plus what is seen of the image on the way up. With inverse
autoregressive flows the posteriors are no Gaussians, and the divergence is by the sample.

References:
    | Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016)
    | https://arxiv.org/abs/1606.04934
"""

from typing import Any, cast

import torch
from torch import Tensor

from ... import losses
from ...nn.precision import wide
from ...nn.top_down import Moments, Said, Seen, StochasticBlock, TopDownNetwork
from ...randomness import Noise
from ..base import evaluating
from ..distributions import DiscretizedLogistic, Distribution
from .codes import rows
from .fit import check_outputs
from .latent import Bound, LatentModel


class ResNetVAE(LatentModel):
    """A VAE with codes in every block. The groups of its divergence are the maps of each block.

    Codes for `decode`, and of images, are in units of the prior: each number is how many standard
    deviations it is from the mean that the codes above it let expect, so that the prior of a code
    is N(0, 1).

    Arguments:
        network: The network.
        likelihood: The distribution of images. Default: a discretised logistic one.
        kwargs: See `LatentModel`; the paper has 0.25 or 0.1 `free_bits`.
    """

    images_at_once = 16
    compilable = False  # its network is not called but step by step

    def __init__(
        self, network: TopDownNetwork, likelihood: Distribution | None = None, **kwargs: Any
    ) -> None:
        super().__init__(DiscretizedLogistic() if likelihood is None else likelihood, **kwargs)
        check_outputs(network, self.likelihood, "network")
        self.network = network
        self.average("network")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.network.shape

    # The bound

    def bound(self, x: Tensor, labels: Tensor | None, noise: Noise) -> Bound:
        parameters, divergence, _ = self._posterior(x, self._normal(noise).to(x), closed=True)
        targets = self.likelihood.targets(x, noise)
        return Bound(self.likelihood.nll(parameters, targets), divergence)

    def draws(self, x: Tensor, k: int, labels: Tensor | None, noise: Noise) -> Bound:
        eps = rows(self._normal, noise, k).to(x)
        parameters, divergence, _ = self._posterior(x, eps, closed=False)
        targets = self.likelihood.targets(x, noise).repeat_interleave(k, 0)
        reconstruction = self.likelihood.nll(parameters, targets)
        return Bound(reconstruction.unflatten(0, (-1, k)), divergence.unflatten(0, (-1, k)))

    def _posterior(self, x: Tensor, eps: Tensor, closed: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Down the network with codes of images, of each k rows of `eps`, (B * k, D).

        Returns the parameters of images, the divergence of each map, in closed form if it is to be
        and there is one, and the codes in units of the prior, (B * k, D).
        """
        network = cast(TopDownNetwork, self._network("network"))
        k, h, found, codes = len(eps) // len(x), network.begin(len(eps)), [], []
        for block, own, seen in zip(
            network.blocks, network.split(eps), network.rise(x), strict=True
        ):
            said = block.look(h)
            z, divergence = _drawn(block, said, seen, own, k, closed)
            mean, log_var = map(wide, said.prior)
            found.append(divergence.sum((2, 3)))
            codes.append(((z - mean) * (-log_var / 2).exp()).flatten(1))
            h = block(h, z, said.features)
        return network.finish(h), torch.cat(found, 1), torch.cat(codes, 1)

    def _prior(self, z: Tensor) -> Tensor:
        """The parameters of images of codes in units of the prior, (B, D)."""
        with evaluating(self.averaged("network")) as network:
            return network(z)

    def _normal(self, noise: Noise) -> Tensor:
        return noise.normal(self.network.latent_size)

    # Capabilities

    def encode(self, x: Tensor) -> Tensor:
        """The codes where every posterior takes the mean of its Gaussian, (B, D)."""
        with evaluating(self):
            still = x.new_zeros(len(x), self.network.latent_size)
            return self._posterior(x, still, closed=True)[2]

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean image of each code (B, D)."""
        return self.likelihood.mean(self._prior(z))

    @torch.no_grad()
    def latent(self, n: int, noise: Noise | None = None) -> Tensor:
        """Draws `n` codes from the prior, (n, D)."""
        return self._normal(self.noise_for(n, noise)).type(self.precision)

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """The mean images of `n` codes from the prior; with `sample_pixels`, draws from them."""
        noise = self.noise_for(n, noise)
        return self.pictures(self._prior(self.latent(n, noise)), noise)


def _drawn(
    block: StochasticBlock, said: Said, seen: Seen, eps: Tensor, k: int, closed: bool
) -> tuple[Tensor, Tensor]:
    """Codes (B * k, maps, H, W) from a block's posterior, and the divergence of each number."""
    prior = Moments(*map(wide, said.prior))
    mean, log_var, context = (
        wide(below) + wide(above).repeat_interleave(k, 0)
        for below, above in zip(said.posterior, seen, strict=True)
    )
    z = mean + (log_var / 2).exp() * eps
    if closed and block.flow is None:
        return z, losses.gaussian_divergences(mean, log_var, *prior)
    log_q = -0.5 * (eps.square() + log_var)
    if block.flow is not None:
        z, log_slopes = block.flow(z, context)
        log_q = log_q - log_slopes
    # The constants of both densities cancel.
    log_p = -0.5 * ((z - prior.mean).square() * (-prior.log_var).exp() + prior.log_var)
    return z, log_q - log_p
