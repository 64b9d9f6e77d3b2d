"""8-bit levels as floats in [-1, 1] and back, exactly. No other file converts."""

import torch
from torch import Tensor


def from_levels(k: Tensor, levels: int = 256, dtype: torch.dtype = torch.float32) -> Tensor:
    """Maps integers in [0, levels - 1] to floats in [-1, 1]."""
    return k.to(dtype).mul_(2 / (levels - 1)).sub_(1)


def to_levels(x: Tensor, levels: int = 256) -> Tensor:
    """Maps floats in [-1, 1] to the nearest of 2 to 256 levels, as uint8; clamps what is outside."""
    return ((x + 1) * ((levels - 1) / 2)).round_().clamp_(0, levels - 1).to(torch.uint8)
