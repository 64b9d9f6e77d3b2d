"""The residual networks of WGAN-GP.

`widths` (128, 128, 128, 128) for the generator and (128, 128) with two plain blocks for the critic
are those of its CIFAR-10 section; (512, 512, 256, 128, 64) and (64, 128, 256, 512, 512) without
plain blocks are those of its 64 x 64 images.

References:
    | Improved Training of Wasserstein GANs (Gulrajani et al., 2017), Appendix C and F
    | https://arxiv.org/abs/1704.00028
"""

from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ..nn.init import he_uniform_
from ..nn.norm import Norm, norm2d
from ..nn.roles import Discriminator, Generator
from ..nn.sizes import check_sizes

Resample = Literal["up", "down", "none"]


class ResidualBlock(nn.Module):
    """norm - ReLU - 3x3 - norm - ReLU - 3x3 beside a shortcut, with the change of size inside.

    Arguments:
        inputs: Channels in.
        outputs: Channels out.
        resample: Whether the map doubles, halves or keeps its size.
        norm: Normalisation.
        first: Whether it reads images, which must not go through a ReLU.
    """

    def __init__(
        self, inputs: int, outputs: int, resample: Resample, norm: Norm, first: bool = False
    ) -> None:
        super().__init__()
        self.resample, self.first = resample, first
        middle = outputs if resample == "up" or first else inputs
        self.before = nn.Identity() if first else nn.Sequential(norm2d(norm, inputs), nn.ReLU())
        self.between = nn.Sequential(norm2d("none" if first else norm, middle), nn.ReLU())
        self.convolution1 = nn.Conv2d(inputs, middle, 3, padding=1)
        self.convolution2 = nn.Conv2d(middle, outputs, 3, padding=1)
        he_uniform_(self.convolution1)
        he_uniform_(self.convolution2)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or resample != "none":
            self.shortcut = convolution = nn.Conv2d(inputs, outputs, 1)
            he_uniform_(convolution, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.before(x)
        if self.resample == "up":
            x, residual = _double(x), _double(residual)
        elif self.resample == "down" and self.first:
            x = F.avg_pool2d(x, 2)  # before the 1x1, with which it commutes
        residual = self.convolution2(self.between(self.convolution1(residual)))
        x = self.shortcut(x)
        if self.resample == "down":
            residual = F.avg_pool2d(residual, 2)
            x = x if self.first else F.avg_pool2d(x, 2)
        return x + residual


class ResNetGenerator(Generator):
    """Maps latents (B, latent_size) to images (B, channels, size, size) in [-1, 1].

    Arguments:
        channels: Colours.
        latent_size: Length of the latents.
        widths: Channels of the coarsest map, then of each block that doubles it.
        base: Height and width of the coarsest map, so that size = base * 2 ** (len(widths) - 1).
        norm: Normalisation.
    """

    def __init__(
        self,
        channels: int = 3,
        latent_size: int = 128,
        widths: tuple[int, ...] = (128, 128, 128, 128),
        base: int = 4,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, latent_size=latent_size, widths=widths, base=base)
        size = base * 2 ** (len(widths) - 1)
        self.shape, self.latent_size = (channels, size, size), latent_size
        first = nn.Linear(latent_size, widths[0] * base * base)
        last = nn.Conv2d(widths[-1], channels, 3, padding=1)
        he_uniform_(first, gain=1.0)
        he_uniform_(last, gain=1.0)
        self.layers = nn.Sequential(
            first,
            nn.Unflatten(1, (widths[0], base, base)),
            *[ResidualBlock(a, b, "up", norm) for a, b in pairwise(widths)],
            norm2d(norm, widths[-1]),
            nn.ReLU(),
            last,
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


class ResNetDiscriminator(Discriminator):
    """Maps images (B, channels, H, W) to logits (B,) through a mean over places.

    Arguments:
        channels: Colours.
        widths: Channels of each block that halves the map, from fine to coarse.
        plain: How many blocks that keep the size follow.
        norm: Normalisation; none or layer for a critic with a gradient penalty.
    """

    def __init__(
        self,
        channels: int = 3,
        widths: tuple[int, ...] = (128, 128),
        plain: int = 2,
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, widths=widths)
        if plain < 0:
            raise ValueError(f"plain must not be negative, got {plain}")
        self.shape = (channels, None, None)
        last = nn.Linear(widths[-1], 1)
        he_uniform_(last, gain=1.0)
        self.layers = nn.Sequential(
            ResidualBlock(channels, widths[0], "down", norm, first=True),
            *[ResidualBlock(a, b, "down", norm) for a, b in pairwise(widths)],
            *[ResidualBlock(widths[-1], widths[-1], "none", norm) for _ in range(plain)],
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            last,
            nn.Flatten(0),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
