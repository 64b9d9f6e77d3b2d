"""How far images that an autoencoder rebuilt are from what they should be: summed over sub-pixels, (B,)."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from .precision import wide

Error = Literal["squared", "cross_entropy"]


def reconstruction_error(
    outputs: Tensor, x: Tensor, kind: Error = "squared", weights: Tensor | None = None
) -> Tensor:
    """The error of each image (B,), whatever the shape (B, ...) of images is.

    Arguments:
        outputs: The images that were rebuilt; with "cross_entropy", logits of white.
        x: What they should be; with "cross_entropy", in [-1, 1], where a grey in between is the
            share of white. Then it is no likelihood, and its least value is not zero.
        kind: "squared" for the squared distance, in the unit of the images.
        weights: How much each sub-pixel counts, in the shape of `x`; by default 1.
    """
    outputs, x = wide(outputs), wide(x)
    if kind == "squared":
        errors = (outputs - x).square()
    elif kind == "cross_entropy":
        errors = F.binary_cross_entropy_with_logits(outputs, (x + 1) / 2, reduction="none")
    else:
        raise ValueError(f"error must be squared or cross_entropy, got {kind}")
    return (errors if weights is None else weights * errors).flatten(1).sum(1)
