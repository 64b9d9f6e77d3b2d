"""CelebA: faces of celebrities with forty attributes.

References:
    | Deep Learning Face Attributes in the Wild (Liu et al., 2015)
    | https://arxiv.org/abs/1411.7766
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torchvision
from torch import Tensor
from torchvision.datasets.utils import check_integrity, download_file_from_google_drive

from .archives import unpack
from .decoding import Decodes, open_image
from .errors import DataError
from .files import fetch, require, say, whole
from .images import Encoded, Splits
from .photographs import Photographs
from .sources import Files

ATTRIBUTES = 40
UNKNOWN = -1
ALIGNED = (178, 218)  # width and height, pixels
HEAD = ((89.0, 106.0), (54.0, 74.0))  # its centre and half its width and height in an aligned image
NEEDED = {  # what is downloaded, and what it becomes
    "img_align_celeba.zip": "img_align_celeba",
    "list_attr_celeba.txt": "list_attr_celeba.txt",
    "list_eval_partition.txt": "list_eval_partition.txt",
}


class CelebA(Photographs):
    """202,599 aligned faces of 178x218, cut into the official train, validation and test parts.

    Labels are forty attributes (B, 40), 1 or 0, and -1 where a partial list does not have them.

    Arguments:
        size: Height and width of what is served, pixels.
        crop: Height and width of the centre that is kept, pixels: 178 is all there is, 148 the head
            as in many VAE papers, 108 the face as in DCGAN and its successors. Scores with
            different crops cannot be compared.
        resample: See `Photographs`.
        flip: Mirror half of the training images.
        masks: Serve a fourth channel, white on the head and black elsewhere. CelebA has no masks, but
            its faces are aligned, so that one ellipse stands in for all heads: faces are in it, long
            hair, hats and necks are not. It takes 40, 57 and 90 % of the images for the three crops.
        in_memory: See `Photographs`.
        kwargs: See `ImageData`.
    """

    name = "celeba"
    num_attributes = ATTRIBUTES

    def __init__(
        self,
        size: int = 64,
        crop: Literal[178, 148, 108] = 178,
        resample: str = "bicubic",
        flip: bool = True,
        masks: bool = False,
        in_memory: bool | None = None,
        **kwargs: Any,
    ) -> None:
        if crop not in (178, 148, 108):
            raise ValueError(f"crop must be 178, 148 or 108 pixels, got {crop}")
        super().__init__(size, crop, resample, flip=flip, in_memory=in_memory, **kwargs)
        if masks:
            self.decoder = Heads(self.decoder, crop)
            self.shape, self.source = (self.decoder.channels, size, size), str(self.decoder)

    @property
    def folder(self) -> Path:
        return self.root / "celeba"

    def prepare_data(self) -> None:
        if self.download and not all((self.folder / name).exists() for name in NEEDED.values()):
            fetch(self.name, self.folder, self._download)

    def read(self) -> Splits:
        folder = require(self.name, self.folder / "img_align_celeba")
        rows = [row for row in _lines(self.folder / "list_eval_partition.txt") if row]
        if any(len(row) != 2 or row[1] not in ("0", "1", "2") for row in rows):
            raise DataError(f"{self.folder / 'list_eval_partition.txt'} is corrupt; replace it")
        present = set(os.listdir(folder))
        kept = [(name, int(part)) for name, part in rows if name in present]
        if not kept:
            raise FileNotFoundError(f"celeba needs images, but {folder} has none of the list")
        self.label_names, known = read_attributes(self.folder / "list_attr_celeba.txt")
        if len(kept) < 202_599 or len(known) < len(kept):
            without = sum(name not in known for name, _ in kept)
            say(
                f"celeba: {len(kept):,} of 202,599 images, {without:,} of them without attributes "
                f"(served as {UNKNOWN})"
            )
        if not any(part == 0 for _, part in kept):
            raise DataError(f"celeba needs images to train on, but {folder} has none; add some")
        return Splits(*(self._part(folder, kept, known, part) for part in range(3)))

    def _download(self) -> None:
        for address, checksum, file in torchvision.datasets.CelebA.file_list:
            if file not in NEEDED or (self.folder / NEEDED[file]).exists():
                continue
            path = self.folder / file
            if not check_integrity(path, checksum):
                with whole(path) as part:
                    from_drive(address, part, checksum)
            if path.suffix == ".zip":
                unpack(path, self.folder / NEEDED[file], below=NEEDED[file])

    def _part(
        self, folder: Path, kept: list[tuple[str, int]], known: dict[str, np.ndarray], part: int
    ) -> Encoded:
        names = [name for name, of in kept if of == part]
        unknown = np.full(ATTRIBUTES, UNKNOWN, np.int8)
        table = [known.get(name, unknown) for name in names]
        labels: Tensor = (
            torch.from_numpy(np.stack(table)).long() if table else torch.zeros(0, 40).long()
        )
        return Encoded(Files(folder), [os.fsencode(name) for name in names], self.decoder, labels)


def from_drive(address: str, path: Path, checksum: str) -> None:
    """Fetches a file of Google Drive; a RuntimeError or an OSError says why it cannot."""
    try:
        from gdown import DownloadError
    except ImportError:
        raise RuntimeError("it needs gdown: pip install gdown") from None
    try:
        download_file_from_google_drive(address, path.parent, path.name, checksum)
    except DownloadError as error:  # as when too many have asked for the file
        raise RuntimeError(str(error).strip().splitlines()[0]) from None


@dataclass(frozen=True)
class Heads:
    """Decodes aligned faces and adds a channel that is white on the head.

    Arguments:
        colours: Decodes the other three channels.
        crop: Height and width of the centre that it keeps, pixels.
    """

    colours: Decodes
    crop: int

    @property
    def channels(self) -> int:
        return self.colours.channels + 1

    @property
    def size(self) -> int:
        return self.colours.size

    def __call__(self, data: bytes, where: str) -> np.ndarray:
        colours = self.colours(data, where)
        width, height = open_image(data, where).size
        if (width, height) != ALIGNED:
            raise DataError(
                f"{where} is {width}x{height}, not {ALIGNED[0]}x{ALIGNED[1]}, so where its head is "
                "cannot be known; replace it or leave out masks"
            )
        return np.concatenate([colours, self._mask])

    def __str__(self) -> str:
        return f"{self.colours}, with heads {HEAD}"

    @cached_property
    def _mask(self) -> np.ndarray:
        """uint8 (1, size, size): the ellipse, whose border is as wide as a pixel or little more."""
        scale, (centre, half) = self.crop / self.size, np.array(HEAD)
        corner = (np.array(ALIGNED) - self.crop) // 2
        steps = (np.arange(self.size)[:, None] + 0.5) * scale  # of both axes, pixels
        x, y = ((corner + steps - centre) / half).T
        inside = (1 - np.hypot(x, y[:, None])) * half.min() / scale + 0.5
        return (255 * inside.clip(0, 1)).round().astype(np.uint8)[None]


def read_attributes(path: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """The names of the attributes, and each image's attributes, 1 or 0."""
    rows = _lines(path)
    names = rows[1] if len(rows) > 1 else []
    table = [row for row in rows[2:] if row]
    if len(names) != ATTRIBUTES or any(len(row) != ATTRIBUTES + 1 for row in table):
        raise DataError(f"{path} should list {ATTRIBUTES} attributes per image; replace it")
    if any(value not in ("1", "-1") for row in table for value in row[1:]):
        raise DataError(f"{path} has attributes that are neither 1 nor -1; replace it")
    return names, {row[0]: (np.array(row[1:]) == "1").astype(np.int8) for row in table}


def _lines(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in require("celeba", path).read_text().splitlines()]
    except UnicodeDecodeError:
        raise DataError(f"{path} is not a text; replace it") from None
