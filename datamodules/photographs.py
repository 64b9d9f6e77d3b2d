"""What data sets of encoded photographs share."""

from typing import Any

from torch import Tensor

from lightning_gen.randomness import Noise

from .base import ImageData, flip
from .decoding import Decoder, Decodes


class Photographs(ImageData):
    """Images that are cropped and resized while they are decoded, by Pillow, antialiased.

    Arguments:
        size: Height and width of what is served, pixels.
        crop: Height and width of the centre that is kept; None keeps the largest square.
        resample: The filter: "box", "bilinear", "bicubic" or "lanczos".
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
        flip: Mirror half of the training images.
        in_memory: Decode all images once, into memory; by default if a split then takes at most
            64 MiB. Otherwise workers decode them each time.
        kwargs: See `ImageData`.
    """

    def __init__(
        self,
        size: int = 64,
        crop: int | None = None,
        resample: str = "bicubic",
        channels: int = 3,
        flip: bool = True,
        in_memory: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.decoder: Decodes = Decoder(channels, size, crop, resample)
        self.shape = (channels, size, size)
        self.source = str(self.decoder)
        self.flip = flip
        if in_memory is not None:
            self.decode_limit = 2**63 if in_memory else 0

    def augment(self, images: Tensor, noise: Noise) -> Tensor:
        return flip(images, noise) if self.flip else images
