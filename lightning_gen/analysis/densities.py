r"""The game against known densities, where the best discriminator and its value are known.

Of data p and samples q the best discriminator says

.. math:: D^*(x) = \frac{p(x)}{p(x) + q(x)}, \qquad V(D^*) = -\ln 4 + 2 \, JSD(p, q),

with :math:`JSD(p, q) = \tfrac12 KL(p \| m) + \tfrac12 KL(q \| m)`, m = (p + q) / 2, between 0 and ln 2
nats. Densities here are tables (..., K) that sum to 1: the probabilities of K cells.

On two upright lines of length 1 that are theta apart, that divergence is ln 2 as soon as they part,
while the earth-mover distance is |theta|, and tells a generator where to go.

References:
    | Generative Adversarial Nets (Goodfellow et al., 2014), Section 4.1
    | https://arxiv.org/abs/1406.2661
    | Wasserstein GAN (Arjovsky et al., 2017), Example 1
    | https://arxiv.org/abs/1701.07875
"""

from math import log

import torch
from torch import Tensor


def optimal_discriminator(p: Tensor, q: Tensor, real_target: float = 1.0) -> Tensor:
    """The best discriminator's probabilities, NaN in cells where neither p nor q has mass.

    Arguments:
        p: Of data.
        q: Of samples.
        real_target: What it is trained to say of data; below 1 with one-sided label smoothing.
    """
    return real_target * p / (p + q)


def optimal_logits(log_p: Tensor, log_q: Tensor) -> Tensor:
    """The best discriminator's logits, from log-densities, of which neither is minus infinity."""
    return log_p - log_q


def value(p: Tensor, q: Tensor, d: Tensor) -> Tensor:
    """The game's value E_p[log D] + E_q[log(1 - D)] of probabilities d, in nats."""
    return (torch.xlogy(p, d) + torch.xlogy(q, 1 - d)).nansum(-1)


def optimal_value(p: Tensor, q: Tensor) -> Tensor:
    """The value of the best discriminator, which a generator makes as small as it can: -ln 4 at p = q."""
    return 2 * jensen_shannon(p, q) - log(4)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """The Jensen-Shannon divergence in nats, between 0 and ln 2."""
    middle = (p + q) / 2
    return (kullback_leibler(p, middle) + kullback_leibler(q, middle)) / 2


def kullback_leibler(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) in nats; infinite where p has mass and q has none."""
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)


def earth_mover(p: Tensor, q: Tensor, width: float = 1.0) -> Tensor:
    """The earth-mover distance of tables over neighbouring cells of a line.

    Arguments:
        p: One table.
        q: The other.
        width: Of a cell, in the unit of the result.
    """
    return (p - q).cumsum(-1).abs().sum(-1) * width


def lines_jensen_shannon(theta: Tensor) -> Tensor:
    """The Jensen-Shannon divergence of two lines that are theta apart, nats."""
    return theta.ne(0).to(theta) * log(2)


def lines_earth_mover(theta: Tensor) -> Tensor:
    """The earth-mover distance of two lines that are theta apart."""
    return theta.abs()


def lines_penalised(theta: Tensor, penalty_weight: float = 10.0) -> Tensor:
    r"""What the best critic with a gradient penalty says of two lines that are theta apart.

    On the way between them it has one slope s, so it maximises
    :math:`|\theta| s - \lambda (s - 1)^2`, whence :math:`s = 1 + |\theta| / 2 \lambda` and the estimate
    :math:`|\theta| s`: above the distance, the more so the less the penalty weighs.
    """
    return theta.abs() * (1 + theta.abs() / (2 * penalty_weight))
