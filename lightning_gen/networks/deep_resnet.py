"""The residual networks of 101 layers in WGAN-GP's table of architectures.

Three convolutions to a block, of which the last alone is normalised, and a residual that counts 0.3.

References:
    | Improved Training of Wasserstein GANs (Gulrajani et al., 2017), Section 5.2
    | https://arxiv.org/abs/1704.00028
    | https://github.com/igul222/improved_wgan_training
"""

from itertools import pairwise

from torch import Tensor, nn

from ..nn.init import he_uniform_
from ..nn.labels import refuse_labels
from ..nn.norm import Norm, norm2d
from ..nn.roles import Discriminator, Generator
from ..nn.sizes import check_sizes
from .dcgan import coarsest
from .resnet import Resample


class BottleneckBlock(nn.Module):
    """ReLU - 1x1 - ReLU - 3x3 - ReLU - 1x1 - norm, beside a shortcut; the 3x3 changes the size.

    Arguments:
        inputs: Channels in, even; the 3x3 has half as many.
        outputs: Channels out, even; the 3x3 gives half as many.
        resample: Whether the map doubles, halves or keeps its size.
        norm: Normalisation.
    """

    def __init__(self, inputs: int, outputs: int, resample: Resample, norm: Norm) -> None:
        super().__init__()
        narrow = nn.Conv2d(inputs, inputs // 2, 1)
        halves, stride = (inputs // 2, outputs // 2), 1 if resample == "none" else 2
        middle: nn.Conv2d | nn.ConvTranspose2d
        if resample == "up":
            middle = nn.ConvTranspose2d(*halves, 3, stride, padding=1, output_padding=1)
        else:
            middle = nn.Conv2d(*halves, 3, stride, padding=1)
        last = nn.Conv2d(outputs // 2, outputs, 1, bias=norm == "none")
        for convolution in (narrow, middle, last):
            he_uniform_(convolution)
        self.residual = nn.Sequential(
            nn.ReLU(), narrow, nn.ReLU(), middle, nn.ReLU(), last, norm2d(norm, outputs)
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or resample != "none":
            places = 4 if resample == "up" else 1  # of the finer map for one of the coarser
            stride = 2 if resample == "down" else 1
            convolution = nn.Conv2d(inputs, places * outputs, 1, stride)
            he_uniform_(convolution, gain=1.0)
            shuffle = [nn.PixelShuffle(2)] if resample == "up" else []
            self.shortcut = nn.Sequential(convolution, *shuffle)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + 0.3 * self.residual(x)


class DeepResNetGenerator(Generator):
    """Maps latents (B, latent_size) to images (B, channels, size, size) in [-1, 1].

    Arguments:
        size: Height and width: 4 or 7 times a power of two.
        channels: Colours.
        latent_size: Length of the latents.
        width: Channels of the finest map, even; each coarser one has twice as many.
        blocks: Blocks at each size of the map, of which the finest has one fewer.
        norm: Normalisation.
    """

    def __init__(
        self,
        size: int = 64,
        channels: int = 3,
        latent_size: int = 128,
        width: int = 32,
        blocks: int = 6,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, latent_size=latent_size)
        self.shape, self.latent_size = (channels, size, size), latent_size
        base, widths = _widths(size, width, blocks)
        first = nn.Linear(latent_size, widths[-1] * base * base)
        last = nn.Conv2d(width, channels, 1)
        he_uniform_(first, gain=1.0)
        he_uniform_(last, gain=1.0)
        layers: list[nn.Module] = []
        for a, b in pairwise(reversed(widths)):
            layers += [BottleneckBlock(a, a, "none", norm) for _ in range(blocks)]
            layers += [BottleneckBlock(a, b, "up", norm)]
        layers += [BottleneckBlock(width, width, "none", norm) for _ in range(blocks - 1)]
        self.layers = nn.Sequential(first, nn.Unflatten(1, (widths[-1], base, base)), *layers, last)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        refuse_labels(labels)
        return (self.layers(z) / 5).tanh()


class DeepResNetDiscriminator(Discriminator):
    """Maps images (B, channels, size, size) to logits (B,): the mirror of the generator.

    Arguments:
        size: Height and width: 4 or 7 times a power of two.
        channels: Colours.
        width: Channels of the finest map, even; each coarser one has twice as many.
        blocks: Blocks at each size of the map, of which the finest has one fewer.
        norm: Normalisation; none or layer for a critic with a gradient penalty.
    """

    def __init__(
        self,
        size: int = 64,
        channels: int = 3,
        width: int = 32,
        blocks: int = 6,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        check_sizes(channels=channels)
        self.shape = (channels, size, size)
        base, widths = _widths(size, width, blocks)
        self.feature_size = widths[-1] * base * base
        first, self.last = nn.Conv2d(channels, width, 1), nn.Linear(self.feature_size, 1)
        he_uniform_(first, gain=1.0)
        he_uniform_(self.last, gain=1.0)
        layers: list[nn.Module] = []
        layers += [BottleneckBlock(width, width, "none", norm) for _ in range(blocks - 1)]
        for a, b in pairwise(widths):
            layers += [BottleneckBlock(a, b, "down", norm)]
            layers += [BottleneckBlock(b, b, "none", norm) for _ in range(blocks)]
        self.layers = nn.Sequential(first, *layers, nn.Flatten())

    def features(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        refuse_labels(labels)
        return self.layers(x)

    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.last(features).squeeze(1) / 5


def _widths(size: int, width: int, blocks: int) -> tuple[int, list[int]]:
    """The size of the coarsest map, and the channels of all maps from the finest."""
    check_sizes(width=width, blocks=blocks)
    if width % 2:
        raise ValueError(f"width must be even, as bottlenecks have half of it; got {width}")
    base, stages = coarsest(size)
    return base, [width * 2**i for i in range(stages + 1)]
