"""Encoders of images into Gaussian codes, and the decoders that mirror them."""

from itertools import pairwise
from math import prod

from torch import Tensor, nn

from ..nn.roles import Decoder, Encoder
from ..nn.sizes import check_sizes
from .mlp import hidden_layers


class MLPEncoder(Encoder):
    """Maps images (B, C, H, W) to the mean and log-variance of codes through hidden layers.

    Arguments:
        shape: (C, H, W) of the images.
        latent_size: Length of the codes.
        widths: Units of the hidden layers.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        latent_size: int = 20,
        widths: tuple[int, ...] = (400, 400),
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, latent_size=latent_size, widths=widths)
        self.shape, self.latent_size = shape, latent_size
        self.layers = nn.Sequential(nn.Flatten(), *hidden_layers((prod(shape), *widths), nn.SiLU))
        self.out = nn.Linear(widths[-1], 2 * latent_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = self.out(self.layers(x)).chunk(2, dim=1)
        return mean, log_var


class MLPDecoder(Decoder):
    """Maps codes (B, latent_size) to parameters (B, outputs, C, H, W) through hidden layers.

    Arguments:
        shape: (C, H, W) of the images.
        latent_size: Length of the codes.
        widths: Units of the hidden layers.
        outputs: Numbers per sub-pixel: 1 for Bernoulli, 2 for DiscretizedLogistic and Gaussian.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        latent_size: int = 20,
        widths: tuple[int, ...] = (400, 400),
        outputs: int = 1,
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, latent_size=latent_size, widths=widths, outputs=outputs)
        self.shape, self.latent_size, self.outputs = shape, latent_size, outputs
        self.layers = nn.Sequential(*hidden_layers((latent_size, *widths), nn.SiLU))
        self.out = nn.Linear(widths[-1], outputs * prod(shape))

    def forward(self, z: Tensor) -> Tensor:
        return self.out(self.layers(z)).unflatten(1, (self.outputs, *self.shape))


class ConvEncoder(Encoder):
    """Maps images to the mean and log-variance of codes; each convolution halves the size.

    It normalises nothing, so that an image's code does not depend on the batch.

    Arguments:
        shape: (C, H, W) of the images; H and W divisible by 2 for each convolution.
        latent_size: Length of the codes.
        widths: Channels of the convolutions.
        hidden: Units of the fully connected layer.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        latent_size: int = 32,
        widths: tuple[int, ...] = (16, 32),
        hidden: int = 128,
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, latent_size=latent_size, widths=widths, hidden=hidden)
        self.shape, self.latent_size = shape, latent_size
        inner = _inner_shape(shape, widths)
        layers: list[nn.Module] = []
        for a, b in pairwise((shape[0], *widths)):
            layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.SiLU()]
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), *hidden_layers((prod(inner), hidden), nn.SiLU)
        )
        self.out = nn.Linear(hidden, 2 * latent_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = self.out(self.layers(x)).chunk(2, dim=1)
        return mean, log_var


class ConvDecoder(Decoder):
    """Maps codes to parameters (B, outputs, C, H, W); each convolution doubles the size.

    Arguments:
        shape: (C, H, W) of the images; H and W divisible by 2 for each convolution.
        latent_size: Length of the codes.
        widths: Channels of the convolutions, from the image inwards, as the encoder has them.
        hidden: Units of the fully connected layer.
        outputs: Numbers per sub-pixel: 1 for Bernoulli, 2 for DiscretizedLogistic and Gaussian.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        latent_size: int = 32,
        widths: tuple[int, ...] = (16, 32),
        hidden: int = 128,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, latent_size=latent_size, widths=widths, hidden=hidden)
        check_sizes(outputs=outputs)
        self.shape, self.latent_size, self.outputs = shape, latent_size, outputs
        inner = _inner_shape(shape, widths)
        layers = hidden_layers((latent_size, hidden, prod(inner)), nn.SiLU)
        layers.append(nn.Unflatten(1, inner))
        for a, b in pairwise((*reversed(widths), outputs * shape[0])):
            layers += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1), nn.SiLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).unflatten(1, (self.outputs, self.shape[0]))


def _inner_shape(shape: tuple[int, int, int], widths: tuple[int, ...]) -> tuple[int, int, int]:
    """What is left of an image when every convolution has halved it."""
    _, height, width = shape
    scale = 2 ** len(widths)
    if height % scale or width % scale:
        raise ValueError(
            f"{len(widths)} convolutions of stride 2 need a height and width divisible by {scale}, "
            f"got {height} x {width}"
        )
    return (widths[-1], height // scale, width // scale)
