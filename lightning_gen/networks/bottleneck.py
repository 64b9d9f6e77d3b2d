"""Deterministic encoders of images into codes, and decoders with several ways up to the pixels.

The decoder of `MLPCoder` is `MLPDecoder`; those here make parameters of distributions as it does, so
that a variational autoencoder can have them as well.

References:
    | Adaptive Deconvolutional Networks (Zeiler et al., 2011), https://doi.org/10.1109/ICCV.2011.6126474,
    | for unpooling by switches
    | Stacked Denoising Autoencoders (Vincent et al., 2010)
    | https://www.jmlr.org/papers/v11/vincent10a.html, for the levels
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Literal, cast

import torch.nn.functional as F
from torch import Tensor, nn

from ..nn.bottleneck import Coder, Doubling, LevelCoder, LevelDecoder, WayUp
from ..nn.labels import refuse_labels
from ..nn.roles import Decoder
from ..nn.sizes import check_sizes, inner_shape
from .mlp import hidden_layers


class MLPCoder(Coder):
    """Maps images (B, C, H, W) to codes through hidden ReLU layers.

    Arguments:
        shape: (C, H, W) of the images.
        latent_size: Length of the codes.
        widths: Units of the hidden layers.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        latent_size: int = 32,
        widths: tuple[int, ...] = (400, 400),
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, latent_size=latent_size, widths=widths)
        self.shape, self.latent_size = shape, latent_size
        layers = hidden_layers((prod(shape), *widths))
        self.layers = nn.Sequential(nn.Flatten(), *layers, nn.Linear(widths[-1], latent_size))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class ConvCoder(Coder):
    """Maps images to codes; each convolution halves the size. It normalises nothing.

    Arguments:
        shape: (C, H, W) of the images; H and W divisible by 2 for each convolution.
        latent_size: Length of the codes.
        widths: Channels of the convolutions.
        down: "stride" for 4 x 4 convolutions of stride 2; "pool" for 3 x 3 convolutions and the
            maximum of two by two, whose places a decoder that unpools is told.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        latent_size: int = 32,
        widths: tuple[int, ...] = (16, 32),
        down: Literal["stride", "pool"] = "stride",
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, latent_size=latent_size, widths=widths)
        if down not in ("stride", "pool"):
            raise ValueError(f"down must be stride or pool, got {down}")
        self.shape, self.latent_size, self.down, self.widths = shape, latent_size, down, widths
        kernel, stride = (4, 2) if down == "stride" else (3, 1)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, kernel, stride, padding=1) for a, b in pairwise((shape[0], *widths))
        )
        self.out = nn.Linear(prod(inner_shape(shape, widths)), latent_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.with_switches(x)[0]

    def with_switches(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        switches = []
        for convolution in self.convolutions:
            x = F.relu(convolution(x))
            if self.down == "pool":
                x, places = F.max_pool2d(x, 2, return_indices=True)
                switches.append(places)
        return self.out(x.flatten(1)), switches


class UpsamplingDecoder(Decoder):
    """Maps codes to parameters (B, outputs, C, H, W); each convolution doubles the size.

    Arguments:
        shape: (C, H, W) of the images; H and W divisible by 2 for each convolution.
        latent_size: Length of the codes.
        widths: Channels of the convolutions, from the image inwards, as the encoder has them.
        up: The way from each map to the next finer one.
        use_switches: With "unpool", take the switches of an encoder that pools, which tell of the
            image what its code does not. From a code alone, or without them, each number is put at
            the top left of its two by two places.
        outputs: Numbers per sub-pixel: 1 for an autoencoder; see `MLPDecoder`.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        latent_size: int = 32,
        widths: tuple[int, ...] = (16, 32),
        up: WayUp = "transposed",
        use_switches: bool = True,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, latent_size=latent_size, widths=widths, outputs=outputs)
        self.shape, self.latent_size, self.outputs = shape, latent_size, outputs
        self.unpools, self.widths = up == "unpool" and use_switches, widths
        inner = inner_shape(shape, widths)
        self.first = nn.Sequential(nn.Linear(latent_size, prod(inner)), nn.Unflatten(1, inner))
        sizes = pairwise((*reversed(widths), outputs * shape[0]))
        self.doublings = nn.ModuleList(Doubling(a, b, up) for a, b in sizes)

    def forward(
        self, z: Tensor, labels: Tensor | None = None, switches: Sequence[Tensor] = ()
    ) -> Tensor:
        """Maps codes (B, latent_size) to parameters (B, outputs, C, H, W).

        Arguments:
            z: The codes.
            labels: It is given none.
            switches: Of `Coder.with_switches`, for "unpool" only.
        """
        refuse_labels(labels)
        x, left = self.first(z), list(switches)
        for doubling in self.doublings:
            x = doubling(F.relu(x), left.pop() if left else None)
        return x.unflatten(1, (self.outputs, self.shape[0]))


class StackedCoder(LevelCoder):
    """Levels of sigmoid units, each of which reads all of the one below.

    Arguments:
        shape: (C, H, W) of the images.
        widths: Units of the levels; the last one is the code.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        widths: tuple[int, ...] = (1000, 1000, 1000),
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, widths=widths)
        self.shape, self.latent_size = shape, widths[-1]
        sizes = pairwise((prod(shape), *widths))
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Flatten(), nn.Linear(a, b), nn.Sigmoid()) for a, b in sizes
        )


class StackedDecoder(LevelDecoder):
    """The levels of `StackedCoder` backwards, with weights of their own where Vincent et al. tie them.

    Arguments:
        shape: (C, H, W) of the images.
        widths: Units of the encoder's levels, from the image inwards.
    """

    outputs = 1

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        widths: tuple[int, ...] = (1000, 1000, 1000),
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, widths=widths)
        self.shape, self.latent_size = shape, widths[-1]
        sizes = tuple(reversed(widths))
        inner = [nn.Sequential(nn.Linear(a, b), nn.Sigmoid()) for a, b in pairwise(sizes)]
        last = nn.Sequential(nn.Linear(widths[0], prod(shape)), nn.Unflatten(1, (1, *shape)))
        self.levels = nn.ModuleList(cast(list[nn.Module], [*inner, last]))
