"""Encoders of images into Gaussian codes, and the decoders that mirror them."""

from itertools import pairwise
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from ..nn.labels import with_labels
from ..nn.roles import Decoder, Encoder, Posterior, UpperCodes
from ..nn.sizes import check_sizes, inner_shape
from .mlp import hidden_layers

HiddenActivation = Literal["silu", "tanh", "softplus", "elu"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "elu": nn.ELU,
}


class MLPEncoder(Encoder):
    """Maps images (B, C, H, W) to the mean and log-variance of codes through hidden layers.

    Arguments:
        shape: (C, H, W) of the images.
        latent_size: Length of the codes.
        widths: Units of the hidden layers. Without any it is linear.
        unit_variance: Say nothing of the variance, which is 1.
        context_size: Length of what a flow of the codes is told, if there is a flow.
        num_classes: Classes, or attributes, of which each image is said to be.
        activation: Follows each hidden layer.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        latent_size: int = 20,
        widths: tuple[int, ...] = (400, 400),
        unit_variance: bool = False,
        context_size: int = 0,
        num_classes: int | None = None,
        activation: HiddenActivation = "silu",
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, latent_size=latent_size, widths=widths or None)
        check_sizes(num_classes=num_classes)
        self.shape, self.latent_size, self.num_classes = shape, latent_size, num_classes
        self.unit_variance, self.context_size = unit_variance, _context(context_size)
        sizes = (prod(shape) + (num_classes or 0), *widths)
        hidden = hidden_layers(sizes, activation_of(activation))
        self.layers = nn.Sequential(nn.Flatten(), *hidden)
        self.out = nn.Linear(sizes[-1], _outputs(self))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Posterior:
        x = with_labels(x.flatten(1), labels, self.num_classes)
        return _posterior(self, self.out(self.layers(x)))


class MLPDecoder(Decoder):
    """Maps codes (B, latent_size) to parameters (B, outputs, C, H, W) through hidden layers.

    Arguments:
        shape: (C, H, W) of the images.
        latent_size: Length of the codes.
        widths: Units of the hidden layers. Without any it is linear.
        outputs: Numbers per sub-pixel: 1 for Bernoulli, 2 for DiscretizedLogistic and Gaussian.
        num_classes: Classes, or attributes, of which each image is to be.
        activation: Follows each hidden layer.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        latent_size: int = 20,
        widths: tuple[int, ...] = (400, 400),
        outputs: int = 1,
        num_classes: int | None = None,
        activation: HiddenActivation = "silu",
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, latent_size=latent_size, widths=widths or None, outputs=outputs)
        check_sizes(num_classes=num_classes)
        self.shape, self.latent_size, self.outputs = shape, latent_size, outputs
        self.num_classes = num_classes
        sizes = (latent_size + (num_classes or 0), *widths)
        self.layers = nn.Sequential(*hidden_layers(sizes, activation_of(activation)))
        self.out = nn.Linear(sizes[-1], outputs * prod(shape))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        z = with_labels(z, labels, self.num_classes)
        return self.out(self.layers(z)).unflatten(1, (self.outputs, *self.shape))


