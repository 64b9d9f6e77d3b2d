r"""Lower bounds on what an image tells of the code that it was made from, in nats.

For codes :math:`c` and a network :math:`Q` that guesses them from images,

.. math:: I(c; G(z, c)) \ge H(c) + E[\log Q(c | G(z, c))]

These are to be maximised, by the generator and by whoever owns :math:`Q`.

References:
    | InfoGAN: Interpretable Representation Learning by Information Maximizing GANs
    | (Chen et al., 2016), Equation 5
    | https://arxiv.org/abs/1606.03657
"""

from math import log, pi

import torch.nn.functional as F
from torch import Tensor

from .precision import wide

LEAST_LOG_VARIANCE = -6.0  # a standard deviation of 0.05, where codes span [-1, 1]


def categorical_information(logits: Tensor, code: Tensor) -> Tensor:
    r"""Of a code that is uniform over K classes, :math:`\log K - CE`: at most :math:`\log K`.

    Arguments:
        logits: What Q says of the classes, (B, K).
        code: The classes that the images were made from: int64 (B,), or one-hot (B, K).
    """
    code = wide(code) if code.is_floating_point() else code
    return log(logits.shape[1]) - F.cross_entropy(wide(logits), code)


def gaussian_information(mean: Tensor, log_variance: Tensor, code: Tensor) -> Tensor:
    r"""Of codes that are uniform over [-1, 1], whose entropies are log 2 each; summed over codes.

    A code that is known exactly has no bound on its information, so the variance has one: from a
    standard deviation of 0.05 on, Q gains nothing by being surer. With a variance of one, as the
    authors' code has it on MNIST, it is at most log 2 - log(2π)/2 = -0.226 for each code.

    Arguments:
        mean: Q's means, (B, A).
        log_variance: Logarithms of Q's variances, (B, A), or zero for unit variances.
        code: The codes that the images were made from, (B, A).
    """
    mean, code = wide(mean), wide(code)
    log_variance = wide(log_variance).clamp(min=LEAST_LOG_VARIANCE)
    squares = (code - mean).square() * (-log_variance).exp()
    log_density = -0.5 * (squares + log_variance + log(2 * pi))
    return (log(2) + log_density).flatten(1).sum(1).mean()
