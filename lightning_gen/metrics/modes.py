r"""How many modes of known data samples reach, and how evenly.

Of points, a mode is a Gaussian, and a sample is good within some deviations of the nearest centre; a
mode is covered if 1 % of all samples are good ones of it. Of images, a mode is a class, and it is
covered if a classifier finds it once. How uneven the shares :math:`p_k` of K modes are is

.. math:: KL(p \,\|\, u) = \sum_k p_k \log (K p_k)

in nats: 0 if all are equal, log K if all samples are of one mode.

References:
    | Unrolled Generative Adversarial Networks (Metz et al., 2017), Section 3.3.1
    | https://arxiv.org/abs/1611.02163
    | VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning (Srivastava et al., 2017)
    | https://arxiv.org/abs/1705.07761
"""

from math import nan

import torch
from torch import Tensor

from .extractors import DigitClassifier
from .features import features_of

LEAST = 0.01  # of all samples, that cover a mode of points


def nearest_modes(points: Tensor, centres: Tensor, radius: float) -> Tensor:
    """The mode within whose radius each point (B, 2) lies, (B,); K where there is none.

    Arguments:
        points: Of any precision; what is no number lies nowhere.
        centres: Of the modes, (K, 2), further than two radii apart.
        radius: Of each mode, in the points' unit.
    """
    distances = torch.cdist(points.double(), centres.to(points.device, torch.float64))
    distance, mode = distances.nan_to_num(torch.inf).min(1)
    return torch.where(distance <= radius, mode, len(centres))


def stacked_classes(classifier: DigitClassifier, images: Tensor) -> Tensor:
    """The digits in the channels of uint8 images (B, C, H, W), read as one number, (B,)."""
    _, logits = features_of(classifier, images.flatten(0, 1).unsqueeze(1))
    assert logits is not None
    digits = logits.argmax(1).view(images.shape[:2])
    weights = 10 ** torch.arange(images.shape[1] - 1, -1, -1, device=digits.device)
    return (digits * weights).sum(1)


def covered(counts: Tensor, n: int, least: float = 0.0) -> int:
    """How many modes have a sample and at least this share of all `n`.

    Arguments:
        counts: Samples in each mode, (K,); together no more than n.
        n: How many samples there are.
        least: The share.
    """
    return int(((counts > 0) & (counts >= least * n)).sum())


def unevenness(counts: Tensor) -> float:
    """KL(p || u) in nats of the shares p of the modes, by their samples (K,); NaN without samples."""
    total = counts.sum()
    if not total:
        return nan
    shares = counts.double() / total
    return torch.xlogy(shares, shares * len(counts)).sum().item()
