r"""Variational autoencoder.

A decoder :math:`p(x|z)` of codes from :math:`p(z) = N(0, 1)`, fitted together with an encoder
:math:`q(z|x)`, a diagonal Gaussian, by the upper bound

.. math:: -\log p(x) \le KL(q(z|x) \,\|\, p(z)) - E_{q(z|x)}[\log p(x|z)]

References:
    | Auto-Encoding Variational Bayes (Kingma and Welling, 2014), https://arxiv.org/abs/1312.6114
    | Importance Weighted Autoencoders (Burda et al., 2016), https://arxiv.org/abs/1509.00519, for
    | `importance_nll`
"""

from math import inf, log
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ... import losses
from ...nn.roles import Decoder, Encoder
from ...randomness import Noise
from ..base import Batch, Terms, evaluating
from ..distributions import Bernoulli, Distribution
from ..likelihood import LikelihoodModel


class VAE(LikelihoodModel):
    """Variational autoencoder with one sample per image and the divergence in closed form.

    Arguments:
        encoder: Maps images to the mean and log-variance of their codes.
        decoder: Maps codes to the parameters of a distribution over images.
        likelihood: That distribution. Default: Bernoulli, for binary images.
        kl_weight: Weight of the divergence in training (beta-VAE); reported bounds always have 1.
        kl_warmup: Images over which that weight rises from 0.
        sample_pixels: Let `sample` draw pixels, not give the means that papers print.
        kwargs: See `LikelihoodModel`.
    """

    nll_kind: Literal["exact", "bound"] = "bound"

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        likelihood: Distribution | None = None,
        kl_weight: float = 1.0,
        kl_warmup: int = 0,
        sample_pixels: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        likelihood = Bernoulli() if likelihood is None else likelihood
        _check_fit(encoder, decoder, likelihood)
        if not 0 <= kl_weight < inf or kl_warmup < 0:
            raise ValueError(
                f"kl_weight and kl_warmup must not be negative, got {kl_weight} and {kl_warmup}"
            )
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.kl_weight, self.kl_warmup = kl_weight, kl_warmup
        self.sample_pixels = sample_pixels
        self.average("encoder", "decoder")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.decoder.shape

    @property
    def dequantisation(self) -> str:
        """How levels were made continuous, for the protocols of likelihoods."""
        return self.likelihood.dequantisation

    @property
    def beta(self) -> float:
        """The weight of the divergence in training now."""
        warm = min(1.0, self.images_seen / self.kl_warmup) if self.kl_warmup else 1.0
        return self.kl_weight * warm

    def terms(self, batch: Batch) -> Terms:
        reconstruction, kl = self._bound(batch.images, batch.noise)
        reconstruction, kl = reconstruction.mean(), kl.mean()
        loss = reconstruction + self.beta * kl
        return {
            "loss": loss,
            "nll": reconstruction + kl,
            "reconstruction": reconstruction,
            "kl": kl,
        }

    def nll(self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """The bound with one sample, in nats, (B,)."""
        reconstruction, kl = self._bound(x, self.noise_for(len(x), noise))
        return reconstruction + kl

    def check(self, images: Tensor) -> None:
        self.likelihood.check(images)

    # Capabilities

    @torch.no_grad()
    def importance_nll(
        self,
        x: Tensor,
        k: int,
        labels: Tensor | None = None,
        noise: Noise | None = None,
        chunk: int = 32,
    ) -> Tensor:
        """The bound with `k` importance samples in nats, (B,), of `chunk` samples at a time."""
        noise = self.noise_for(len(x), noise)
        with evaluating(self.averaged("encoder")) as encoder, evaluating(self.averaged("decoder")):
            mean, log_var = encoder(x)
            targets = self.likelihood.targets(x, noise)
            log_sum = torch.full_like(mean[:, 0], -torch.inf)
            for start in range(0, k, chunk):
                eps = [noise.normal(mean.shape[1]).to(mean) for _ in range(min(chunk, k - start))]
                log_w = self._log_weights(targets, mean, log_var, torch.stack(eps, 1))
                log_sum = torch.logaddexp(log_sum, log_w.logsumexp(1))
        return log(k) - log_sum

    def encode(self, x: Tensor) -> Tensor:
        """The posterior mean, (B, D)."""
        with evaluating(self.averaged("encoder")) as encoder:
            return encoder(x)[0]

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean image of each code."""
        return self.likelihood.mean(self._decoded(z))

    def latent(self, n: int, noise: Noise | None = None) -> Tensor:
        """Draws `n` codes from the prior, (n, D)."""
        return self.noise_for(n, noise).normal(self.decoder.latent_size).type(self.dtype)

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """The mean images of `n` codes from the prior; with `sample_pixels`, draws from them."""
        noise = self.noise_for(n, noise)
        z = self.latent(n, noise)
        if not self.sample_pixels:
            return self.decode(z)
        return self.likelihood.sample(self._decoded(z), noise.spawn("pixels"))

    # The bound

    def _bound(self, x: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """The negative reconstruction and the divergence, in nats, (B,) each."""
        encoder, decoder = self._network("encoder"), self._network("decoder")
        mean, log_var = encoder(x)
        z = mean + (log_var / 2).exp() * noise.normal(mean.shape[1]).to(mean)
        reconstruction = self.likelihood.nll(decoder(z), self.likelihood.targets(x, noise))
        return reconstruction, losses.gaussian_kl(mean, log_var)

    def _log_weights(self, targets: Tensor, mean: Tensor, log_var: Tensor, eps: Tensor) -> Tensor:
        """ln p(x, z) - ln q(z|x), (B, k), for standard normal eps (B, k, D)."""
        k = eps.shape[1]
        mean, log_var, targets = (t.repeat_interleave(k, 0) for t in (mean, log_var, targets))
        z = mean + (log_var / 2).exp() * eps.flatten(0, 1)
        log_q = -losses.gaussian_nll(mean, log_var, z)
        log_p = -losses.standard_normal_nll(z)
        log_p = log_p - self.likelihood.nll(self.averaged("decoder")(z), targets)
        return (log_p - log_q).unflatten(0, (-1, k))

    def _decoded(self, z: Tensor) -> Tensor:
        with evaluating(self.averaged("decoder")) as decoder:
            return decoder(z)

    def _network(self, name: str) -> nn.Module:
        return getattr(self, name) if self.training else self.averaged(name)


def _check_fit(encoder: Encoder, decoder: Decoder, likelihood: Distribution) -> None:
    if encoder.latent_size != decoder.latent_size:
        raise ValueError(
            f"the encoder's latent_size is {encoder.latent_size} but the decoder's is "
            f"{decoder.latent_size}; they must be equal"
        )
    if tuple(encoder.shape) != tuple(decoder.shape):
        raise ValueError(
            f"the encoder takes images of shape {tuple(encoder.shape)} but the decoder makes "
            f"{tuple(decoder.shape)}; they must be equal"
        )
    if decoder.outputs != likelihood.parameters:
        raise ValueError(
            f"{type(likelihood).__name__} has {likelihood.parameters} parameters per sub-pixel, so "
            f"the decoder's outputs must be {likelihood.parameters}, got {decoder.outputs}"
        )
