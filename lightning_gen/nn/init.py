"""Initial weights as papers have them."""

from math import sqrt

from torch import nn

_WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def normal_(network: nn.Module, std: float = 0.02) -> None:
    """N(0, std) for weights, N(1, std) for the gains of norms, 0 for biases (DCGAN, Section 4)."""
    for module in network.modules():
        if isinstance(module, _WEIGHTED):
            nn.init.normal_(module.weight, 0.0, std)
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.normal_(module.weight, 1.0, std)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def he_uniform_(layer: nn.Conv2d | nn.Linear, gain: float = sqrt(2)) -> None:
    """Uniform with standard deviation gain * sqrt(2 / (fan in + fan out)), and no bias."""
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(layer.weight)
    bound = gain * sqrt(2 / (fan_in + fan_out)) * sqrt(3)
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
