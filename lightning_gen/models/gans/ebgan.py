r"""Energy-based GAN: the discriminator is an autoencoder, whose error is the energy of an image.

.. math:: L_D = E(x) + \max(0, m - E(G(z))), \quad L_G = E(G(z)) + w \, PT, \quad
          PT = \frac{1}{N (N - 1)} \sum_{i \ne j} \cos^2(s_i, s_j)

The pulling-away term PT keeps the codes s of generated images apart.

References:
    | Energy-based Generative Adversarial Network (Zhao, Mathieu & LeCun, 2017)
    | https://arxiv.org/abs/1609.03126
"""

from math import inf
from typing import Any

from torch import Tensor

from ... import losses
from ...losses.precision import wide
from ...nn.roles import AutoencodingDiscriminator
from ..adversarial import Batch, Terms
from .base import LatentGAN


class EBGAN(LatentGAN):
    """Energy-based GAN. The energy is the squared error of an image, summed over its sub-pixels.

    Arguments:
        discriminator: An autoencoder of images.
        margin: The energy m from which on generated images are left alone, in the same unit.
        pulling_away: The weight w of the pulling-away term; the paper has 0.1.
        kwargs: See `LatentGAN`.
    """

    discriminator: AutoencodingDiscriminator

    def __init__(
        self,
        discriminator: AutoencodingDiscriminator,
        margin: float = 10.0,
        pulling_away: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(discriminator=discriminator, **kwargs)
        if not 0 < margin < inf:
            raise ValueError(f"margin must be positive, got {margin}")
        if not 0 <= pulling_away < inf:
            raise ValueError(f"pulling_away must not be negative, got {pulling_away}")
        if pulling_away:
            self.need_whole_batches("the pulling-away term")
        self.margin, self.pulling_away = margin, pulling_away

    def discriminator_loss(self, batch: Batch) -> Terms:
        real, fake = self._energy(batch.images)[0], self._energy(self.generate(batch))[0]
        return {
            "loss": losses.energy_margin(real, fake, self.margin).discriminator,
            "real": real.mean,
            "fake": fake.mean,
        }

    def generator_loss(self, batch: Batch) -> Terms:
        energy, codes = self._energy(self.generate(batch))
        loss = energy.mean()
        if self.pulling_away:
            loss = loss + self.pulling_away * losses.pulling_away(self.of_all_processes(codes))
        return {"loss": loss}

    def _energy(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The energies (B,) of images and their codes (B, D)."""
        codes = self.discriminator.encode(images)
        error = wide(self.discriminator.decode(codes)) - images
        return error.square().flatten(1).sum(1), codes
