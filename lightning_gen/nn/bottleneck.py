"""Images through a bottleneck: the role of a deterministic encoder, and ways up from coarse to fine maps."""

from abc import ABC, abstractmethod
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from .labels import refuse_labels
from .roles import Decoder

WayUp = Literal["nearest", "bilinear", "unpool", "transposed"]


class Coder(nn.Module, ABC):
    """Maps each image to one code, where an `Encoder` gives a Gaussian over codes."""

    shape: tuple[int, int, int]
    latent_size: int

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Maps images (B, *shape) to codes (B, latent_size)."""

    def with_switches(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Codes, and where each pooling found its maxima, the finest map first; by default nowhere."""
        return self(x), []


class LevelCoder(Coder):
    """A coder of several levels, each of which reads the one below and gives numbers in [0, 1]."""

    levels: nn.ModuleList  # the first one reads images

    def forward(self, x: Tensor) -> Tensor:
        return self.below(x, len(self.levels))

    def below(self, x: Tensor, level: int) -> Tensor:
        """What a level reads: the images themselves, or what the levels below make of them."""
        for part in self.levels[:level]:  # type: ignore[union-attr]
            x = part(x)
        return x


class LevelDecoder(Decoder):
    """Levels that mirror those of a `LevelCoder`, the one that reads codes first.

    The last one gives the parameters (B, outputs, C, H, W), the others numbers in [0, 1].
    """

    levels: nn.ModuleList

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        refuse_labels(labels)
        for part in self.levels:
            z = part(z)
        return z


class Unpool(nn.Module):
    """Doubles maps by putting each number in one of two by two places, and zeros in the others.

    The place is where the maximum was that an encoder's pooling kept, its switch. A code alone says
    nothing of switches; then it is the place at the top left.
    """

    def forward(self, x: Tensor, switches: Tensor | None = None) -> Tensor:
        """Maps (B, C, H, W) to (B, C, 2 H, 2 W).

        Arguments:
            x: The maps.
            switches: Indices of `max_pool2d`, (B, C, H, W).
        """
        if switches is not None:
            return F.max_unpool2d(x, switches, [2, 2])
        batch, channels, height, width = x.shape
        fine = x.new_zeros(batch, channels, 2 * height, 2 * width)
        fine[..., ::2, ::2] = x
        return fine


class Doubling(nn.Module):
    """Doubles the height and width of maps in one of several ways, each with a convolution.

    Arguments:
        inputs: Channels of the coarse maps.
        outputs: Channels of the fine ones.
        way: "nearest" and "bilinear" enlarge and then convolve; so does "unpool", by `Unpool`;
            "transposed" is one convolution that strides over the fine maps.
    """

    def __init__(self, inputs: int, outputs: int, way: WayUp) -> None:
        super().__init__()
        self.enlarge: nn.Module = nn.Identity()
        if way == "transposed":
            # A kernel that the stride divides, so that every place is met by as many weights.
            self.convolve: nn.Module = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)
            return
        if way == "unpool":
            self.enlarge = Unpool()
        elif way in ("nearest", "bilinear"):
            self.enlarge = nn.Upsample(scale_factor=2, mode=way)
        else:
            raise ValueError(f"up must be nearest, bilinear, unpool or transposed, got {way}")
        self.convolve = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor, switches: Tensor | None = None) -> Tensor:
        """Maps (B, inputs, H, W) to (B, outputs, 2 H, 2 W); switches are for "unpool" only."""
        x = self.enlarge(x) if switches is None else self.enlarge(x, switches)
        return self.convolve(x)


def check_fit(encoder: Coder, decoder: Decoder, level_images: int = 0) -> None:
    """Raises ValueError for an encoder and a decoder that do not go together.

    Arguments:
        encoder: The encoder.
        decoder: The decoder.
        level_images: By how many images each level is fitted alone, if both have levels.
    """
    for what, mine, other in (
        ("latent_size", encoder.latent_size, decoder.latent_size),
        ("shape", tuple(encoder.shape), tuple(decoder.shape)),
    ):
        if mine != other:
            raise ValueError(f"the encoder's {what} is {mine} but the decoder's is {other}")
    if decoder.num_classes is not None:
        raise ValueError("the decoder must be given no labels; leave its num_classes out")
    if decoder.outputs != 1:
        raise ValueError(f"the decoder's outputs must be 1 per sub-pixel, got {decoder.outputs}")
    switched = getattr(decoder, "unpools", False) and getattr(encoder, "down", "") == "pool"
    if switched and encoder.widths != decoder.widths:
        raise ValueError(
            f"to unpool by the encoder's switches, widths of the decoder must be those of the "
            f"encoder, {encoder.widths}, got {decoder.widths}"
        )
    if level_images < 0:
        raise ValueError(f"level_images must not be negative, got {level_images}")
    counts = [len(getattr(net, "levels", ())) for net in (encoder, decoder)]
    if level_images and (0 in counts or counts[0] != counts[1]):
        raise ValueError(
            "level_images needs an encoder and a decoder of as many levels, such as StackedCoder "
            f"and StackedDecoder, got {type(encoder).__name__} and {type(decoder).__name__}"
        )
