r"""Disentangling conditional VAE, disCVAE: a foreground in front of a background, with codes for each.

A decoder makes the foreground :math:`x_F` and a gate g, how much is seen of the background, from
codes :math:`z_F` and attributes y; another makes the background :math:`x_B` from :math:`z_B`:

.. math:: \hat x = (1 - g) x_F + g x_B

Both encoders are fitted with them, by images whose foreground is known as a mask m:

.. math:: \ell(x_F, m x) + \ell(\hat x, x) + \lambda \, CE(1 - m, g)
          + KL(q(z_F|m x, y) \,\|\, p(z_F)) + KL(q(z_B|x, y, z_F) \,\|\, p(z_B))

where :math:`\ell` is the smooth L1 distance. The masked image counts twice, so it is no bound on a
likelihood, and the model has none.

References:
    | Attribute2Image: Conditional Image Generation from Visual Attributes (Yan et al., 2016),
    | Section 3.2, https://arxiv.org/abs/1512.00570
"""

from typing import Any

import torch
from torch import Tensor, nn

from ... import losses
from ...nn.labels import one_hot
from ...nn.precision import wide
from ...nn.roles import Decoder, Encoder, Posterior
from ...randomness import Noise
from ..base import Batch, Terms, evaluating
from ..fitted import FittedModel
from .latent import of
from .layers import Composite, Layers, check_costs, check_fit, distance, masked, split


class LayeredCVAE(FittedModel):
    """disCVAE. Its images have one channel more than their colours: the mask, white on the foreground.

    Sampled images have it, too: how much is seen of their foreground.

    Arguments:
        foreground_encoder: Maps masked images, black outside of the mask, and attributes to codes.
        background_encoder: Maps images to codes, given attributes and foreground codes together as
            its attributes, as many as both.
        foreground_decoder: Maps codes and attributes to images in [-1, 1] and, as a second output,
            logits of the gate.
        background_decoder: Maps codes to images in [-1, 1]. The paper's is given no attributes; one
            that knows them can be told of backgrounds, too.
        gate_weight: Weight of the gate's cross-entropy, lambda.
        kl_weight: Weight of both divergences.
        composite: "convex" as above; "additive" leaves out the factor 1 - g before the foreground,
            as the authors' code does, with black as 0, or no background could be bright.
        kwargs: See `FittedModel`.
    """

    has_masks = True  # which pictures show beside the colours, not as alpha alone

    def __init__(
        self,
        foreground_encoder: Encoder,
        background_encoder: Encoder,
        foreground_decoder: Decoder,
        background_decoder: Decoder,
        gate_weight: float = 0.3,
        kl_weight: float = 1.0,
        composite: Composite = "convex",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_costs(composite, gate_weight, kl_weight)
        self.foreground_encoder, self.foreground_decoder = foreground_encoder, foreground_decoder
        self.background_encoder, self.background_decoder = background_encoder, background_decoder
        check_fit(foreground_encoder, background_encoder, foreground_decoder, background_decoder)
        self.gate_weight, self.kl_weight, self.composite = gate_weight, kl_weight, composite
        self.average("foreground_encoder", "background_encoder")
        self.average("foreground_decoder", "background_decoder")

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.foreground_decoder.shape
        return channels + 1, height, width

    @property
    def num_classes(self) -> int | None:
        """How many attributes the images are conditioned on."""
        return self.foreground_decoder.num_classes

    def terms(self, batch: Batch) -> Terms:
        x, mask = split(batch.images)
        posteriors, codes = self._recognised(x, mask, batch.labels, batch.noise)
        return self.costs(self.layers(codes[0], codes[1], batch.labels), posteriors, x, mask)

    def costs(self, layers: Layers, posteriors: list[Posterior], x: Tensor, mask: Tensor) -> Terms:
        """What layers made of codes from `posteriors` cost, of images x and masks in [0, 1]."""
        kl = [losses.gaussian_kl(q.mean, q.log_var).mean() for q in posteriors]
        terms = {
            "foreground": distance(layers.foreground, masked(x, mask)),
            "reconstruction": distance(layers.image(self.composite), x),
            "gate": layers.gate_cost(mask),
            "kl_foreground": kl[0],
            "kl_background": kl[1],
        }
        images = terms["foreground"] + terms["reconstruction"] + self.gate_weight * terms["gate"]
        return {"loss": images + self.kl_weight * (kl[0] + kl[1]), **terms}

    def layers(self, front: Tensor, back: Tensor, labels: Tensor | None = None) -> Layers:
        """What is made of foreground codes (B, D) and background codes (B, D')."""
        made = self._network("foreground_decoder")(front, labels)
        behind = of(self._network("background_decoder"), back, labels)
        return Layers(made[:, 0], made[:, 1], behind[:, 0])

    # Capabilities

    def latent(self, n: int, noise: Noise | None = None) -> Tensor:
        """Draws `n` codes from the prior, those of the foreground before those of the background."""
        noise = self.noise_for(n, noise)
        return noise.normal(sum(self._sizes)).type(self.precision)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The image and the mask, (B, C + 1, H, W), of codes as `latent` gives them."""
        with evaluating(self):
            front, back = z.split(self._sizes, 1)
            made = self.layers(front, back, labels)
        seen = 2 * made.mask() - 1
        return torch.cat([made.image(self.composite), seen], 1).clamp(-1, 1)

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """The images and masks (n, C + 1, H, W) of `n` codes from the prior."""
        noise = self.noise_for(n, noise)
        return self.decode(self.latent(n, noise), self.labels_for(n, labels, noise))

    @torch.no_grad()
    def layers_of(self, x: Tensor, labels: Tensor | None = None) -> Layers:
        """The layers of the posterior means of images with their masks (B, C + 1, H, W)."""
        with evaluating(self):
            _, (front, back) = self._recognised(*split(x), labels, None)
            return self.layers(front, back, labels)

    # Parts

    @property
    def _sizes(self) -> list[int]:
        return [self.foreground_decoder.latent_size, self.background_decoder.latent_size]

    def _network(self, name: str) -> nn.Module:
        return getattr(self, name) if self.training else self.averaged(name)

    def _recognised(
        self, x: Tensor, mask: Tensor, labels: Tensor | None, noise: Noise | None
    ) -> tuple[list[Posterior], list[Tensor]]:
        """The posteriors of both codes, and the codes: draws, or means where there is no noise."""
        posteriors: list[Posterior] = []
        codes: list[Tensor] = []
        for name, seen in (("foreground", masked(x, mask)), ("background", x)):
            known = one_hot(labels, self.num_classes or 0, x.dtype)
            # With gradients: what is left for the background depends on what the foreground said.
            q = self._network(f"{name}_encoder")(seen, torch.cat([known, *codes], 1))
            q = Posterior(*map(wide, q))
            eps = 0 if noise is None else noise.spawn(name).normal(q.mean.shape[1]).to(q.mean)
            codes.append(q.mean + (q.log_var / 2).exp() * eps)
            posteriors.append(q)
        return posteriors, codes
