"""Normalisation by name, as configs choose it."""

from typing import Literal

from torch import Tensor, nn

from .labels import Labelled, one_hot

Norm = Literal["batch", "layer", "none"]


def norm2d(kind: Norm, channels: int, num_classes: int | None = None) -> nn.Module:
    """Batch normalisation, layer normalisation over (C, H, W) with a gain per channel, or none.

    Arguments:
        kind: Its name.
        channels: C of the maps.
        num_classes: Classes, or attributes, that choose the gains and biases.
    """
    if num_classes is not None:
        return ConditionalNorm2d(kind, channels, num_classes)
    return _norm2d(kind, channels)


class ConditionalNorm2d(Labelled):
    """Normalisation whose gains and biases are the label's; its statistics are of all images.

    Each class has a gain and a bias per channel. Attributes add up what they change, so that an
    image without any is only normalised. All begin with gain 1 and bias 0.

    References:
        | A Learned Representation for Artistic Style (Dumoulin et al., 2017), Section 2
        | https://arxiv.org/abs/1610.07629

    Arguments:
        kind: What to normalise by; "none" leaves the gains and biases alone.
        channels: C of the maps.
        num_classes: Classes or attributes.
    """

    def __init__(self, kind: Norm, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = _norm2d(kind, channels, affine=False)
        self.gain = nn.Linear(num_classes, channels, bias=False)  # beside 1
        self.bias = nn.Linear(num_classes, channels, bias=False)
        nn.init.zeros_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        y = one_hot(labels, self.gain.in_features, x.dtype)
        gain, bias = self.gain(y)[..., None, None], self.bias(y)[..., None, None]
        return self.norm(x) * (1 + gain) + bias


def _norm2d(kind: Norm, channels: int, affine: bool = True) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels, affine=affine)
    if kind == "layer":
        return nn.GroupNorm(1, channels, affine=affine)
    if kind == "none":
        return nn.Identity()
    raise ValueError(f"norm must be batch, layer or none, got {kind}")
