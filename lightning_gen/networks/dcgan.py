"""The convolutional networks of DCGAN.

Strided convolutions and no pooling, ReLU in the generator and leaky ReLU in the discriminator,
batch normalisation everywhere but at the images: as in the authors' Torch code, which has 4 x 4
kernels and no biases where the paper's Theano code has 5 x 5.

References:
    | Unsupervised Representation Learning with Deep Convolutional GANs (Radford et al., 2015)
    | https://arxiv.org/abs/1511.06434
"""

from itertools import pairwise

from torch import Tensor, nn

from ..nn.init import normal_
from ..nn.norm import Norm, norm2d
from ..nn.roles import Discriminator, Generator
from ..nn.sizes import check_sizes


class DCGANGenerator(Generator):
    """Maps latents (B, latent_size) to images (B, channels, size, size) in [-1, 1].

    Arguments:
        size: Height and width: 4 or 7 times a power of two, such as 64 or 28.
        channels: Colours.
        latent_size: Length of the latents.
        width: Channels of the finest hidden layer; each coarser one has twice as many.
        norm: Normalisation of the hidden layers.
    """

    def __init__(
        self,
        size: int = 64,
        channels: int = 3,
        latent_size: int = 100,
        width: int = 64,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, latent_size=latent_size, width=width)
        self.shape, self.latent_size = (channels, size, size), latent_size
        base, stages = coarsest(size)
        widths = [width * 2**i for i in reversed(range(stages))]
        bias = norm == "none"
        layers: list[nn.Module] = [
            nn.Unflatten(1, (latent_size, 1, 1)),
            nn.ConvTranspose2d(latent_size, widths[0], base, bias=bias),
            norm2d(norm, widths[0]),
            nn.ReLU(),
        ]
        for a, b in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=bias),
                norm2d(norm, b),
                nn.ReLU(),
            ]
        last = nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1, bias=False)
        self.layers = nn.Sequential(*layers, last, nn.Tanh())
        normal_(self)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z.flatten(1))


class DCGANDiscriminator(Discriminator):
    """Maps images (B, channels, size, size) to logits (B,).

    Arguments:
        size: Height and width: 4 or 7 times a power of two.
        channels: Colours.
        width: Channels of the finest hidden layer; each coarser one has twice as many.
        norm: Normalisation of the hidden layers but the first. A critic with a gradient penalty
            must not have batch normalisation.
    """

    def __init__(
        self, size: int = 64, channels: int = 3, width: int = 64, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, width=width)
        self.shape = (channels, size, size)
        base, stages = coarsest(size)
        widths = [width * 2**i for i in range(stages)]
        bias = norm == "none"
        layers: list[nn.Module] = [
            nn.Conv2d(channels, widths[0], 4, stride=2, padding=1, bias=bias),
            nn.LeakyReLU(0.2),
        ]
        for a, b in pairwise(widths):
            layers += [
                nn.Conv2d(a, b, 4, stride=2, padding=1, bias=bias),
                norm2d(norm, b),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(
            *layers, nn.Conv2d(widths[-1], 1, base, bias=False), nn.Flatten(0)
        )
        normal_(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def coarsest(size: int) -> tuple[int, int]:
    """The size of the coarsest map, 4 or 7, and how many doublings lead from it to `size`."""
    base, stages = size, 0
    while base > 7 and base % 2 == 0:
        base, stages = base // 2, stages + 1
    if base not in (4, 7) or stages == 0:
        raise ValueError(
            f"size must be 4 or 7 times a power of two, such as 28, 32 or 64; got {size}"
        )
    return base, stages
