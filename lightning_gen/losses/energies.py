r"""Games with energies: the discriminator is an autoencoder, and what it judges by is its error.

An energy :math:`E(x) \ge 0` is low where an image is believed to be real: the opposite of a logit.
Energies are per image, (B,); all losses are means over images.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .objectives import Losses
from .precision import wide


def energy_margin(real: Tensor, fake: Tensor, margin: float | Tensor) -> Losses:
    r"""The energy-based GAN.

    .. math:: L_D = E(x) + (m - E(G(z)))_+, \quad L_G = E(G(z))

    Arguments:
        real: Energies of real images, (B,).
        fake: Energies of generated images, (B,).
        margin: Above this energy :math:`m` generated images are left alone.

    References:
        | Energy-based Generative Adversarial Network (Zhao et al., 2016), Equations 1 and 2
        | https://arxiv.org/abs/1609.03126
    """
    real, fake = wide(real), wide(fake)
    return Losses(real.mean() + F.relu(margin - fake).mean(), fake.mean())


def next_margin(margin: Tensor, real: Tensor, fake: Tensor, fake_before: Tensor) -> Tensor:
    """The margin of the next epoch: the mean energy of real images, if that is less and fakes rise.

    Arguments:
        margin: The margin of this epoch, a scalar.
        real: Mean energy of real images in this epoch.
        fake: Mean energy of generated images in this epoch; they must be above the real ones.
        fake_before: That of the epoch before; infinity in the first.

    References:
        | MAGAN: Margin Adaptation for Generative Adversarial Networks (Wang et al., 2017), Algorithm 1
        | https://arxiv.org/abs/1704.03817
    """
    return torch.where((real < margin) & (real < fake) & (fake_before < fake), real, margin)


def pulling_away(codes: Tensor) -> Tensor:
    r"""The mean squared cosine of the angles between the codes of a batch, each with each other.

    .. math:: \frac{1}{N (N - 1)} \sum_{i \ne j} \left( \frac{s_i^T s_j}{\|s_i\| \|s_j\|} \right)^2

    It is 0 where they are orthogonal and 1 where they are parallel.

    Arguments:
        codes: The autoencoder's codes of generated images, (N, ...) with N > 1.

    References:
        | Energy-based Generative Adversarial Network (Zhao et al., 2016), Equation 4
        | https://arxiv.org/abs/1609.03126
    """
    n = len(codes)
    if n < 2:
        raise ValueError(f"codes need two images or more to be pulled away, got {n}")
    directions = F.normalize(wide(codes).flatten(1), dim=1)
    with torch.autocast(codes.device.type, enabled=False):  # products in half precision are not 1
        cosines = directions @ directions.T
    return (cosines.square().sum() - cosines.diagonal().square().sum()) / (n * (n - 1))


def equilibrium(real: Tensor, fake: Tensor, balance: float | Tensor) -> Losses:
    r"""The boundary equilibrium GAN.

    .. math:: L_D = E(x) - k \, E(G(z)), \quad L_G = E(G(z))

    Arguments:
        real: Energies of real images, (B,): the mean errors of an autoencoder.
        fake: Energies of generated images, (B,).
        balance: The weight k; see `next_balance`.

    References:
        | BEGAN: Boundary Equilibrium Generative Adversarial Networks (Berthelot et al., 2017)
        | https://arxiv.org/abs/1703.10717
    """
    real, fake = wide(real).mean(), wide(fake).mean()
    return Losses(real - balance * fake, fake)


def next_balance(
    balance: Tensor, real: Tensor, fake: Tensor, ratio: float = 0.5, rate: float = 1e-3
) -> Tensor:
    r"""The weight of the next step, :math:`k + \lambda (\gamma E(x) - E(G(z)))` within [0, 1].

    Arguments:
        balance: The weight k of this step, a scalar; 0 in the first.
        real: Energies of real images, (B,).
        fake: Energies of generated images, (B,).
        ratio: The diversity ratio :math:`\gamma` at which energies are to be.
        rate: The rate :math:`\lambda`.
    """
    gain = ratio * wide(real.detach()).mean() - wide(fake.detach()).mean()
    return (balance + rate * gain).clamp(0, 1)


def convergence(real: Tensor, fake: Tensor, ratio: float = 0.5) -> Tensor:
    r"""How far BEGAN is from its goal, :math:`E(x) + |\gamma E(x) - E(G(z))|`: falls with quality."""
    real, fake = wide(real).mean(), wide(fake).mean()
    return real + (ratio * real - fake).abs()
