r"""Loss-sensitive GAN: how much better a real image must be depends on how far the other is from it.

With the loss of an image :math:`L = -\log \sigma(D) \ge 0` and the distance
:math:`\Delta = s \|x - G(z)\|_1`

.. math::
    L_D = \gamma E[L(x)] + E[(\Delta(x, G(z)) + L(x) - L(G(z)))_+], \quad L_G = E[L(G(z))]

so the discriminator does no more against images that are already close.

References:
    | Loss-Sensitive Generative Adversarial Networks on Lipschitz Densities (Qi, 2017)
    | https://arxiv.org/abs/1701.06264
"""

from math import inf
from typing import Any

from ... import losses
from ..adversarial import Batch, Terms
from .base import LatentGAN


class LossSensitiveGAN(LatentGAN):
    """Loss-sensitive GAN. Not LSGAN, which is least squares.

    Arguments:
        margin_scale: The scale :math:`s` of distances, which are summed over sub-pixels in [-1, 1].
            By default that of the authors' code for images of 3 x 64 x 64.
        real_weight: The weight :math:`\\gamma` of the loss of real images, :math:`1 / \\lambda` in
            the paper; 0 in the authors' code.
        kwargs: See `LatentGAN`.
    """

    def __init__(self, margin_scale: float = 2e-4, real_weight: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < margin_scale < inf:
            raise ValueError(f"margin_scale must be positive, got {margin_scale}")
        if not 0 <= real_weight < inf:
            raise ValueError(f"real_weight must not be negative, got {real_weight}")
        self.margin_scale, self.real_weight = margin_scale, real_weight

    def discriminator_loss(self, batch: Batch) -> Terms:
        images = self.generate(batch)
        distance = (batch.images - images.to(batch.images)).abs().flatten(1).sum(1)
        real, fake = self.judge(batch.images, batch), self.judge(images, batch)
        margin = self.margin_scale * distance
        loss = losses.loss_sensitive(real, fake, margin, self.real_weight).discriminator
        return {"loss": loss, "real": real.mean, "fake": fake.mean, "margin": margin.mean}

    def generator_loss(self, batch: Batch) -> Terms:
        # Which is the mean of L, the loss of an image.
        return {"loss": losses.non_saturating_generator(self.judge(self.generate(batch), batch))}
