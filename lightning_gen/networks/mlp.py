"""Fully connected networks between latents, images and logits."""

from itertools import pairwise
from math import prod

from torch import Tensor, nn

from ..nn.roles import Discriminator, Generator
from ..nn.sizes import check_sizes


class MLPGenerator(Generator):
    """Maps latents (B, latent_size) to images (B, C, H, W) in [-1, 1] through hidden ReLU layers.

    Arguments:
        shape: (C, H, W) of the images.
        latent_size: Length of the latents.
        widths: Units of the hidden layers.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        latent_size: int = 64,
        widths: tuple[int, ...] = (256, 256),
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, latent_size=latent_size, widths=widths)
        channels, height, width = shape
        self.shape, self.latent_size = (channels, height, width), latent_size
        layers: list[nn.Module] = []
        for a, b in pairwise((latent_size, *widths)):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.layers = nn.Sequential(
            *layers, nn.Linear(widths[-1], prod(shape)), nn.Tanh(), nn.Unflatten(1, self.shape)
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


class MLPDiscriminator(Discriminator):
    """Maps images (B, C, H, W) to logits (B,) through hidden leaky ReLU layers.

    Arguments:
        shape: (C, H, W) of the images.
        widths: Units of the hidden layers.
    """

    def __init__(
        self, shape: tuple[int, int, int] = (1, 28, 28), widths: tuple[int, ...] = (256, 256)
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, widths=widths)
        channels, height, width = shape
        self.shape = (channels, height, width)
        layers: list[nn.Module] = [nn.Flatten()]
        for a, b in pairwise((prod(shape), *widths)):
            layers += [nn.Linear(a, b), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1), nn.Flatten(0))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
