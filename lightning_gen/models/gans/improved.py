r"""Two techniques of Improved GAN: features that are matched, and weights held by their history.

.. math:: L_G = \|E[f(x)] - E[f(G(z))]\|^2, \qquad
          L \leftarrow L + w \, \|\theta - \tfrac1t \textstyle\sum_i \theta_i\|^2

The others are options of networks (`minibatch_discrimination`, `norm: virtual`) and of `GAN`
(`real_target`); its semi-supervised game is `SemiSupervisedGAN`.

References:
    | Improved Techniques for Training GANs (Salimans et al., 2016), Sections 3.1 and 3.3
    | https://arxiv.org/abs/1606.03498
"""

from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from ... import losses
from ...nn.history import History
from ..adversarial import Batch, Player, Terms
from .base import LatentGAN, with_beliefs


class ImprovedGAN(LatentGAN):
    """Generative adversarial network with feature matching and historical averaging.

    Arguments:
        feature_matching: Let the generator match the discriminator's mean features of real images,
            instead of fooling it.
        historical_weight: The weight w of the squared distance of each player's weights from the
            mean of all their past values; 0 for none.
        real_target: What the discriminator should say of real images; 0.9 is one-sided smoothing.
        kwargs: See `LatentGAN`.
    """

    threshold, asks = 0.0, ("features",)

    def __init__(
        self,
        feature_matching: bool = True,
        historical_weight: float = 0.0,
        real_target: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0.5 < real_target <= 1:
            raise ValueError(f"real_target must be in (0.5, 1], got {real_target}")
        if not 0 <= historical_weight < inf:
            raise ValueError(f"historical_weight must not be negative, got {historical_weight}")
        if feature_matching:
            self.need_whole_batches("feature matching")
        self.feature_matching, self.real_target = feature_matching, real_target
        self.historical_weight = historical_weight
        self.histories = nn.ModuleDict()
        if historical_weight:
            for name in ("discriminator", "generator"):
                self.histories[name] = History(getattr(self, name))

    def players(self) -> list[Player]:
        players = super().players()
        if not self.historical_weight:
            return players
        return [player._replace(after=self._history(player.name).update) for player in players]

    def discriminator_loss(self, batch: Batch) -> Terms:
        real, fake = self.judge(batch.images, batch), self.judge(self.generate(batch), batch)
        loss = losses.cross_entropy_discriminator(real, fake, self.real_target)
        return with_beliefs(self._held(loss, "discriminator"), real, fake)

    def generator_loss(self, batch: Batch) -> Terms:
        fakes = self.generate(batch)
        if not self.feature_matching:
            loss = losses.non_saturating_generator(self.judge(fakes, batch))
            return {"loss": self._held(loss, "generator")}
        with torch.no_grad():
            real = self._features(batch.images, batch)
        fake = self._features(fakes, batch)
        loss = losses.feature_matching(*map(self.of_all_processes, (real, fake)))
        return {"loss": self._held(loss, "generator")}

    def _features(self, images: Tensor, batch: Batch) -> Tensor:
        labels = batch.labels if self.discriminator.num_classes else None
        return self.discriminator.features(images, labels)

    def _history(self, name: str) -> History:
        return self.histories[name]  # type: ignore[return-value]

    def _held(self, loss: Tensor, name: str) -> Tensor:
        """A player's loss with its penalty."""
        if not self.historical_weight:
            return loss
        return loss + self.historical_weight * self._history(name).distance()
