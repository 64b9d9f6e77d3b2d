"""Fully connected networks between latents, images and logits.

With labels, they are those of conditional GANs: a label is joined to the latent and to the image.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import prod
from typing import Literal

from torch import Tensor, nn

from ..nn.labels import with_labels
from ..nn.roles import Discriminator, Generator
from ..nn.sizes import check_sizes


class MLPGenerator(Generator):
    """Maps latents (B, latent_size) to images (B, C, H, W) in [-1, 1] through hidden ReLU layers.

    Arguments:
        shape: (C, H, W) of the images; (2, 1, 1) for points of the plane.
        latent_size: Length of the latents.
        widths: Units of the hidden layers.
        num_classes: Classes, or attributes, of which each image is given some.
        output: "linear" does not bound what it makes, as points may need.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        latent_size: int = 64,
        widths: tuple[int, ...] = (256, 256),
        num_classes: int | None = None,
        output: Literal["tanh", "linear"] = "tanh",
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, latent_size=latent_size, widths=widths, num_classes=num_classes)
        if output not in ("tanh", "linear"):
            raise ValueError(f"output must be tanh or linear, got {output}")
        channels, height, width = shape
        self.shape, self.latent_size = (channels, height, width), latent_size
        self.num_classes = num_classes
        layers = hidden_layers((latent_size + (num_classes or 0), *widths))
        layers += [nn.Linear(widths[-1], prod(shape))]
        layers += [nn.Tanh()] if output == "tanh" else []
        self.layers = nn.Sequential(*layers, nn.Unflatten(1, self.shape))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(with_labels(z, labels, self.num_classes))


class MLPDiscriminator(Discriminator):
    """Maps images (B, C, H, W) to logits (B,) through hidden leaky ReLU layers.

    Arguments:
        shape: (C, H, W) of the images.
        widths: Units of the hidden layers.
        num_classes: Classes, or attributes, of which each image is said to be.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        widths: tuple[int, ...] = (256, 256),
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, widths=widths, num_classes=num_classes)
        channels, height, width = shape
        self.shape, self.num_classes = (channels, height, width), num_classes
        self.feature_size = widths[-1]
        sizes = prod(shape) + (num_classes or 0), *widths
        layers = hidden_layers(sizes, partial(nn.LeakyReLU, 0.2))
        self.layers = nn.Sequential(nn.Flatten(), *layers, nn.Linear(widths[-1], 1), nn.Flatten(0))

    def features(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers[:-2](with_labels(x.flatten(1), labels, self.num_classes))

    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers[-2:](features)


def hidden_layers(
    sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU
) -> list[nn.Module]:
    """Linear layers from each size to the next, each with an activation after it."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), activation()]
    return layers
