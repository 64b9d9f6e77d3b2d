"""Normalisation by name, as configs choose it."""

from typing import Literal

from torch import nn

Norm = Literal["batch", "layer", "none"]


def norm2d(kind: Norm, channels: int) -> nn.Module:
    """Batch normalisation, layer normalisation over (C, H, W) with a gain per channel, or none."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "layer":
        return nn.GroupNorm(1, channels)
    if kind == "none":
        return nn.Identity()
    raise ValueError(f"norm must be batch, layer or none, got {kind}")
