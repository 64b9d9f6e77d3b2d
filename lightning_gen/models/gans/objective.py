r"""The game of any objective that is a function of logits: most of the zoo of GANs.

For an objective of real and generated images' logits :math:`(a(x), a(G(z))) \mapsto (L_D, L_G)`, the
discriminator minimises

.. math:: L_D + \frac{\gamma}{2} E_x[\|\nabla_x a(x)\|_2^2]

and the generator :math:`L_G`. The second term is :math:`R_1`, which makes the game converge near its
equilibrium where the generator lives on fewer dimensions than images have.

References:
    | Which Training Methods for GANs do actually Converge? (Mescheder et al., 2018)
    | https://arxiv.org/abs/1801.04406
    | Analyzing and Improving the Image Quality of StyleGAN (Karras et al., 2020), Section 3.1
    | https://arxiv.org/abs/1912.04958
"""

from collections.abc import Callable
from math import inf
from typing import Any

import torch
from torch import Tensor

from ... import losses
from ..adversarial import Batch, Terms
from ..base import evaluating
from .base import LatentGAN, mixes_images

# A function that returns `losses.Losses`; were that said, `--help` would offer it as a class.
Objective = Callable[[Tensor, Tensor], Any]


class ObjectiveGAN(LatentGAN):
    """A GAN with the objective that is given, and a penalty on the slope at real images if wanted.

    Arguments:
        objective: From the logits of real and of generated images to the loss of each player: a
            function such as `lightning_gen.losses.hinge`, or an object that is called like one,
            such as `lightning_gen.losses.FDivergence`.
        r1_weight: The weight :math:`\\gamma` of the penalty. 10 is usual; by default there is none.
        r1_every: Take the penalty on every so many-th move of the discriminator only, times as
            many. StyleGAN2 has 16.
        kwargs: See `LatentGAN`.
    """

    def __init__(
        self,
        objective: Objective = losses.non_saturating,
        r1_weight: float = 0.0,
        r1_every: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= r1_weight < inf:
            raise ValueError(f"r1_weight must not be negative, got {r1_weight}")
        if r1_every < 1:
            raise ValueError(f"r1_every must be at least 1, got {r1_every}")
        if r1_weight and mixes_images(self.discriminator):
            raise ValueError(
                "the discriminator of r1_weight must not have batch normalisation or minibatch "
                "discrimination, which make an image's slope depend on the others; use norm: layer "
                "or norm: none"
            )
        if r1_weight and self.compile_networks:
            raise ValueError(
                "r1_weight needs second derivatives, which compiled networks do not have; leave "
                "compile_networks false"
            )
        self.objective, self.r1_weight, self.r1_every = objective, r1_weight, r1_every
        self._reads_real, self._compares = losses.examine(objective)
        if self._compares and self.micro_batches > 1:
            raise ValueError(
                "the objective compares the images of a batch, so it has another gradient in "
                "parts; leave micro_batches at 1"
            )

    def discriminator_loss(self, batch: Batch) -> Terms:
        real = self.judge(batch.images, batch)
        fake = self.judge(self.generate(batch), batch)
        loss = self._losses(real, fake).discriminator
        terms: Terms = {"loss": loss, "real": real.mean, "fake": fake.mean}
        if self.r1_weight:
            if self.moves.get("discriminator", 0) % self.r1_every == 0:
                weight = 0.5 * self.r1_weight * self.r1_every
                terms["loss"] = loss + weight * self._penalty(batch)
            terms |= {"objective": loss, "penalty": lambda: self._watched_penalty(batch)}
        return terms

    def generator_loss(self, batch: Batch) -> Terms:
        fake = self.judge(self.generate(batch), batch)
        real = fake.detach()  # in place of logits that this objective does not look at
        if self._reads_real:
            with torch.no_grad():
                real = self.judge(batch.images, batch)
        return {"loss": self._losses(real, fake).generator}

    def _losses(self, real: Tensor, fake: Tensor) -> losses.Losses:
        if self._compares:
            real, fake = self.of_all_processes(real), self.of_all_processes(fake)
        return losses.Losses(*self.objective(real, fake))

    def _penalty(self, batch: Batch) -> Tensor:
        return losses.zero_centred_penalty(lambda x: self.judge(x, batch), batch.images)

    def _watched_penalty(self, batch: Batch) -> Tensor:
        """The penalty as it is logged: without dropout or anything else that moves on."""
        with evaluating(self.discriminator):
            return self._penalty(batch)
