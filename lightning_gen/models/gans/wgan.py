r"""Wasserstein GAN, whose critic is kept Lipschitz by clipping its weights.

.. math:: \max_{|w| \le c} \; E[D_w(x)] - E[D_w(G(z))], \qquad \min_G \; -E[D_w(G(z))]

The critic's value is the earth mover's distance up to an unknown factor that its depth and c set,
so it can be followed within a run but not compared between networks.

References:
    | Wasserstein GAN (Arjovsky, Chintala & Bottou, 2017), Algorithm 1
    | https://arxiv.org/abs/1701.07875
"""

from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from ... import losses
from ..adversarial import Batch, Player, Terms
from ..base import OptimizerCallable
from .base import LatentGAN

_LONG = 100  # critic steps in a round where the authors' code has more
_FIRST = 25  # rounds at the start that have
_PERIOD = 500  # and one in so many afterwards


def wgan_rmsprop(params: Any) -> torch.optim.RMSprop:
    """RMSProp as Algorithm 1 has it."""
    return torch.optim.RMSprop(params, lr=5e-5)


class WGAN(LatentGAN):
    """Wasserstein GAN with weight clipping. The defaults are those of Algorithm 1.

    Arguments:
        clip: The largest size c of a weight of the critic.
        clip_norms: Also clip the gains and biases of its norms, as the authors' code does.
        warm_up: Let the critic move 100 times in each of the first 25 rounds, and in every 500th,
            as the authors' code does, so that it is near its best.
        n_critic: How many critic steps make one generator step.
        generator_optimizer: Default: RMSProp as Algorithm 1 has it; momentum makes it unstable.
        discriminator_optimizer: Default: the same.
        kwargs: See `LatentGAN`.
    """

    def __init__(
        self,
        clip: float = 0.01,
        clip_norms: bool = True,
        warm_up: bool = False,
        n_critic: int = 5,
        generator_optimizer: OptimizerCallable = wgan_rmsprop,
        discriminator_optimizer: OptimizerCallable = wgan_rmsprop,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            n_critic=n_critic,
            generator_optimizer=generator_optimizer,
            discriminator_optimizer=discriminator_optimizer,
            **kwargs,
        )
        if not 0 < clip < inf:
            raise ValueError(f"clip must be positive, got {clip}")
        self.clip, self.warm_up = clip, warm_up
        # In a tuple, so that they do not become parameters of the model itself.
        self._clipped = (list(clipped(self.discriminator, clip_norms)),)

    def players(self) -> list[Player]:
        critic, generator = super().players()
        every = self.turns_of if self.warm_up else self.n_critic
        return [critic._replace(after=self.clip_weights), generator._replace(every=every)]

    def turns_of(self, rounds: int) -> int:
        """How many critic steps the round after `rounds` rounds has where there is a warm-up."""
        long = rounds < _FIRST or rounds % _PERIOD == 0
        return max(_LONG, self.n_critic) if long else self.n_critic

    @torch.no_grad()
    def clip_weights(self) -> None:
        """Brings the critic's weights back into [-clip, clip]."""
        torch._foreach_clamp_min_(self._clipped[0], -self.clip)
        torch._foreach_clamp_max_(self._clipped[0], self.clip)

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.clip_weights()  # the first weights may lie outside

    def discriminator_loss(self, batch: Batch) -> Terms:
        real, fake = self.judge(batch.images, batch), self.judge(self.generate(batch), batch)
        loss = losses.wasserstein_discriminator(real, fake)
        return {"loss": loss, "distance": loss.neg}

    def generator_loss(self, batch: Batch) -> Terms:
        return {"loss": losses.wasserstein_generator(self.judge(self.generate(batch), batch))}


def clipped(critic: nn.Module, norms: bool) -> list[Tensor]:
    """The parameters of a critic that are clipped: all, or all but those of its norms."""
    kinds = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
    spared = {
        p for m in critic.modules() if not norms and isinstance(m, kinds) for p in m.parameters()
    }
    return [p for p in critic.parameters() if p not in spared]
