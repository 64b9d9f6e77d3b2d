"""Initial weights as papers have them."""

from math import prod, sqrt
from typing import Literal

from torch import nn

from .virtual_norm import VirtualBatchNorm

Initial = Literal["normal", "he"]
WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_NORMS = (nn.BatchNorm2d, nn.GroupNorm, VirtualBatchNorm)


def initialise_(network: nn.Module, kind: Initial) -> None:
    """Initial weights by name, as configs choose them: `normal_` or `he_`."""
    if kind not in ("normal", "he"):
        raise ValueError(f"initial must be normal or he, got {kind}")
    normal_(network) if kind == "normal" else he_(network)


def normal_(network: nn.Module, std: float = 0.02) -> None:
    """N(0, std) for weights, N(1, std) for the gains of norms, 0 for biases (DCGAN, Section 4)."""
    for module in network.modules():
        if isinstance(module, WEIGHTED):
            nn.init.normal_(module.weight, 0.0, std)
        elif isinstance(module, _NORMS):
            nn.init.normal_(module.weight, 1.0, std)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def he_(network: nn.Module) -> None:
    """`he_uniform_` for all layers, with gain 1 for the last one, which no ReLU follows."""
    layers = [module for module in network.modules() if isinstance(module, WEIGHTED)]
    for layer in layers:
        he_uniform_(layer, 1.0 if layer is layers[-1] else sqrt(2))


def he_uniform_(
    layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear,
    gain: float = sqrt(2),
    stride: int | None = None,
) -> None:
    """Uniform with standard deviation gain * sqrt(2 / (fan in + fan out)), and no bias.

    Arguments:
        layer: The layer.
        gain: sqrt(2) before a ReLU, else 1.
        stride: In place of the layer's own. The side of the finer map has a fan divided by its
            square, as only so many of its places meet a weight.
    """
    coarse, fine = nn.init._calculate_fan_in_and_fan_out(layer.weight)
    own = 1 if isinstance(layer, nn.Linear) else prod(layer.stride)
    bound = gain * sqrt(2 / (coarse + fine / (stride**2 if stride else own))) * sqrt(3)
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
