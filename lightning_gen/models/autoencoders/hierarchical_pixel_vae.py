r"""PixelVAE with two layers of codes, both of whose decoders are causal networks.

One goes over pixels, given the lower codes, and one over the places of the lower codes, which are
maps, given the upper ones:

.. math:: p(z_1|z_2) = \prod_j N(z_{1,j}; \mu_j(z_{1,<j}, z_2), \sigma_j^2(z_{1,<j}, z_2)),
          \quad q(z_1, z_2|x) = q(z_1|x) \, q(z_2|x)

References:
    | PixelVAE: A Latent Variable Model for Natural Images (Gulrajani et al., 2017), Section 3.3
    | https://arxiv.org/abs/1611.05013
"""

from typing import Any, cast

import torch
from torch import Tensor

from ... import losses
from ...nn.code_prior import CodePrior
from ...nn.precision import wide
from ...nn.roles import Decoder, Encoder, PixelNetwork
from ...randomness import Noise
from ..base import evaluating
from ..heads import PixelHead
from .causal_pixels import CausalPixels
from .codes import rows
from .fit import check_networks, check_upper
from .latent import Bound, LatentModel, drawn

Moments = tuple[Tensor, Tensor]  # means and log-variances of codes, (B, D) each


class HierarchicalPixelVAE(LatentModel):
    """PixelVAE with two layers of codes. The groups of its divergence are the layers, lower first.

    The divergence of the lower codes is that of each number given those before it, which are
    drawn. Codes for `decode` are what a standard Gaussian gives, the upper ones first: from them
    follow the upper codes as they are, and the lower ones number by number.

    Arguments:
        encoder: Maps images to the mean and log-variance of the lower codes.
        upper_encoder: The same of the upper codes.
        code_prior: Expects lower codes, given the upper ones.
        decoder: Maps lower codes to the maps that the network is shown.
        network: See `PixelVAE`.
        head: See `PixelVAE`.
        kwargs: See `LatentModel`.
    """

    images_at_once = 16

    def __init__(
        self,
        encoder: Encoder,
        upper_encoder: Encoder,
        code_prior: CodePrior,
        decoder: Decoder,
        network: PixelNetwork,
        head: PixelHead | None = None,
        **kwargs: Any,
    ) -> None:
        likelihood = CausalPixels(self, network, decoder.shape, head)
        super().__init__(likelihood, sample_pixels=True, **kwargs)
        check_networks(encoder, decoder, likelihood)
        check_upper(upper_encoder, code_prior, encoder)
        self.encoder, self.upper_encoder, self.code_prior = encoder, upper_encoder, code_prior
        self.decoder, self.network = decoder, network
        self.average("encoder", "upper_encoder", "code_prior", "decoder", "network")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.decoder.shape

    # The bound

    def bound(self, x: Tensor, labels: Tensor | None, noise: Noise) -> Bound:
        lower, upper, expected, z1, _ = self._path(x, self._normal(noise).to(x))
        divergence = losses.gaussian_kl(*lower, *expected), losses.gaussian_kl(*upper)
        return Bound(self._reconstruction(x, z1, noise), torch.stack(divergence, 1))

    def draws(self, x: Tensor, k: int, labels: Tensor | None, noise: Noise) -> Bound:
        eps = rows(self._normal, noise, k).to(x)
        lower, upper, expected, z1, z2 = self._path(x, eps)
        below = losses.gaussian_nll(*expected, z1) - losses.gaussian_nll(*lower, z1)
        above = losses.standard_normal_nll(z2) - losses.gaussian_nll(*upper, z2)
        divergence = torch.stack([below, above], 1).unflatten(0, (-1, k))
        return Bound(self._reconstruction(x, z1, noise).unflatten(0, (-1, k)), divergence)

    def _path(self, x: Tensor, eps: Tensor) -> tuple[Moments, Moments, Moments, Tensor, Tensor]:
        """Of images (B, C, H, W), with k rows of `eps` for each, (B * k, D).

        The moments of both posteriors, lower first, and those that the prior expects of the lower
        codes; then the codes.
        """
        k = len(eps) // len(x)
        lower, upper = (self._recognised(name, x, k) for name in ("encoder", "upper_encoder"))
        above, below = eps.split([self.upper_encoder.latent_size, self.encoder.latent_size], 1)
        z1, z2 = drawn(*lower, below)[0], drawn(*upper, above)[0]
        mean, log_var = self._network("code_prior")(z2, z1)
        return lower, upper, (wide(mean), wide(log_var)), z1, z2

    def _recognised(self, name: str, x: Tensor, k: int) -> Moments:
        """What an encoder says of images, k times over, (B * k, D)."""
        mean, log_var, _ = self._network(name)(x)
        return wide(mean).repeat_interleave(k, 0), wide(log_var).repeat_interleave(k, 0)

    def _reconstruction(self, x: Tensor, z1: Tensor, noise: Noise) -> Tensor:
        """-ln p(x|z), (B * k,), of images (B, C, H, W) and lower codes (B * k, D)."""
        targets = self.likelihood.targets(x, noise).repeat_interleave(len(z1) // len(x), 0)
        return self.likelihood.nll(self._network("decoder")(z1), targets)

    def _normal(self, noise: Noise) -> Tensor:
        return noise.normal(self.upper_encoder.latent_size + self.encoder.latent_size)

    # Capabilities

    def encode(self, x: Tensor) -> Tensor:
        """The posterior means, the upper ones first, as `decode` takes them, (B, D)."""
        with evaluating(self):
            still = x.new_zeros(len(x), self.code_prior.latent_size + self.encoder.latent_size)
            lower, upper, (mean, log_var), _, _ = self._path(x, still)
        return torch.cat([upper[0], (lower[0] - mean) * (-log_var / 2).exp()], 1)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The medians of images, pixel by pixel, of codes (B, D)."""
        return self.likelihood.mean(self._maps(z))

    @torch.no_grad()
    def latent(self, n: int, noise: Noise | None = None) -> Tensor:
        """Draws `n` codes from the prior, (n, D)."""
        return self._normal(self.noise_for(n, noise)).type(self.precision)

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Draws `n` images of codes from the prior."""
        noise = self.noise_for(n, noise)
        return self.paint(self.latent(n, noise), noise)

    def paint(self, z: Tensor, noise: Noise) -> Tensor:
        """Draws images of codes (B, D): what is left to chance where both layers of codes are not."""
        return self.pictures(self._maps(z), noise)

    @torch.no_grad()
    def _maps(self, z: Tensor) -> Tensor:
        """What the network is shown of codes (B, D)."""
        above, eps = z.split([self.upper_encoder.latent_size, self.encoder.latent_size], 1)
        with (
            evaluating(cast(CodePrior, self.averaged("code_prior"))) as prior,
            evaluating(self.averaged("decoder")) as decoder,
        ):
            return decoder(prior.draw(above, eps))
