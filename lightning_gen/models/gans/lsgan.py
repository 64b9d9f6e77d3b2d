r"""Least-squares GAN: the discriminator's output is pulled towards targets, not through a sigmoid.

.. math:: \min_D \tfrac12 E[(D(x) - b)^2] + \tfrac12 E[(D(G(z)) - a)^2], \quad
          \min_G \tfrac12 E[(D(G(z)) - c)^2]

With b - c = 1 and b - a = 2, as in (-1, 1, 0), twice the generator's loss at the best
discriminator is the Pearson chi-square divergence of p + q from 2q.

References:
    | Least Squares Generative Adversarial Networks (Mao et al., 2017)
    | https://arxiv.org/abs/1611.04076
"""

from math import inf
from typing import Any

from ... import losses
from ..adversarial import Batch, Terms
from .base import LatentGAN


class LSGAN(LatentGAN):
    """Least-squares GAN.

    Arguments:
        targets: (a, b, c): what the discriminator should say of generated and of real images, and
            what the generator wants it to say.
        kwargs: See `LatentGAN`.
    """

    def __init__(
        self, targets: tuple[float, float, float] = (0.0, 1.0, 1.0), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        a, b, c = targets
        if not (-inf < a < min(b, c) and max(b, c) < inf):
            raise ValueError(f"targets (a, b, c) need finite b > a and c > a, got {tuple(targets)}")
        self.targets, self.threshold = (a, b, c), (a + b) / 2

    def discriminator_loss(self, batch: Batch) -> Terms:
        a, b, _ = self.targets
        real, fake = self.judge(batch.images, batch), self.judge(self.generate(batch), batch)
        return {
            "loss": losses.least_squares_discriminator(real, fake, a, b),
            "real": real.mean,
            "fake": fake.mean,
        }

    def generator_loss(self, batch: Batch) -> Terms:
        fake = self.judge(self.generate(batch), batch)
        return {"loss": losses.least_squares_generator(fake, self.targets[2])}
