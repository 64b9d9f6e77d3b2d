r"""Boundary equilibrium GAN: the errors of an autoencoder on real and generated images in balance.

.. math:: L_D = \ell(x) - k \, \ell(G(z)), \quad L_G = \ell(G(z)), \quad
          k \leftarrow \min(\max(k + \lambda (\gamma \, \ell(x) - \ell(G(z))), 0), 1)

with the error :math:`\ell(v) = |v - D(v)|^\eta`, a mean over sub-pixels. The sum
:math:`\ell(x) + |\gamma \ell(x) - \ell(G(z))|` falls as training goes on.

References:
    | BEGAN: Boundary Equilibrium Generative Adversarial Networks (Berthelot, Schumm & Metz, 2017)
    | https://arxiv.org/abs/1703.10717
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ... import losses
from ...losses.precision import wide
from ...nn.roles import AutoencodingDiscriminator
from ...optimizers import FusedAdam
from ..adversarial import Batch, Player, Terms
from ..base import OptimizerCallable
from .base import LatentGAN


def began_adam(params: Any) -> FusedAdam:
    """Adam at the paper's rate."""
    return FusedAdam(params, lr=1e-4, betas=(0.5, 0.999))


class BEGAN(LatentGAN):
    """Boundary equilibrium GAN. Errors are means over sub-pixels, of which the paper's rate speaks.

    Arguments:
        discriminator: An autoencoder of images.
        diversity: The ratio :math:`\\gamma` of the errors in equilibrium; 0.5 to 0.7 in the paper.
            Lower is sharper and less diverse.
        control_rate: The rate :math:`\\lambda` of k. It is multiplied by errors, so smaller errors
            or fewer steps need a higher one.
        exponent: The power :math:`\\eta` of the errors, 1 or 2. Where most pixels are background,
            the best guess of absolute errors is background until an image is known well.
        generator_optimizer: Default: Adam at the paper's rate.
        discriminator_optimizer: The same.
        kwargs: See `LatentGAN`.
    """

    discriminator: AutoencodingDiscriminator

    def __init__(
        self,
        discriminator: AutoencodingDiscriminator,
        diversity: float = 0.5,
        control_rate: float = 0.001,
        exponent: Literal[1, 2] = 1,
        generator_optimizer: OptimizerCallable = began_adam,
        discriminator_optimizer: OptimizerCallable = began_adam,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            discriminator=discriminator,
            generator_optimizer=generator_optimizer,
            discriminator_optimizer=discriminator_optimizer,
            **kwargs,
        )
        if not 0 < diversity <= 1:
            raise ValueError(f"diversity must be in (0, 1], got {diversity}")
        if not 0 < control_rate <= 1:
            raise ValueError(f"control_rate must be in (0, 1], got {control_rate}")
        if exponent not in (1, 2):
            raise ValueError(f"exponent must be 1 or 2, got {exponent}")
        self.exponent = exponent
        self.equilibrium = Equilibrium(diversity, control_rate)

    def players(self) -> list[Player]:
        critic, generator = super().players()
        return [critic, generator._replace(after=self.equilibrium.update)]

    def discriminator_loss(self, batch: Batch) -> Terms:
        real, fake = self._error(batch.images), self._error(self.generate(batch))
        self.equilibrium.see(real=real)
        return {
            "loss": losses.equilibrium(real, fake, self.equilibrium.k).discriminator,
            "real": real.mean,
            "fake": fake.mean,
            "k": self.equilibrium.k.clone,
            "convergence": self.equilibrium.convergence.clone,
        }

    def generator_loss(self, batch: Batch) -> Terms:
        fake = self._error(self.generate(batch))
        self.equilibrium.see(fake=fake)
        return {"loss": fake.mean()}

    def _error(self, images: Tensor) -> Tensor:
        """Mean absolute or squared errors of images, (B,)."""
        rebuilt = self.discriminator.decode(self.discriminator.encode(images))
        errors = wide(rebuilt) - images
        return (errors.abs() if self.exponent == 1 else errors.square()).flatten(1).mean(1)


class Equilibrium(nn.Module):
    """The weight k of generated images, and the errors by which it moves.

    The errors are kept as sums and counts, which processes and parts of a batch can share.

    Arguments:
        diversity: The ratio of the errors that is aimed at.
        rate: How fast k moves.
    """

    k: Tensor
    convergence: Tensor
    sums: Tensor
    counts: Tensor

    def __init__(self, diversity: float, rate: float) -> None:
        super().__init__()
        self.diversity, self.rate = diversity, rate
        self.register_buffer("k", torch.tensor(0.0))
        self.register_buffer("convergence", torch.tensor(0.0))
        self.register_buffer("sums", torch.zeros(2))  # of real and of generated images' errors
        self.register_buffer("counts", torch.zeros(2))

    @torch.no_grad()
    def see(self, real: Tensor | None = None, fake: Tensor | None = None) -> None:
        """Takes note of errors (B,)."""
        for place, errors in enumerate((real, fake)):
            if errors is not None:
                self.sums[place] += errors.sum()
                self.counts[place] += len(errors)

    @torch.no_grad()
    def update(self) -> None:
        """Moves k by what was seen since the last time."""
        real, fake = (self.sums / self.counts).unbind()
        k = losses.next_balance(self.k, real, fake, self.diversity, self.rate)
        self.k.copy_(torch.where(k.isfinite(), k, self.k))  # as a step that overflows is left out
        self.convergence.copy_(losses.convergence(real, fake, self.diversity))
        torch._foreach_zero_([self.sums, self.counts])
