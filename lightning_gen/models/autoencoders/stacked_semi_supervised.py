r"""M1+M2: a semi-supervised VAE, M2, of the codes that another VAE, M1, finds for images.

M1, a decoder :math:`p(x|z_1)` and an encoder :math:`q(z_1|x)`, is fitted first, without labels, and then
stays. Of what it draws M2 has the bound :math:`U(z_1) \ge -\log p(z_1)`, so that together

.. math:: -\log p(x) \le E_{q(z_1|x)} [-\log p(x|z_1) + \log q(z_1|x) + U(z_1)]

References:
    | Semi-Supervised Learning with Deep Generative Models (Kingma et al., 2014), Section 2
    | https://arxiv.org/abs/1406.5298
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ... import losses
from ...nn.roles import Decoder, Encoder
from ...randomness import Noise
from ..base import Batch, Terms, evaluating
from ..distributions import Bernoulli, Distribution
from ..labelled import Pairs
from .codes import DrawnCodes, GaussianCodes, drawn_codes, reconstructions
from .fit import check_networks, check_stack
from .latent import Bound
from .semi_supervised import SemiSupervisedVAE

CODES = GaussianCodes()


class StackedSemiSupervisedVAE(SemiSupervisedVAE):
    """M1+M2. Until M1 is fitted it is a VAE: samples and bounds are those of M1 alone.

    M2 is shown codes that are drawn anew in each step, as the paper does; the classes of images are
    told from the means of codes. Codes for `encode` and `decode` are those of M2, which mean
    nothing before it has begun. Of labelled images `labelled_nll` is that of their codes.

    Arguments:
        lower_encoder: Maps images to the mean and log-variance of the codes of M1.
        lower_decoder: Maps these to the parameters of a distribution over images.
        encoder: That of M2, for "images" of shape (lower codes, 1, 1).
        decoder: That of M2, with 2 outputs: means and log-variances of the codes of M1.
        classifier: That of M2.
        lower_images: Images by which M1 is fitted.
        likelihood: The distribution of images. Default: Bernoulli, for binary images.
        kwargs: See `SemiSupervisedVAE`. `kl_weight` and `kl_warmup` are those of both.
    """

    def __init__(
        self,
        lower_encoder: Encoder,
        lower_decoder: Decoder,
        encoder: Encoder,
        decoder: Decoder,
        classifier: Encoder,
        lower_images: int,
        likelihood: Distribution | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, decoder, classifier, CODES, **kwargs)
        self.likelihood = Bernoulli() if likelihood is None else likelihood
        check_networks(lower_encoder, lower_decoder, self.likelihood)
        check_stack(lower_encoder, lower_decoder, decoder, lower_images, self.upper)
        self.lower_encoder, self.lower_decoder = lower_encoder, lower_decoder
        self.lower_images = lower_images
        self.average("lower_encoder", "lower_decoder")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.lower_decoder.shape

    @property
    def is_stacked(self) -> bool:
        """Whether M2 was fitted to any image, so that samples and bounds are those of both."""
        return self.images_before >= self.lower_images

    # The bounds

    def terms(self, batch: Batch) -> Terms:
        if self.images_seen < self.lower_images:
            return super(SemiSupervisedVAE, self).terms(batch)  # those of a VAE
        with torch.no_grad():
            lower = self._lower(batch.images, batch.noise)
        terms = super().terms(replace(batch, images=lower.codes))
        return {**terms, "nll": terms["nll"] + (lower.reconstruction + lower.log_q).mean()}

    def examples(self, batch: Batch) -> Pairs:
        images, labels = super().examples(batch)
        with torch.no_grad():
            return self._lower(images, batch.noise.spawn("lower codes")).codes, labels

    def bound(self, x: Tensor, labels: Tensor | None, noise: Noise) -> Bound:
        lower = self._lower(x, noise)
        if not self.is_stacked:
            return Bound(lower.reconstruction, lower.divergence[:, None])
        return lower.under(super().bound(lower.codes, labels, noise))

    def draws(self, x: Tensor, k: int, labels: Tensor | None, noise: Noise) -> Bound:
        each = [self._draw(x, labels, noise) for _ in range(k)]
        return Bound(*(torch.stack(part, 1) for part in zip(*each, strict=True)))

    def _draw(self, x: Tensor, labels: Tensor | None, noise: Noise) -> Bound:
        lower = self._lower(x, noise)
        if not self.is_stacked:
            prior = losses.standard_normal_nll(lower.codes.flatten(1))
            return Bound(lower.reconstruction, (lower.log_q + prior)[:, None])
        costs, divergence = super().draws(lower.codes, 1, labels, noise)
        return lower.under(Bound(costs[:, 0], divergence[:, 0]))

    def _lower(self, x: Tensor, noise: Noise) -> DrawnCodes:
        networks = self._network("lower_encoder"), self._network("lower_decoder")
        fitted = self.images_seen >= self.lower_images
        return drawn_codes(*networks, self.likelihood, x, noise, fitted)

    def _reconstruction(self, x: Tensor, z: Tensor, labels: Tensor | None, noise: Noise) -> Tensor:
        """-ln p(z1|y, z2), (B, k), of the codes of M1 in the place of images."""
        return reconstructions(self._network("decoder"), CODES, x, z, labels)

    # Capabilities

    draw_codes = None  # type: ignore[assignment]  # those of M1 would have to be drawn first

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().encode(self._means(x), labels)

    def classify(self, x: Tensor) -> Tensor:
        return self.log_q(self._means(x))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean image of the mean of M1's codes, of each code of M2."""
        return self.likelihood.mean(self._image(CODES.mean(self._decoded(z, labels))))

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """The mean images of `n` codes of M1 that M2 draws; with `sample_pixels`, draws from them."""
        noise = self.noise_for(n, noise)
        labels = self.labels_for(n, labels, noise)
        if self.is_stacked:
            z = CODES.sample(
                self._decoded(self.latent(n, noise), labels), noise.spawn("lower codes")
            )
        else:
            z = noise.normal(*self.decoder.shape).type(self.precision)
        return self.pictures(self._image(z), noise)

    def _means(self, x: Tensor) -> Tensor:
        """The means of M1's codes of images, in the shape of what M2 takes for images."""
        with evaluating(self.averaged("lower_encoder")) as encoder:
            return encoder(x).mean[..., None, None]

    def _image(self, codes: Tensor) -> Tensor:
        with evaluating(self.averaged("lower_decoder")) as decoder:
            return decoder(codes.flatten(1))