class MLPUpperCodes(UpperCodes):
    """A layer of codes above others, with hidden layers up to it and, mirrored, down again.

    Arguments:
        below_size: Length of the codes below.
        latent_size: Length of its own codes.
        widths: Units of the hidden layers, from the codes below upwards. Without any it is linear.
        activation: Follows each hidden layer.
    """

    def __init__(
        self,
        below_size: int = 100,
        latent_size: int = 50,
        widths: tuple[int, ...] = (100, 100),
        activation: HiddenActivation = "tanh",
    ) -> None:
        super().__init__()
        check_sizes(below_size=below_size, latent_size=latent_size, widths=widths or None)
        self.below_size, self.latent_size = below_size, latent_size
        up, down = (below_size, *widths), (latent_size, *reversed(widths))
        act = activation_of(activation)
        self.up = nn.Sequential(*hidden_layers(up, act), nn.Linear(up[-1], 2 * latent_size))
        self.down = nn.Sequential(*hidden_layers(down, act), nn.Linear(down[-1], 2 * below_size))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = self.down(z).chunk(2, dim=1)
        return mean, log_var

    def recognise(self, below: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = self.up(below).chunk(2, dim=1)
        return mean, log_var


class ConvEncoder(Encoder):
    """Maps images to the mean and log-variance of codes; each convolution halves the size.

    It normalises nothing, so that an image's code does not depend on the batch.

    Arguments:
        shape: (C, H, W) of the images; H and W divisible by 2 for each convolution.
        latent_size: Length of the codes.
        widths: Channels of the convolutions.
        hidden: Units of the fully connected layer.
        unit_variance: Say nothing of the variance, which is 1.
        context_size: Length of what a flow of the codes is told, if there is a flow.
        num_classes: Classes, or attributes, of which each image is said to be.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        latent_size: int = 32,
        widths: tuple[int, ...] = (16, 32),
        hidden: int = 128,
        unit_variance: bool = False,
        context_size: int = 0,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, latent_size=latent_size, widths=widths, hidden=hidden)
        check_sizes(num_classes=num_classes)
        self.shape, self.latent_size, self.num_classes = shape, latent_size, num_classes
        self.unit_variance, self.context_size = unit_variance, _context(context_size)
        inner = inner_shape(shape, widths)
        layers: list[nn.Module] = []
        for a, b in pairwise((shape[0] + (num_classes or 0), *widths)):
            layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.SiLU()]
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), *hidden_layers((prod(inner), hidden), nn.SiLU)
        )
        self.out = nn.Linear(hidden, _outputs(self))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Posterior:
        return _posterior(self, self.out(self.layers(with_labels(x, labels, self.num_classes))))


class ConvDecoder(Decoder):
    """Maps codes to parameters (B, outputs, C, H, W); each convolution doubles the size.

    Arguments:
        shape: (C, H, W) of the images; H and W divisible by 2 for each convolution.
        latent_size: Length of the codes.
        widths: Channels of the convolutions, from the image inwards, as the encoder has them.
        hidden: Units of the fully connected layer.
        outputs: Numbers per sub-pixel: 1 for Bernoulli, 2 for DiscretizedLogistic and Gaussian.
        num_classes: Classes, or attributes, of which each image is to be.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        latent_size: int = 32,
        widths: tuple[int, ...] = (16, 32),
        hidden: int = 128,
        outputs: int = 1,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, latent_size=latent_size, widths=widths, hidden=hidden)
        check_sizes(outputs=outputs, num_classes=num_classes)
        self.shape, self.latent_size, self.outputs = shape, latent_size, outputs
        self.num_classes = num_classes
        inner = inner_shape(shape, widths)
        first = latent_size + (num_classes or 0)
        layers = hidden_layers((first, hidden, prod(inner)), nn.SiLU)
        layers.append(nn.Unflatten(1, inner))
        for a, b in pairwise((*reversed(widths), outputs * shape[0])):
            layers += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1), nn.SiLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        z = with_labels(z, labels, self.num_classes)
        return self.layers(z).unflatten(1, (self.outputs, self.shape[0]))


def activation_of(name: HiddenActivation) -> type[nn.Module]:
    """The class of an activation."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {name}")
    return ACTIVATIONS[name]


def _context(size: int) -> int:
    if size < 0:
        raise ValueError(f"context_size must be 0, for none, or more, got {size}")
    return size


def _outputs(encoder: "MLPEncoder | ConvEncoder") -> int:
    """How many numbers are said of an image."""
    return encoder.latent_size * (1 if encoder.unit_variance else 2) + encoder.context_size


def _posterior(encoder: "MLPEncoder | ConvEncoder", numbers: Tensor) -> Posterior:
    """What the numbers (B, outputs) mean: means, log-variances unless they are 0, and a context."""
    size = encoder.latent_size
    if encoder.unit_variance:
        mean, context = numbers[:, :size], numbers[:, size:]
        return Posterior(mean, torch.zeros_like(mean), context)
    return Posterior(numbers[:, :size], numbers[:, size : 2 * size], numbers[:, 2 * size :])
