"""Every kind of image becomes uint8 (C, H, W), or one sentence that names it."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from datamodules import DataError
from datamodules.decoding import RESAMPLING, Decoder


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(bands, side=4):
    """An uncompressed TIFF of zeros with any number of channels, which Pillow cannot write."""
    data = bytes(side * side * bands)
    tags = {256: side, 257: side, 258: 8, 259: 1, 262: 1, 273: 8, 277: bands, 278: side}
    tags[279] = len(data)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    header = b"II*\0" + struct.pack("<I", 8 + len(data))
    return header + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def pixel(image, channels=3, kind="PNG", **options):
    """The first pixel of an image once it is written and decoded."""
    decoded = Decoder(channels, 4)(encoded(image, kind, **options), "image")
    assert decoded.dtype == np.uint8
    assert decoded.shape == (channels, 4, 4)
    return decoded[:, 0, 0].tolist()


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "grey", "rgb", "rgba"),
    [
        ("L", 7, "PNG", [7], [7, 7, 7], [7, 7, 7, 255]),
        ("1", 1, "PNG", [255], [255] * 3, [255] * 4),
        ("RGB", (255, 0, 0), "PNG", [76], [255, 0, 0], [255, 0, 0, 255]),
        ("RGBA", (10, 20, 30, 0), "PNG", [255], [255] * 3, [0] * 4),
        ("RGBA", (10, 20, 30, 255), "PNG", [18], [10, 20, 30], [10, 20, 30, 255]),
        ("LA", (9, 0), "PNG", [255], [255] * 3, [0] * 4),
        ("CMYK", (0, 255, 0, 0), "TIFF", [105], [255, 0, 255], [255, 0, 255, 255]),
        ("I;16", 65535, "PNG", [255], [255] * 3, [255] * 4),
        ("I;16", 7 * 257, "TIFF", [7], [7, 7, 7], [7, 7, 7, 255]),
        ("I", 7 * 257, "TIFF", [7], [7, 7, 7], [7, 7, 7, 255]),
    ],
)
def test_modes_become_the_wanted_channels(mode, colour, kind, grey, rgb, rgba):
    image = Image.new(mode, (8, 6), colour)
    assert pixel(image, 1, kind) == grey
    assert pixel(image, 3, kind) == rgb
    assert pixel(image, 4, kind) == rgba


def test_palettes_become_colours_and_their_transparency_white():
    image = Image.new("P", (8, 6), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    assert pixel(image) == [200, 100, 50]
    assert pixel(image, transparency=1) == [255, 255, 255]
    assert pixel(image, 4, transparency=1)[3] == 0


def test_the_orientation_of_a_camera_is_applied():
    image = Image.new("L", (6, 6))
    image.paste(255, (0, 0, 6, 3))  # bright above
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    decoded = Decoder(1, 6)(encoded(image, exif=exif), "image")[0]
    assert (decoded[:3] == 0).all()
    assert (decoded[3:] == 255).all()


def test_the_largest_centre_square_is_kept():
    levels = np.zeros((4, 10), np.uint8)
    levels[:, 3:7] = np.arange(16).reshape(4, 4)
    decoded = Decoder(1, 4)(encoded(Image.fromarray(levels)), "image")
    assert (decoded[0] == np.arange(16).reshape(4, 4)).all()


def test_a_crop_keeps_the_centre():
    levels = np.arange(60, dtype=np.uint8).reshape(6, 10)
    decoded = Decoder(1, 2, crop=2)(encoded(Image.fromarray(levels)), "image")
    assert (decoded[0] == levels[2:4, 4:6]).all()


@pytest.mark.parametrize("resample", RESAMPLING)
def test_shrinking_averages_instead_of_picking_pixels(resample):
    board = np.indices((64, 64)).sum(0) % 2 * 255
    decoded = Decoder(1, 8, resample=resample)(encoded(Image.fromarray(board.astype(np.uint8))), "")
    assert abs(decoded[0, 2:6, 2:6].astype(int) - 127).max() <= 2


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))


def damaged(data):
    return data[:200] + bytes([data[200] ^ 255]) + data[201:]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (encoded(NOISE, "JPEG")[:2000], r"me\.jpg cannot be decoded \(.*truncated.*replace"),
        (encoded(NOISE)[:2000], r"me\.jpg cannot be decoded"),
        (damaged(encoded(NOISE)), r"me\.jpg cannot be decoded"),
        (b"", r"me\.jpg is not an image that Pillow can read"),
        (b"<html>", r"me\.jpg is not an image that Pillow can read"),
        (encoded(NOISE, "EPS"), r"me\.jpg is PostScript, which is a program; convert it"),
        (tiff(5), r"me\.jpg has 5 channels; at most 4"),
        (tiff(7), r"me\.jpg has 7 channels; at most 4"),
        (encoded(Image.new("F", (8, 6)), "TIFF"), r"me\.jpg has floating point levels"),
        (encoded(Image.new("I", (8, 6), 70000), "TIFF"), r"me\.jpg has levels outside 16 bits"),
    ],
)
def test_what_cannot_be_served_is_named_in_one_sentence(data, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        Decoder()(data, "me.jpg")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", ["Image.open", "ImageFile.ImageFile.load"])
@pytest.mark.parametrize(
    "error", [ValueError("a\nb"), KeyError("x"), ZeroDivisionError(), TypeError(), OSError(5, "x")]
)
def test_whatever_pillow_raises_is_one_sentence(monkeypatch, name, error):
    def fail(*_, **__):
        raise error

    data = encoded(NOISE)
    monkeypatch.setattr(f"PIL.{name}", fail)
    with pytest.raises(DataError, match=r"me\.png cannot be decoded \(.+\); replace") as caught:
        Decoder(1)(data, "me.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("limit", [3000, 2000])  # 4,800 pixels: a warning, and an error of Pillow
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bombs_are_refused(monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match=r"me\.png has more than .* bomb"):
        Decoder()(encoded(NOISE), "me.png")


def test_a_crop_that_does_not_fit_is_refused():
    with pytest.raises(DataError, match="me.png is 80x60, too small for a crop of 61"):
        Decoder(crop=61)(encoded(NOISE), "me.png")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"channels": 5}, "channels must be 1, 2, 3 or 4, got 5"),
        ({"size": 0}, "size must be at least 1"),
        ({"resample": "nearest"}, "resample must be one of box, bilinear"),
    ],
)
def test_bad_arguments_are_refused_at_construction(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Decoder(**arguments)
