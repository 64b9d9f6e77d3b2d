"""Activations by name, as configs choose them."""

from typing import Literal

from torch import nn

from .causal import GatedActivation

Activation = Literal["relu", "tanh", "gated"]


def activation_of(kind: Activation, slope: float = 0.0) -> nn.Module:
    """What follows a layer of `gates(kind)` times as many channels as are wanted.

    Arguments:
        kind: Its name. "gated" is tanh of one half of the channels times sigmoid of the other.
        slope: Slope of "relu" for negative numbers: above 0, it is leaky.
    """
    if kind == "relu":
        return nn.LeakyReLU(slope) if slope else nn.ReLU()
    if kind == "tanh":
        return nn.Tanh()
    if kind == "gated":
        return GatedActivation()
    raise ValueError(f"activation must be relu, tanh or gated, got {kind}")


def gates(kind: Activation) -> int:
    """How many channels an activation needs for each that it gives."""
    return 2 if kind == "gated" else 1
