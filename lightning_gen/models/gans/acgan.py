r"""Auxiliary classifier GAN: the discriminator also says of which class an image is.

.. math:: L_C = -E[\log C(y | x)] - E[\log C(y | G(z, y))]

Both players minimise it, beside the original game.

References:
    | Conditional Image Synthesis with Auxiliary Classifier GANs (Odena, Olah & Shlens, 2017)
    | https://arxiv.org/abs/1610.09585
"""

from math import inf
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ... import losses
from ...nn.heads import Head
from ..adversarial import Batch, Player, Terms
from .base import LatentGAN, with_beliefs


class ACGAN(LatentGAN):
    """Auxiliary classifier GAN. Its generator has classes, its discriminator is given none.

    Arguments:
        discriminator_weight: The weight of the classifier in the discriminator's loss.
        generator_weight: The same in the generator's; WGAN-GP's code has 0.1.
        kwargs: See `LatentGAN`.
    """

    threshold, asks, guesses_classes = 0.0, ("features", "head"), True
    takes_attributes = False  # its classifier names one class

    def __init__(
        self, discriminator_weight: float = 1.0, generator_weight: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if self.num_classes is None or self.discriminator.num_classes is not None:
            raise ValueError(
                "an auxiliary classifier needs num_classes in the generator, and none in the "
                "discriminator, which has to guess the class"
            )
        if not (0 <= discriminator_weight < inf and 0 <= generator_weight < inf):
            raise ValueError("the weights of the classifier must be finite and not negative")
        self.discriminator_weight = discriminator_weight
        self.generator_weight = generator_weight
        self.classifier = Head(self.discriminator.feature_size, 0, self.num_classes)

    def players(self) -> list[Player]:
        critic, generator = super().players()
        return [critic._replace(networks=[self.discriminator, self.classifier]), generator]

    def discriminator_loss(self, batch: Batch) -> Terms:
        real, real_classes = self._look(batch.images, batch.labels)
        fake, fake_classes = self._look(self.generate(batch), batch.labels)
        loss = losses.cross_entropy_discriminator(real, fake)
        loss = loss + self.discriminator_weight * (real_classes + fake_classes)
        classes: Terms = {"real_classes": real_classes, "fake_classes": fake_classes}
        return {**with_beliefs(loss, real, fake), **classes}

    def generator_loss(self, batch: Batch) -> Terms:
        fake, classes = self._look(self.generate(batch), batch.labels)
        loss = losses.non_saturating_generator(fake) + self.generator_weight * classes
        return {"loss": loss, "classes": classes}

    def _look(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits for images, and the cross-entropy of their classes, in nats."""
        assert labels is not None, "the base refuses data without classes"
        features = self.discriminator.features(images)
        return self.discriminator.head(features), F.cross_entropy(self.classifier(features), labels)
