"""Games of discriminators that sort images into classes: logits (B, K), one for each class.

What is generated belongs to none of them; it is known by all logits being low, or by doubt.
"""

from math import log

import torch.nn.functional as F
from torch import Tensor

from . import adversarial
from .objectives import Losses
from .precision import wide


def real_evidence(logits: Tensor) -> Tensor:
    r"""The log-odds (B,) that an image is of any class at all, from logits (B, K).

    The logit of the class "generated" is fixed at zero, so with :math:`Z = \sum_k e^{l_k}` the
    probability is :math:`D(x) = Z / (Z + 1)`, and its log-odds are :math:`\log Z`.

    References:
        | Improved Techniques for Training GANs (Salimans et al., 2016), Section 5
        | https://arxiv.org/abs/1606.03498
    """
    return wide(logits).logsumexp(1)


def semi_supervised_discriminator(
    labelled: Tensor, labels: Tensor, real: Tensor, fake: Tensor
) -> Tensor:
    r"""A discriminator of K classes and one more, "generated", that learns from few labels.

    .. math::
        -E[\log p(y | x, y \le K)] - E[\log D(x)] - E[\log(1 - D(G(z)))]

    where :math:`D` is the probability that an image is of any of the K classes; see `real_evidence`.

    Arguments:
        labelled: Logits of images whose labels are known, (L, K).
        labels: Their classes, int64 (L,).
        real: Logits of images without labels, (B, K).
        fake: Logits of generated images, (B, K).

    References:
        | Improved Techniques for Training GANs (Salimans et al., 2016), Section 5
        | https://arxiv.org/abs/1606.03498
    """
    known = F.cross_entropy(wide(labelled), labels)
    return known + adversarial.cross_entropy_discriminator(real_evidence(real), real_evidence(fake))


def feature_matching(real: Tensor, fake: Tensor) -> Tensor:
    r"""The squared distance of mean features, :math:`\|E[f(x)] - E[f(G(z))]\|_2^2`, for a generator.

    Arguments:
        real: The discriminator's features of real images, (B, F).
        fake: Those of generated images.

    References:
        | Improved Techniques for Training GANs (Salimans et al., 2016), Section 3.1
        | https://arxiv.org/abs/1606.03498
    """
    return (wide(real).mean(0) - wide(fake).mean(0)).square().sum()


def cat_gan(real: Tensor, fake: Tensor) -> Losses:
    r"""Classes without labels: sure of each real image, unsure of each generated one.

    With the entropy :math:`H`

    .. math::
        L_D = -H[E_x \, p(y | x)] + E_x \, H[p(y | x)] - E_z \, H[p(y | G(z))], \quad
        L_G = -H[E_z \, p(y | G(z))] + E_z \, H[p(y | G(z))]

    Arguments:
        real: Logits of real images, (B, K).
        fake: Logits of generated images, (B, K).

    References:
        | Unsupervised and Semi-supervised Learning with Categorical GANs (Springenberg, 2015)
        | https://arxiv.org/abs/1511.06390
    """
    of_reals, doubt_of_reals = _entropies(real)
    of_fakes, doubt_of_fakes = _entropies(fake)
    return Losses(doubt_of_reals - of_reals - doubt_of_fakes, doubt_of_fakes - of_fakes)


def _entropies(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The entropy of the mean distribution over a batch, and the mean of the entropies, in nats."""
    log_p = wide(logits).log_softmax(1)
    mean = log_p.logsumexp(0) - log(len(log_p))
    return -(mean.exp() * mean).sum(), -(log_p.exp() * log_p).sum(1).mean()
