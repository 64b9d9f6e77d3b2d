r"""Games of two players, each as one function from logits to what the two of them minimise.

An objective takes the discriminator's logits of real images and of generated ones, of any shape,
and returns both losses, scalars. A logit is the evidence that an image is real,
:math:`D(x) = \sigma(a)` where a probability is meant. `models.gans.ObjectiveGAN` plays them all.

All are finite, and so are their gradients, for logits of ±10⁴ in single precision.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import adversarial
from .precision import wide

STEEPEST = 20.0  # exponentials are exact up to here, which is a ratio of densities of 5e8


class Losses(NamedTuple):
    """What the players minimise, scalars.

    Arguments:
        discriminator: Its gradient is taken for the discriminator alone.
        generator: Its gradient is taken for the generator alone, through the logits of its images.
    """

    discriminator: Tensor
    generator: Tensor


def minimax(real: Tensor, fake: Tensor) -> Losses:
    r"""The original, zero-sum game.

    .. math::
        L_D = -E[\log D(x)] - E[\log(1 - D(G(z)))], \quad L_G = E[\log(1 - D(G(z)))]

    References:
        | Generative Adversarial Nets (Goodfellow et al., 2014)
        | https://arxiv.org/abs/1406.2661
    """
    return Losses(
        adversarial.cross_entropy_discriminator(real, fake), adversarial.minimax_generator(fake)
    )


def non_saturating(real: Tensor, fake: Tensor, real_target: float = 1.0) -> Losses:
    r"""As `minimax`, but the generator minimises :math:`-E[\log D(G(z))]`.

    Arguments:
        real: Logits of real images.
        fake: Logits of generated images.
        real_target: What the discriminator should say of real images; below 1 is one-sided label
            smoothing, which the generator's loss has not.

    References:
        | Generative Adversarial Nets (Goodfellow et al., 2014), Section 3
        | https://arxiv.org/abs/1406.2661
    """
    return Losses(
        adversarial.cross_entropy_discriminator(real, fake, real_target),
        adversarial.non_saturating_generator(fake),
    )


def least_squares(
    real: Tensor, fake: Tensor, targets: tuple[float, float, float] = (0.0, 1.0, 1.0)
) -> Losses:
    r"""Least-squares GAN with targets (a, b, c).

    .. math::
        L_D = \tfrac12 E[(D(x) - b)^2] + \tfrac12 E[(D(G(z)) - a)^2], \quad
        L_G = \tfrac12 E[(D(G(z)) - c)^2]

    References:
        | Least Squares Generative Adversarial Networks (Mao et al., 2017)
        | https://arxiv.org/abs/1611.04076
    """
    a, b, c = targets
    return Losses(
        adversarial.least_squares_discriminator(real, fake, a, b),
        adversarial.least_squares_generator(fake, c),
    )


def wasserstein(real: Tensor, fake: Tensor) -> Losses:
    r""":math:`L_D = E[D(G(z))] - E[D(x)]`, :math:`L_G = -E[D(G(z))]`, for a critic of bounded slope.

    References:
        | Wasserstein GAN (Arjovsky et al., 2017)
        | https://arxiv.org/abs/1701.07875
    """
    return Losses(
        adversarial.wasserstein_discriminator(real, fake), adversarial.wasserstein_generator(fake)
    )


def hinge(real: Tensor, fake: Tensor) -> Losses:
    r"""The geometric GAN, of support vectors.

    .. math:: L_D = E[(1 - D(x))_+] + E[(1 + D(G(z)))_+], \quad L_G = -E[D(G(z))]

    References:
        | Geometric GAN (Lim & Ye, 2017)
        | https://arxiv.org/abs/1705.02894
    """
    real, fake = wide(real), wide(fake)
    return Losses(F.relu(1 - real).mean() + F.relu(1 + fake).mean(), -fake.mean())


def relativistic_average(real: Tensor, fake: Tensor) -> Losses:
    r"""Is an image more real than the other kind on average? Both players are asked of both kinds.

    With :math:`d(x) = a(x) - E[a(G(z))]` and :math:`d(G(z)) = a(G(z)) - E[a(x)]`

    .. math::
        L_D = -E[\log \sigma(d(x))] - E[\log(1 - \sigma(d(G(z))))], \quad
        L_G = -E[\log \sigma(d(G(z)))] - E[\log(1 - \sigma(d(x)))]

    References:
        | The Relativistic Discriminator (Jolicoeur-Martineau, 2018), Section 4.2
        | https://arxiv.org/abs/1807.00734
    """
    real, fake = wide(real), wide(fake)
    above, below = real - fake.mean(), fake - real.mean()
    return Losses(
        F.softplus(-above).mean() + F.softplus(below).mean(),
        F.softplus(-below).mean() + F.softplus(above).mean(),
    )


def boundary_seeking(real: Tensor, fake: Tensor) -> Losses:
    r"""The generator seeks the decision boundary, where the discriminator has no opinion.

    .. math:: L_G = \tfrac12 E[(\log D(G(z)) - \log(1 - D(G(z))))^2]

    The logits are these log-odds. The discriminator is that of `minimax`.

    References:
        | Boundary-Seeking Generative Adversarial Networks (Hjelm et al., 2017), Section 3
        | https://arxiv.org/abs/1702.08431
    """
    return Losses(
        adversarial.cross_entropy_discriminator(real, fake), 0.5 * wide(fake).square().mean()
    )


def softmax_gan(real: Tensor, fake: Tensor) -> Losses:
    r"""A softmax over all images of a batch, real and generated.

    The discriminator wants all probability on the real images, evenly, the generator wants it even
    over all images. With :math:`Z = \sum_{x \in B} e^{a(x)}`

    .. math::
        L_D = \log Z - \frac{1}{|B_+|} \sum_{x \in B_+} a(x), \quad
        L_G = \log Z - \frac{1}{|B|} \sum_{x \in B} a(x)

    where the paper has :math:`\mu = -a`. It depends on the batch as a whole.

    References:
        | Softmax GAN (Lin, 2017)
        | https://arxiv.org/abs/1704.06191
    """
    real, fake = wide(real).flatten(), wide(fake).flatten()
    every = torch.cat([real, fake])
    log_partition = every.logsumexp(0)
    return Losses(log_partition - real.mean(), log_partition - every.mean())


def b_gan(real: Tensor, fake: Tensor) -> Losses:
    r"""Estimates the ratio :math:`r = p / q = e^a` of the densities, then minimises a divergence.

    With the divergence of Pearson, :math:`f(r) = \frac12 (r - 1)^2`, and up to a constant

    .. math::
        L_D = \tfrac12 E[r(G(z))^2] - E[r(x)], \quad L_G = \tfrac12 E[(r(G(z)) - 1)^2]

    From a logit of 20 on, :math:`e^a` goes on along its tangent.

    References:
        | Generative Adversarial Nets from a Density Ratio Estimation Perspective (Uehara et al., 2016)
        | https://arxiv.org/abs/1610.02920
    """
    real, fake = straight_exp(wide(real)), straight_exp(wide(fake))
    return Losses(
        0.5 * fake.square().mean() - real.mean(),
        0.5 * (fake - 1).square().mean(),
    )


def loss_sensitive(real: Tensor, fake: Tensor, margin: Tensor, real_weight: float = 0.0) -> Losses:
    r"""Real images should lose less than generated ones, by a margin that grows with their distance.

    With a loss :math:`L = -\log \sigma(a) \ge 0` of an image, pair by pair,

    .. math::
        L_D = \gamma E[L(x)] + E[(\Delta(x, G(z)) + L(x) - L(G(z)))_+], \quad L_G = E[L(G(z))]

    which is the paper's with :math:`\gamma = 1 / \lambda`, up to a factor. The authors' code has
    :math:`L = (-a)_+`, without a slope where it is zero, and :math:`\gamma = 0`, as here.

    Arguments:
        real: Logits of real images, (B,).
        fake: Logits of generated images, (B,).
        margin: The distances :math:`\Delta` of the pairs, (B,).
        real_weight: The weight :math:`\gamma`.

    References:
        | Loss-Sensitive Generative Adversarial Networks on Lipschitz Densities (Qi, 2017)
        | https://arxiv.org/abs/1701.06264
    """
    real, fake = F.softplus(-wide(real)), F.softplus(-wide(fake))
    slack = F.relu(wide(margin) + real - fake).mean()
    return Losses(real_weight * real.mean() + slack, fake.mean())


def straight_exp(x: Tensor) -> Tensor:
    """:math:`e^x` up to 20 and its tangent from there on: convex, smooth, finite for 10⁴."""
    return x.clamp(max=STEEPEST).exp() * (1 + F.relu(x - STEEPEST))
