r"""Wasserstein GAN with gradient penalty.

The critic :math:`D` is kept close to 1-Lipschitz by a penalty on its slope between real and
generated images, instead of the weight clipping of the first Wasserstein GAN:

.. math:: E[D(G(z))] - E[D(x)] + \lambda \, E[(\|\nabla_{\hat x} D(\hat x)\|_2 - 1)^2]

References:
    | Improved Training of Wasserstein GANs (Gulrajani et al., 2017)
    | https://arxiv.org/abs/1704.00028
"""

from math import inf
from typing import Any

from ... import losses
from ...optimizers import FusedAdam
from ..adversarial import Batch, Terms
from ..base import OptimizerCallable
from .base import LatentGAN, mixes_images


def wgan_gp_adam(params: Any) -> FusedAdam:
    """Adam as Algorithm 1 has it."""
    return FusedAdam(params, lr=1e-4, betas=(0.0, 0.9))


class WGANGP(LatentGAN):
    """Wasserstein GAN with gradient penalty. The defaults are those of Algorithm 1.

    The penalty is taken image by image, so the critic must not normalise over the batch.

    Arguments:
        penalty_weight: The weight :math:`\\lambda` of the penalty.
        one_sided: Penalise only slopes above 1.
        n_critic: How many critic steps make one generator step.
        generator_optimizer: Default: Adam as Algorithm 1 has it.
        discriminator_optimizer: Default: Adam as Algorithm 1 has it.
        kwargs: See `LatentGAN`.
    """

    def __init__(
        self,
        penalty_weight: float = 10.0,
        one_sided: bool = False,
        n_critic: int = 5,
        generator_optimizer: OptimizerCallable = wgan_gp_adam,
        discriminator_optimizer: OptimizerCallable = wgan_gp_adam,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            n_critic=n_critic,
            generator_optimizer=generator_optimizer,
            discriminator_optimizer=discriminator_optimizer,
            **kwargs,
        )
        if mixes_images(self.discriminator):
            raise ValueError(
                "the critic of a gradient penalty must not have batch normalisation or minibatch "
                "discrimination, which make an image's slope depend on the others; use norm: layer "
                "or norm: none"
            )
        if self.compile_networks:
            raise ValueError(
                "a gradient penalty needs second derivatives, which compiled networks do not have; "
                "leave compile_networks false"
            )
        if not 0 <= penalty_weight < inf:
            raise ValueError(f"penalty_weight must not be negative, got {penalty_weight}")
        self.penalty_weight, self.one_sided = penalty_weight, one_sided

    def discriminator_loss(self, batch: Batch) -> Terms:
        real, fake = batch.images, self.generate(batch)
        wasserstein = losses.wasserstein_discriminator(
            self.judge(real, batch), self.judge(fake, batch)
        )
        penalty = losses.gradient_penalty(
            lambda x: self.judge(x, batch), real, fake, batch.noise.uniform(), self.one_sided
        )
        return {
            "loss": wasserstein + self.penalty_weight * penalty,
            "distance": wasserstein.neg,
            "penalty": penalty,
        }

    def generator_loss(self, batch: Batch) -> Terms:
        return {"loss": losses.wasserstein_generator(self.judge(self.generate(batch), batch))}
