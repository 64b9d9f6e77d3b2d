"""Encoded images to uint8 (C, H, W): any mode that Pillow reads, a centre crop, one resize.

- Orientation marks of cameras are applied.
- Palettes become colours. Without an alpha channel among the wanted ones, transparent images are
  laid on white; with one, opaque images get 255.
- 16-bit grey is divided by 257 and rounded. CMYK and other colour spaces are converted to RGB by
  Pillow, without colour profiles.
- Of an animation the first frame is taken.
"""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Protocol

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import DataError

RESAMPLING = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
BROKEN = (  # what Pillow raises, as the broken bytes lead it
    OSError,
    SyntaxError,
    struct.error,
    zlib.error,
    EOFError,
    MemoryError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    Image.DecompressionBombError,
)
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def resize(image: Image.Image, size: int, resample: str) -> Image.Image:
    """A square image of another size, antialiased as Pillow does."""
    if image.size == (size, size):
        return image
    return image.resize((size, size), RESAMPLING[resample])


class Decodes(Protocol):
    """Makes pixels of an encoded image."""

    @property
    def channels(self) -> int: ...

    @property
    def size(self) -> int: ...

    def __call__(self, data: bytes, where: str) -> np.ndarray:
        """uint8 (channels, size, size); `where` names the image in errors."""


@dataclass(frozen=True)
class Decoder:
    """Decodes, crops the centre and resizes.

    Arguments:
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
        size: Height and width of what comes out, pixels.
        crop: Height and width of the centre that is kept; by default the largest square.
        resample: The filter of the resize.
    """

    channels: int = 3
    size: int = 64
    crop: int | None = None
    resample: str = "bicubic"

    def __post_init__(self) -> None:
        if self.channels not in MODES:
            raise ValueError(f"channels must be 1, 2, 3 or 4, got {self.channels}")
        if self.size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {self.size}")
        if self.crop is not None and self.crop < 1:
            raise ValueError(f"crop must be at least 1 pixel, got {self.crop}")
        if self.resample not in RESAMPLING:
            raise ValueError(
                f"resample must be one of {', '.join(RESAMPLING)}, got {self.resample}"
            )

    def __call__(self, data: bytes, where: str) -> np.ndarray:
        """The image (C, H, W) of an encoded one; `where` names it if it is broken."""
        try:
            image = open_image(data, where)
            ImageOps.exif_transpose(image, in_place=True)
            image = to_mode(image, MODES[self.channels], where)
            pixels = np.asarray(resize(self._centre(image, where), self.size, self.resample))
        except DataError:
            raise
        except BROKEN as error:
            raise undecodable(where, error) from None
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    def __str__(self) -> str:
        crop = "square" if self.crop is None else str(self.crop)
        return f"{MODES[self.channels]} centre crop {crop}, {self.resample} to {self.size}"

    def _centre(self, image: Image.Image, where: str) -> Image.Image:
        width, height = image.size
        side = min(width, height) if self.crop is None else self.crop
        if side > min(width, height):
            raise DataError(
                f"{where} is {width}x{height}, too small for a crop of {side}; remove it or crop less"
            )
        left, top = (width - side) // 2, (height - side) // 2
        return image.crop((left, top, left + side, top + side))


def undecodable(where: str, error: Exception) -> DataError:
    """The sentence about an image that Pillow gave up on."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(f"{where} cannot be decoded ({reason}); replace or remove it")


def open_image(data: bytes, where: str) -> Image.Image:
    """Opens an image without decoding its pixels; refuses decompression bombs."""
    try:
        image = Image.open(BytesIO(data))  # warns of what is an error below
        too_large = image.width * image.height > (Image.MAX_IMAGE_PIXELS or float("inf"))
    except Image.DecompressionBombError:
        too_large = True
    except UnidentifiedImageError:
        bands = tiff_bands(data)
        if bands > 4:
            raise DataError(f"{where} has {bands} channels; at most 4 can be served") from None
        raise DataError(f"{where} is not an image that Pillow can read; remove it") from None
    except BROKEN as error:
        raise undecodable(where, error) from None
    if too_large:
        raise DataError(
            f"{where} has more than {Image.MAX_IMAGE_PIXELS} pixels, which may be a decompression "
            "bomb; make it smaller or remove it"
        )
    if image.format == "EPS":  # Pillow would start Ghostscript
        raise DataError(f"{where} is PostScript, which is a program; convert it or remove it")
    return image


def to_mode(image: Image.Image, mode: str, where: str) -> Image.Image:
    """An image in mode L, LA, RGB or RGBA, 8 bits per channel."""
    if len(image.getbands()) > 4:
        raise DataError(f"{where} has {len(image.getbands())} channels; at most 4 can be served")
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise DataError(f"{where} has levels outside 16 bits; store it with 8 or 16 bits")
        image = Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    elif image.mode == "F":
        raise DataError(f"{where} has floating point levels; store it with 8 or 16 bits")
    if image.mode == mode:
        return image
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if mode in ("L", "RGB"):
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
    elif image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return image.convert(mode)


def tiff_bands(data: bytes) -> int:
    """How many channels a TIFF file says it has, 0 for what is no TIFF file."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return 0
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (entries,) = struct.unpack_from(f"{order}H", data, start)
        for entry in range(start + 2, start + 2 + 12 * entries, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", data, entry)
            if tag == 277:  # SamplesPerPixel
                return value
    except struct.error:
        return 0
    return 1
