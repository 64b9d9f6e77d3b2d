r"""Semi-supervised GAN: a classifier of K classes that also has to tell generated images from real.

With the class logits l, an image is real by :math:`D(x) = Z / (Z + 1), \; Z = \sum_k e^{l_k}`:

.. math:: L_D = -E[\log p(y | x)] - E[\log D(x)] - E[\log(1 - D(G(z)))], \quad
          L_G = \|E[f(x)] - E[f(G(z))]\|^2

References:
    | Improved Techniques for Training GANs (Salimans et al., 2016), Section 5
    | https://arxiv.org/abs/1606.03498
"""

from typing import Any

import torch
from torch import Tensor

from ... import losses
from ...nn.heads import Head
from ..adversarial import Batch, Player, Terms
from ..base import evaluating
from ..labelled import Pairs, labelled_images, some_of
from .base import LatentGAN


class SemiSupervisedGAN(LatentGAN):
    """Semi-supervised GAN with feature matching. Only the labels of `labelled` images are looked at.

    Arguments:
        classes: How many classes the data has.
        labelled: How many training images have labels, in equal shares of the classes.
        feature_matching: Let the generator match the mean features of real images, instead of
            fooling the discriminator.
        kwargs: See `LatentGAN`.
    """

    threshold, asks = 0.0, ("features",)

    def __init__(
        self,
        classes: int = 10,
        labelled: int = 1000,
        feature_matching: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.num_classes is not None:
            raise ValueError(
                "the generator of a semi-supervised game must have no num_classes: "
                "most images have no label"
            )
        if not 2 <= classes <= labelled:
            raise ValueError(
                f"classes must be 2 or more, and labelled as many at least, got {classes} and {labelled}"
            )
        if feature_matching:
            self.need_whole_batches("feature matching")
        self.classes, self.labelled = classes, labelled
        self.feature_matching = feature_matching
        self.classifier = Head(self.discriminator.feature_size, 0, classes)
        self._examples: Pairs | None = None

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":
            self._examples = labelled_images(self.trainer, self.classes, self.labelled)

    def players(self) -> list[Player]:
        critic, generator = super().players()
        return [critic._replace(networks=[self.discriminator, self.classifier]), generator]

    def judge(self, images: Tensor, batch: Batch) -> Tensor:
        """The log-odds (B,) that images are real."""
        return losses.real_evidence(self._logits(images))

    def discriminator_loss(self, batch: Batch) -> Terms:
        images, labels = self.examples(batch)
        known = self._logits(images)
        real, fake = self._logits(batch.images), self._logits(self.generate(batch))
        return {
            "loss": losses.semi_supervised_discriminator(known, labels, real, fake),
            "accuracy": lambda: (known.argmax(1) == labels).float().mean(),
        }

    def generator_loss(self, batch: Batch) -> Terms:
        fake = self.discriminator.features(self.generate(batch))
        if not self.feature_matching:
            evidence = losses.real_evidence(self.classifier(fake))
            return {"loss": losses.non_saturating_generator(evidence)}
        with torch.no_grad():
            real = self.discriminator.features(batch.images)
        return {"loss": losses.feature_matching(*map(self.of_all_processes, (real, fake)))}

    def examples(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """As many labelled images, and their labels, as a batch has, drawn with its noise."""
        images, labels = some_of(self._examples, batch.noise)
        return self.to_floats(images), labels

    @torch.no_grad()
    def classify(self, x: Tensor) -> Tensor:
        """Log-probabilities (B, classes) of images (B, C, H, W)."""
        with evaluating(self.discriminator) as network, evaluating(self.classifier) as classifier:
            return classifier(network.features(x)).log_softmax(1)

    def _logits(self, images: Tensor) -> Tensor:
        return self.classifier(self.discriminator.features(images))
