"""The residual networks of WGAN-GP.

`widths` (128, 128, 128, 128) for the generator and (128, 128) with two plain blocks for the critic
are those of its CIFAR-10 section; (512, 512, 256, 128, 64) and (64, 128, 256, 512, 512) without
plain blocks are those of its 64 x 64 images.

With labels, the generator's norms have gains and biases for each class, as that paper's code has,
and the discriminator adds how well its features agree with an embedding of the label.

With `spectral`, and the sum over places instead of the mean, the discriminator is that of spectral
normalisation but for its initial weights. The mean would keep its logits 64 times closer together
on 32 x 32 images, which weights that cannot grow do not make up for.

References:
    | Improved Training of Wasserstein GANs (Gulrajani et al., 2017), Appendix C and F
    | https://arxiv.org/abs/1704.00028
    | cGANs with Projection Discriminator (Miyato and Koyama, 2018)
    | https://arxiv.org/abs/1802.05637
    | Spectral Normalization for Generative Adversarial Networks (Miyato et al., 2018)
    | https://arxiv.org/abs/1802.05957
"""

from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ..nn.init import he_uniform_
from ..nn.labels import Labelled, LabelledSequential, one_hot, refuse_labels
from ..nn.norm import Norm, norm2d
from ..nn.roles import Discriminator, Generator
from ..nn.sizes import check_sizes
from ..nn.spectral import spectral_

Resample = Literal["up", "down", "none"]


class ResidualBlock(Labelled):
    """norm - ReLU - 3x3 - norm - ReLU - 3x3 beside a shortcut, with the change of size inside.

    Arguments:
        inputs: Channels in.
        outputs: Channels out.
        resample: Whether the map doubles, halves or keeps its size.
        norm: Normalisation.
        first: Whether it reads images, which must not go through a ReLU.
        num_classes: Classes, or attributes, that its norms depend on.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        resample: Resample,
        norm: Norm,
        first: bool = False,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.resample, self.first = resample, first
        middle = outputs if resample == "up" or first else inputs
        self.before, self.between = LabelledSequential(), LabelledSequential()
        if not first:
            self.before.extend([norm2d(norm, inputs, num_classes), nn.ReLU()])
        norm = "none" if first else norm
        self.between.extend([norm2d(norm, middle, num_classes), nn.ReLU()])
        self.convolution1 = nn.Conv2d(inputs, middle, 3, padding=1)
        self.convolution2 = nn.Conv2d(middle, outputs, 3, padding=1)
        he_uniform_(self.convolution1)
        he_uniform_(self.convolution2)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or resample != "none":
            self.shortcut = convolution = nn.Conv2d(inputs, outputs, 1)
            he_uniform_(convolution, gain=1.0)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        residual = self.before(x, labels)
        if self.resample == "up":
            x, residual = _double(x), _double(residual)
        elif self.resample == "down" and self.first:
            x = F.avg_pool2d(x, 2)  # before the 1x1, with which it commutes
        residual = self.convolution2(self.between(self.convolution1(residual), labels))
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
        num_classes: Classes, or attributes, of which each image is given some.
    """

    def __init__(
        self,
        channels: int = 3,
        latent_size: int = 128,
        widths: tuple[int, ...] = (128, 128, 128, 128),
        base: int = 4,
        norm: Norm = "batch",
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, latent_size=latent_size, widths=widths, base=base)
        check_sizes(num_classes=num_classes)
        size = base * 2 ** (len(widths) - 1)
        self.shape, self.latent_size = (channels, size, size), latent_size
        self.num_classes = num_classes
        first = nn.Linear(latent_size, widths[0] * base * base)
        last = nn.Conv2d(widths[-1], channels, 3, padding=1)
        he_uniform_(first, gain=1.0)
        he_uniform_(last, gain=1.0)
        self.layers = LabelledSequential(
            first,
            nn.Unflatten(1, (widths[0], base, base)),
            *[
                ResidualBlock(a, b, "up", norm, num_classes=num_classes)
                for a, b in pairwise(widths)
            ],
            norm2d(norm, widths[-1], num_classes),
            nn.ReLU(),
            last,
            nn.Tanh(),
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.num_classes is None:
            refuse_labels(labels)
        else:
            labels = one_hot(labels, self.num_classes, z.dtype)
        return self.layers(z, labels)


class ResNetDiscriminator(Discriminator):
    """Maps images (B, channels, H, W) to logits (B,) through a mean or a sum over places.

    Arguments:
        channels: Colours.
        widths: Channels of each block that halves the map, from fine to coarse.
        plain: How many blocks that keep the size follow.
        norm: Normalisation; none or layer for a critic with a gradient penalty.
        num_classes: Classes, or attributes, of which each image is said to be.
        spectral: Divide each layer's weights by their largest singular value.
        pool: What becomes of the places: their "mean" as WGAN-GP has it, or their "sum" as spectral
            normalisation has it.
    """

    def __init__(
        self,
        channels: int = 3,
        widths: tuple[int, ...] = (128, 128),
        plain: int = 2,
        norm: Norm = "none",
        num_classes: int | None = None,
        spectral: bool = False,
        pool: Literal["mean", "sum"] = "mean",
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, widths=widths, num_classes=num_classes)
        if plain < 0:
            raise ValueError(f"plain must not be negative, got {plain}")
        if pool not in ("mean", "sum"):
            raise ValueError(f"pool must be mean or sum, got {pool}")
        self.shape, self.num_classes = (channels, None, None), num_classes
        self.feature_size = widths[-1]
        last = nn.Linear(widths[-1], 1)
        he_uniform_(last, gain=1.0)
        self.layers = nn.Sequential(
            ResidualBlock(channels, widths[0], "down", norm, first=True),
            *[ResidualBlock(a, b, "down", norm) for a, b in pairwise(widths)],
            *[ResidualBlock(widths[-1], widths[-1], "none", norm) for _ in range(plain)],
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1) if pool == "mean" else _Sum(),
            nn.Flatten(),
            last,
            nn.Flatten(0),
        )

        self.embed: nn.Linear | None = None
        if num_classes is not None:
            self.embed = nn.Linear(num_classes, widths[-1], bias=False)
            he_uniform_(self.embed, gain=1.0)
        if spectral:
            spectral_(self)

    def features(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers[:-2](x)

    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        logits = self.layers[-2:](features)
        if self.embed is None:
            refuse_labels(labels)
            return logits
        y = one_hot(labels, self.embed.in_features, features.dtype)
        return logits + (features * self.embed(y)).sum(1)


class _Sum(nn.Module):
    """The sum over places, (B, C, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3), keepdim=True)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
