"""What a prediction of a network depends on: its receptive field, and the blind spot in it."""

from collections.abc import Callable

import torch
from torch import Tensor


def receptive_field(
    function: Callable[[Tensor], Tensor], images: Tensor, row: int, column: int, color: int = 0
) -> Tensor:
    """How much each sub-pixel changes what is said at one place: (C, H, W), zero if not at all.

    It is the size of the gradient of all numbers at the place together, the mean over the images.
    In one image units may be dead that another one wakes, so there should be several.

    Arguments:
        function: Maps images (B, C, H, W) to numbers (B, ..., colors, H, W): a causal network to
            its outputs, or `PixelLikelihood.pixel_nll`.
        images: Where to take the gradient; in float64 no gradient is lost by rounding.
        row: Of the place.
        column: Of the place.
        color: Of the place, among `colors`.
    """
    with torch.enable_grad():
        x = images.detach().clone().requires_grad_()
        there = function(x)[..., color, row, column].sum()
        if not there.requires_grad:  # it looks at nothing
            return torch.zeros_like(images[0])
        (gradient,) = torch.autograd.grad(there, x, allow_unused=True, materialize_grads=True)
    return gradient.abs().mean(0)


def blind_spot(field: Tensor, row: int, column: int) -> Tensor:
    """Where pixels stand before a place, by rows from the top left, and have no say: (C, H, W), bool.

    Arguments:
        field: Of the place, from `receptive_field`, (C, H, W).
        row: Of the place.
        column: Of the place.
    """
    height, width = field.shape[1:]
    before = torch.arange(height * width, device=field.device) < row * width + column
    return before.view(height, width) & (field == 0)
