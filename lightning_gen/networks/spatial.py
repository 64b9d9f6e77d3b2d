"""The networks of spatial GANs: convolutions alone, from fields of latents to images of any size.

A generator that saw small fields makes larger images from larger ones, of the same texture. Each
logit judges a patch. The paper has kernels of 5 x 5 where these have those of DCGAN's Torch code.

References:
    | Texture Synthesis with Spatial Generative Adversarial Networks (Jetchev et al., 2016)
    | https://arxiv.org/abs/1611.08207
"""

from itertools import pairwise
from math import prod

from torch import Tensor, nn

from ..nn.init import normal_
from ..nn.labels import refuse_labels
from ..nn.norm import Norm, norm2d
from ..nn.roles import Discriminator, Generator
from ..nn.sizes import check_sizes
from ..nn.spectral import spectral_


class SpatialGenerator(Generator):
    """Maps latents (B, latent_size), which are fields, to images (B, C, H, W) in [-1, 1].

    A latent is a field of (latent_channels, *field), each place of which becomes 2 ** depth pixels
    a side.

    Arguments:
        channels: Colours.
        latent_channels: Numbers at each place of the field.
        field: Height and width of the field.
        width: Channels of the finest hidden layer; each coarser one has twice as many.
        depth: Layers, each of which doubles the map; 5 make 32 pixels of a place.
        norm: Normalisation of the hidden layers.
    """

    def __init__(
        self,
        channels: int = 3,
        latent_channels: int = 50,
        field: tuple[int, int] = (2, 2),
        width: int = 64,
        depth: int = 5,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, latent_channels=latent_channels, field=field)
        widths = _widths(width, depth)[::-1]
        height, across = field
        self.shape = (channels, height * 2**depth, across * 2**depth)
        self.field_shape = (latent_channels, height, across)
        self.latent_size = prod(self.field_shape)
        layers: list[nn.Module] = []
        for a, b in pairwise((latent_channels, *widths)):
            layers += [
                nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=norm == "none"),
                norm2d(norm, b),
                nn.ReLU(),
            ]
        last = nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1, bias=False)
        self.layers = nn.Sequential(*layers, last, nn.Tanh())
        normal_(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        refuse_labels(labels)
        return self.generate(z.unflatten(1, self.field_shape))

    def generate(self, field: Tensor) -> Tensor:
        """Maps a field (B, latent_channels, h, w) of any size to images 2 ** depth as large."""
        return self.layers(field)


class PatchDiscriminator(Discriminator):
    """Maps images (B, channels, H, W) to logits (B, h, w), each of a patch.

    Arguments:
        channels: Colours.
        width: Channels of the finest hidden layer; each coarser one has twice as many.
        depth: Layers, each of which halves the map.
        norm: Normalisation of the hidden layers but the first.
        spectral: Divide each layer's weights by their largest singular value.
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        depth: int = 5,
        norm: Norm = "batch",
        spectral: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(channels=channels)
        self.shape = (channels, None, None)
        widths = _widths(width, depth)
        bias = norm == "none"
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, 4, stride=2, padding=1, bias=bias),
            nn.LeakyReLU(0.2),
        ]
        for a, b in pairwise(widths):
            layers += [
                nn.Conv2d(a, b, 4, stride=2, padding=1, bias=bias),
                norm2d(norm, b),
                nn.LeakyReLU(0.2),
            ]
        last = nn.Conv2d(widths[-1], 1, 4, stride=2, padding=1, bias=False)
        self.layers = nn.Sequential(*layers, last)
        normal_(self)
        if spectral:
            spectral_(self)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        refuse_labels(labels)
        return self.layers(x).squeeze(1)


def _widths(width: int, depth: int) -> list[int]:
    """Channels of the hidden layers, from the finest."""
    check_sizes(width=width)
    if depth < 2:
        raise ValueError(f"depth must be at least 2, got {depth}")
    return [width * 2**i for i in range(depth - 1)]
