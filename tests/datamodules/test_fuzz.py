"""Two hundred files of every kind of damage: served or listed, and nothing else."""

import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import DataError, ImageFolder

from .test_decoding import encoded, tiff

SIZE = 8
KINDS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "TGA")
MODES = ("L", "P", "RGB", "RGBA", "LA", "1", "I;16", "CMYK")


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(side=14_000):
    """A PNG of black pixels, a thousand times as large once it is decoded."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes(side * (1 + side // 8)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(name, part) for name, part in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )


def picture(rng, kind):
    noise = Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8))
    return encoded(noise, kind)


def odd_mode(rng):
    mode = MODES[rng.integers(len(MODES))]
    noise = Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8))
    return encoded(
        noise.convert("L").convert(mode) if mode == "I;16" else noise.convert(mode), "TIFF"
    )


def flipped(rng, data):
    damaged = bytearray(data)
    for place in rng.integers(0, len(damaged), rng.integers(1, 20)):
        damaged[place] ^= 1 << rng.integers(8)
    return bytes(damaged)


def write(folder, count=200):
    """Files of eleven sorts; gives those that are certainly bad and certainly good."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    bad, good, huge = set(), set(), bomb()
    for k in range(count):
        path, data = folder / f"{k:03}.png", picture(rng, KINDS[rng.integers(len(KINDS))])
        sort = k % 11
        if sort == 0:
            good.add(path)
        elif sort == 1:
            data = data[: rng.integers(len(data))]
        elif sort == 2:
            data = flipped(rng, data)
        elif sort == 3:
            data = odd_mode(rng)
            good.add(path)
        else:
            bad.add(path)
            data = {
                4: b"",
                5: rng.bytes(500),
                6: huge if k == 6 else huge[:60],
                7: b"<!DOCTYPE html>\n<title>404 Not Found</title>\n",
                8: tiff(5),
                9: encoded(Image.new("F", (8, 6)), "TIFF"),
            }.get(sort)
        if data is None:
            path.symlink_to(folder / "nowhere")
        else:
            path.write_bytes(data)
    (folder / "directory.png").mkdir()
    return bad, good


@pytest.fixture
def damaged(tmp_path):
    return tmp_path / "images", *write(tmp_path / "images")


def images(folder, policy, **kwargs):
    options = {"size": SIZE, "flip": False, "in_memory": False, "on_corrupt": policy}
    return ImageFolder(folder, val_size=0, test_size=1, batch_size=16, **{**options, **kwargs})


def refused(data, place):
    """What is said of an image that alone is refused, "" for one that is served."""
    try:
        pixels, _ = data.splits.train[torch.tensor([place])]
    except DataError as error:
        return str(error)
    assert pixels.shape == (1, 3, SIZE, SIZE)
    return ""


@pytest.mark.parametrize("options", [{"num_workers": 0}, {"num_workers": 2}, {"in_memory": True}])
def test_every_damaged_file_is_decoded_or_listed(damaged, options):
    folder, bad, good = damaged
    alone = images(folder, "fail")
    keys = [str(folder / os.fsdecode(key)) for key in alone.splits.train.keys]
    said = {key: sentence for place, key in enumerate(keys) if (sentence := refused(alone, place))}
    unreadable = set(said)
    for key, sentence in said.items():
        assert sentence.startswith(f"{key} ")
        assert "\n" not in sentence
    data = images(folder, "skip", **options)
    shapes = [(len(pixels), *pixels.shape[1:]) for pixels, _ in data.loader("train")]
    assert sum(shape[0] for shape in shapes) == len(keys) == 199
    assert {shape[1:] for shape in shapes} == {(3, SIZE, SIZE)}
    assert set(data.corrupt("train")) == unreadable
    present = set(keys)
    assert {str(path) for path in bad} & present <= unreadable
    assert not {str(path) for path in good} & unreadable
    assert len(unreadable) > 100
