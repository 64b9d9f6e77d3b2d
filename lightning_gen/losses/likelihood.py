"""Negative log-likelihoods and divergences in nats per image, (B,): summed over all dimensions.

They are computed in float32 at least: in bfloat16 bits/dim would be wrong in the third digit.
"""

from math import log, pi

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import wide

FOLDS = 5  # of halves onto each other: a product of 32 numbers of 1/2 to 1


def bits_per_dim(nll: Tensor, dimensions: int) -> Tensor:
    """Nats per image as bits per dimension."""
    return nll / (dimensions * log(2))


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """Of binary values x in {0, 1}, given the logits that they are 1. Shapes (B, ...)."""
    return _sum(F.binary_cross_entropy_with_logits(wide(logits), wide(x), reduction="none"))


def sign_nll(logits: Tensor, signs: Tensor) -> Tensor:
    """Of images of signs, -1 and 1, given the logits of 1. Shapes (..., C, H, W), which broadcast.

    Where no gradients are asked for, as in bounds of many samples, it takes half the time: the
    sigmoid of a positive number is at least 1/2, so that of many the product is a number of
    normal precision, which has one logarithm instead of theirs.
    """
    against = (wide(logits) * -wide(signs)).flatten(-3)
    if against.requires_grad:
        return F.softplus(against, threshold=40).sum(-1)  # above, the rest is below rounding
    total = against.sum(-1)
    wrong = (total + against.abs_().sum(-1)) / 2  # of those above 0, without another tensor
    sure, size = against.sigmoid_(), against.shape[-1]
    for _ in range(FOLDS):
        if size % 2 == 0:
            size //= 2
            sure = sure[..., :size].mul_(sure[..., size:])
    return wrong - sure.log_().sum(-1)


def gaussian_nll(mean: Tensor, log_var: Tensor, x: Tensor) -> Tensor:
    """Of real values x under a diagonal Gaussian, a density. Shapes (B, ...)."""
    return _sum(gaussian_costs(mean, log_var, x))


def gaussian_costs(mean: Tensor, log_var: Tensor, x: Tensor) -> Tensor:
    """Nats of each of real values x, of any shape, as densities."""
    mean, log_var, x = wide(mean), wide(log_var), wide(x)
    return 0.5 * ((x - mean).square() * (-log_var).exp() + log_var + log(2 * pi))


def standard_normal_nll(x: Tensor) -> Tensor:
    """Of real values (B, ...) under N(0, 1), a density."""
    return 0.5 * _sum(wide(x).square() + log(2 * pi))


def standard_logistic_nll(x: Tensor) -> Tensor:
    """Of real values (B, ...) under the logistic distribution of location 0 and scale 1, a density."""
    return _sum(F.softplus(wide(x)) + F.softplus(-wide(x)))


def gaussian_kl(
    mean: Tensor, log_var: Tensor, to_mean: Tensor | None = None, to_log_var: Tensor | None = None
) -> Tensor:
    """The sum of the `gaussian_divergences` of an image. Shapes (B, ...)."""
    return _sum(gaussian_divergences(mean, log_var, to_mean, to_log_var))


def gaussian_divergences(
    mean: Tensor, log_var: Tensor, to_mean: Tensor | None = None, to_log_var: Tensor | None = None
) -> Tensor:
    """KL(q || p) of each dimension, of any shape, for q = N(mean, exp(log_var)).

    By default p = N(0, 1); otherwise it is N(to_mean, exp(to_log_var)).
    """
    mean, log_var = wide(mean), wide(log_var)
    # expm1 keeps the difference where the posterior is close to the prior.
    if to_mean is None or to_log_var is None:
        return 0.5 * (mean.square() + torch.expm1(log_var) - log_var)
    to_log_var, ratio = wide(to_log_var), log_var - wide(to_log_var)
    apart = (mean - wide(to_mean)).square() * (-to_log_var).exp()
    return 0.5 * (apart + torch.expm1(ratio) - ratio)


def discretized_logistic_nll(
    mean: Tensor, log_scale: Tensor, x: Tensor, levels: int = 256
) -> Tensor:
    """Of images x under the masses of `discretized_logistic_log_mass`. Shapes (B, ...)."""
    return -_sum(discretized_logistic_log_mass(mean, log_scale, x, levels))


def discretized_logistic_log_mass(
    mean: Tensor, log_scale: Tensor, x: Tensor, levels: int = 256
) -> Tensor:
    r"""Of values x in [-1, 1] under a logistic distribution that is cut into bins, one per level.

    The bins at the edges reach to infinity, so the levels' probabilities sum to one. Between,
    with a and b the edges of the bin in units of the scale,

    .. math:: \sigma(a) - \sigma(b) = \sigma(a) \, \sigma(-b) \, (1 - e^{-(a - b)})

    which needs none of the usual approximations for narrow or far bins.

    References:
        | PixelCNN++ (Salimans et al., 2017), Equation 2
        | https://arxiv.org/abs/1701.05517

    Arguments:
        mean: Locations, in [-1, 1] where they are sensible.
        log_scale: Logarithms of the scales.
        x: Values among `levels` equidistant ones in [-1, 1]. The three broadcast.
        levels: How many values there are.
    """
    mean, log_scale, x = wide(mean), wide(log_scale), wide(x)
    half, inverse = 1 / (levels - 1), (-log_scale).exp()
    lowest, highest = x < half - 1, x > 1 - half
    zero = x.new_zeros(())
    log_p = torch.where(highest, zero, F.logsigmoid(inverse * (x - mean + half)))
    log_p = log_p + torch.where(lowest, zero, F.logsigmoid(-inverse * (x - mean - half)))
    width = (-torch.expm1(-2 * half * inverse)).log()
    return log_p + torch.where(lowest | highest, zero, width)


def categorical_nll(logits: Tensor, levels: Tensor) -> Tensor:
    """Of integer levels (B, ...), given logits (B, K, ...)."""
    return _sum(categorical_costs(logits, levels))


def categorical_costs(logits: Tensor, levels: Tensor) -> Tensor:
    """Nats of each of integer levels (B, ...), given logits (B, K, ...)."""
    return F.cross_entropy(wide(logits), levels.long(), reduction="none")


def orderless_nll(logits: Tensor, levels: Tensor, known: Tensor) -> Tensor:
    r"""An estimate of the mean over all orders of :math:`-\log p(x)`, from one mask.

    If an order is drawn uniformly, and a number d < D, and the first d values of the order are
    `known`, then the others' costs, times D / (D - d), have that mean.

    References:
        | A Deep and Tractable Density Estimator (Uria et al., 2014), Equation 5
        | https://arxiv.org/abs/1310.1757

    Arguments:
        logits: Of each value given the known ones, (B, K, ...).
        levels: Integers (B, ...).
        known: Which were given, (B, ...), bool; not all of them.
    """
    costs = categorical_costs(logits, levels)
    unknown = ~known.flatten(1)
    share = unknown.sum(1) / unknown.shape[1]
    return (costs.flatten(1) * unknown).sum(1) / share


def mixture_nll(nll: Tensor) -> Tensor:
    """Of the even mixture of K distributions that each give an image `nll`, (K, B), in nats (B,).

    A mean of their logits, or of their conditionals, would be no distribution of images.
    """
    return log(len(nll)) - (-nll).logsumexp(0)


def _sum(x: Tensor) -> Tensor:
    return x.flatten(1).sum(1)
