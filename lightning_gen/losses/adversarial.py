"""The two sides of the best-known games as functions of the discriminator's logits, of any shape.

Each is a mean over images, and over patches where the discriminator judges patches. Under autocast
logits have 8 bits of mantissa, too few to add up: all is computed in float32 at least.
"""

import torch.nn.functional as F
from torch import Tensor

from .precision import wide


def cross_entropy_discriminator(real: Tensor, fake: Tensor, target: float = 1.0) -> Tensor:
    r"""The discriminator of the original game, :math:`-E[\log D(x)] - E[\log(1 - D(G(z)))]`.

    Arguments:
        real: Logits of real images.
        fake: Logits of generated images.
        target: What it should say of real images; below 1 is one-sided label smoothing.
    """
    real, fake = wide(real), wide(fake)
    positive = F.softplus(-real).mean()
    if target != 1:
        positive = target * positive + (1 - target) * F.softplus(real).mean()
    return positive + F.softplus(fake).mean()


def minimax_generator(fake: Tensor) -> Tensor:
    r"""The generator of the zero-sum game, :math:`E[\log(1 - D(G(z)))]`; vanishes where D is sure."""
    return -F.softplus(wide(fake)).mean()


def non_saturating_generator(fake: Tensor) -> Tensor:
    r"""The generator that is trained in practice, :math:`-E[\log D(G(z))]`."""
    return F.softplus(-wide(fake)).mean()


def least_squares_discriminator(
    real: Tensor, fake: Tensor, fake_target: float = 0.0, real_target: float = 1.0
) -> Tensor:
    r""":math:`\frac12 E[(D(x) - b)^2] + \frac12 E[(D(G(z)) - a)^2]` with targets b and a."""
    real, fake = wide(real), wide(fake)
    return 0.5 * ((real - real_target).square().mean() + (fake - fake_target).square().mean())


def least_squares_generator(fake: Tensor, target: float = 1.0) -> Tensor:
    r""":math:`\frac12 E[(D(G(z)) - c)^2]` with target c."""
    return 0.5 * (wide(fake) - target).square().mean()


def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    r"""The critic, :math:`E[D(G(z))] - E[D(x)]`, whose negative estimates the distance."""
    return wide(fake).mean() - wide(real).mean()


def wasserstein_generator(fake: Tensor) -> Tensor:
    r""":math:`-E[D(G(z))]`."""
    return -wide(fake).mean()
