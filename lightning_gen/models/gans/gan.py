r"""The original game between a generator and a discriminator.

.. math:: \min_G \max_D \; E_x[\log D(x)] + E_z[\log(1 - D(G(z)))]

DCGAN is this game with the networks of `networks.dcgan`.

References:
    | Generative Adversarial Nets (Goodfellow et al., 2014)
    | https://arxiv.org/abs/1406.2661
"""

from typing import Any

from ... import losses
from ..adversarial import Batch, Terms
from .base import LatentGAN, with_beliefs


class GAN(LatentGAN):
    """Generative adversarial network, by default with the non-saturating loss of Section 3.

    Arguments:
        saturating: Let the generator minimise the zero-sum value itself, whose gradient vanishes
            while the discriminator is sure.
        real_target: What the discriminator should say of real images; 0.9 is one-sided label
            smoothing. The generator's loss is not smoothed.
        kwargs: See `LatentGAN`.
    """

    threshold = 0.0

    def __init__(self, saturating: bool = False, real_target: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0.5 < real_target <= 1:
            raise ValueError(f"real_target must be in (0.5, 1], got {real_target}")
        self.saturating, self.real_target = saturating, real_target

    def discriminator_loss(self, batch: Batch) -> Terms:
        real, fake = self.judge(batch.images, batch), self.judge(self.generate(batch), batch)
        loss = losses.cross_entropy_discriminator(real, fake, self.real_target)
        return with_beliefs(loss, real, fake)

    def generator_loss(self, batch: Batch) -> Terms:
        fake = self.judge(self.generate(batch), batch)
        if self.saturating:
            return {"loss": losses.minimax_generator(fake)}
        return {"loss": losses.non_saturating_generator(fake)}
