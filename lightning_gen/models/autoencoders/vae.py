r"""Variational autoencoder.

A decoder :math:`p(x|z)` of codes from :math:`p(z) = N(0, 1)`, fitted together with an encoder
:math:`q(z|x)`, a diagonal Gaussian, by the upper bound

.. math:: -\log p(x) \le KL(q(z|x) \,\|\, p(z)) - E_{q(z|x)}[\log p(x|z)]

With networks that know classes y it is the conditional one: of p(x|z, y) and q(z|x, y).

References:
    | Auto-Encoding Variational Bayes (Kingma and Welling, 2014), https://arxiv.org/abs/1312.6114
    | Variational Inference with Normalizing Flows (Rezende and Mohamed, 2015), for `flow`
    | https://arxiv.org/abs/1505.05770
    | Learning Structured Output Representation using Deep Conditional Generative Models (Sohn et
    | al., 2015), for classes
"""

from typing import Any, cast

import torch
from torch import Tensor

from ... import losses
from ...nn.precision import wide
from ...nn.roles import Decoder, Encoder, Posterior, PosteriorFlow, UpperCodes
from ...randomness import Noise
from ..base import evaluating
from ..distributions import Distribution
from .codes import prior, reconstructions
from .fit import check_codes, check_networks
from .latent import Bound, LatentModel, drawn, of


class VAE(LatentModel):
    """Variational autoencoder with one sample per image and the divergence in closed form.

    With a flow, what it adds to the divergence is by the sample; with a layer of codes above, all of
    it is. Its groups, which `free_bits` go to, are the units of the codes.

    Arguments:
        encoder: Maps images to the mean and log-variance of their codes.
        decoder: Maps codes to the parameters of a distribution over images.
        likelihood: That distribution. Default: Bernoulli, for binary images.
        flow: Bends the Gaussian of the encoder, which gives it a context for each image.
        upper: A second layer of codes, which says what to expect of the first.
        kwargs: See `LatentModel`.
    """

    samples_at_once = 128  # which have their codes at once; these are decoded in pieces

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        likelihood: Distribution | None = None,
        flow: PosteriorFlow | None = None,
        upper: UpperCodes | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(likelihood, **kwargs)
        check_networks(encoder, decoder, self.likelihood)
        check_codes(encoder, flow, upper, self.free_bits)
        self.encoder, self.decoder, self.flow, self.upper = encoder, decoder, flow, upper
        self.average("encoder", "decoder", "flow", "upper")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.decoder.shape

    @property
    def num_classes(self) -> int | None:
        """How many classes the images are conditioned on, if they are."""
        return self.decoder.num_classes

    # The bound

    def bound(self, x: Tensor, labels: Tensor | None, noise: Noise) -> Bound:
        if self.upper is not None:
            return super().bound(x, labels, noise)
        mean, log_var, context = self._recognised(x, labels)
        z = mean + (log_var / 2).exp() * noise.normal(mean.shape[1]).to(mean)
        divergence = losses.gaussian_divergences(mean, log_var)
        if self.flow is not None:
            # Of the Gaussian in closed form, so that by the sample is only what the flow adds to it.
            bent, log_det = self._network("flow")(z[:, None], context)
            added = (bent[:, 0].square() - z.square()).sum(1) / 2 - log_det[:, 0]
            z, divergence = bent[:, 0], (divergence.sum(1) + added)[:, None]
        return Bound(self._reconstruction(x, z[:, None], labels, noise)[:, 0], divergence)

    def draws(self, x: Tensor, k: int, labels: Tensor | None, noise: Noise) -> Bound:
        mean, log_var, context = self._recognised(x, labels)
        sizes = [mean.shape[1]] + ([] if self.upper is None else [self.upper.latent_size])
        normal = torch.stack([noise.normal(sum(sizes)).to(mean) for _ in range(k)], 1)
        eps, *above = normal.split(sizes, 2)
        z, log_q = drawn(mean[:, None], log_var[:, None], eps)
        if self.flow is not None:
            z, log_det = self._network("flow")(z, context)
            log_q = (log_q.sum(2) - log_det)[..., None]
        log_p, more = prior(None if self.upper is None else self._network("upper"), z, *above)
        log_p = log_p if self.flow is None else log_p.sum(2, keepdim=True)
        divergence = torch.cat([log_q - log_p, *more], 2)
        return Bound(self._reconstruction(x, z, labels, noise), divergence)

    def _recognised(self, x: Tensor, labels: Tensor | None) -> Posterior:
        mean, log_var, context = of(self._network("encoder"), x, labels)
        return Posterior(wide(mean), wide(log_var), context)

    def _reconstruction(self, x: Tensor, z: Tensor, labels: Tensor | None, noise: Noise) -> Tensor:
        """-ln p(x|z), (B, k), of images and their codes (B, k, D)."""
        targets, decoder = self.likelihood.targets(x, noise), self._network("decoder")
        return reconstructions(decoder, self.likelihood, targets, z, labels)

    # Capabilities

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The posterior mean, (B, D); with a flow, where it takes the mean of what it is given."""
        return self._codes(x, labels, None)

    @torch.no_grad()
    def draw_codes(self, x: Tensor, labels: Tensor | None, noise: Noise) -> Tensor:
        """Draws a code from the posterior of each image, (B, D)."""
        return self._codes(x, labels, noise)

    def _codes(self, x: Tensor, labels: Tensor | None, noise: Noise | None) -> Tensor:
        with evaluating(self.averaged("encoder")) as encoder:
            z, log_var, context = of(encoder, x, labels)
        if noise is not None:
            z = drawn(z, log_var, noise.normal(z.shape[1]).to(z))[0]
        if self.flow is None:
            return z
        with evaluating(self.averaged("flow")) as flow:
            return flow(z[:, None], context)[0][:, 0]

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean image of each code."""
        return self.likelihood.mean(self._decoded(z, labels))

    @torch.no_grad()
    def latent(self, n: int, noise: Noise | None = None) -> Tensor:
        """Draws `n` codes from the prior, (n, D)."""
        noise = self.noise_for(n, noise)
        if self.upper is None:
            return noise.normal(self.decoder.latent_size).type(self.precision)
        with evaluating(cast(UpperCodes, self.averaged("upper"))) as upper:
            mean, log_var = upper(noise.normal(upper.latent_size).type(self.precision))
        return drawn(mean, log_var, noise.normal(upper.below_size).to(mean))[0]

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """The mean images of `n` codes from the prior; with `sample_pixels`, draws from them."""
        noise = self.noise_for(n, noise)
        labels = self.labels_for(n, labels, noise)
        return self.pictures(self._decoded(self.latent(n, noise), labels), noise)

    def _decoded(self, z: Tensor, labels: Tensor | None) -> Tensor:
        with evaluating(self.averaged("decoder")) as decoder:
            return of(decoder, z, labels)
