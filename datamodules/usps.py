"""USPS: digits from envelopes, a second domain beside MNIST.

References:
    | A Database for Handwritten Text Recognition Research (Hull, 1994)
    | https://doi.org/10.1109/34.291440
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from .base import ImageData
from .digits import enlarge
from .errors import DataError
from .files import content, download, fetch, found, hold_out, require, say
from .images import InMemory, Splits

FILES = {"train": "usps.bz2", "test": "usps.t.bz2"}


class USPS(ImageData):
    """7,291 + 2,007 handwritten digits of 16x16.

    Read from `USPS/usps.h5` (needs h5py) or from torchvision's two .bz2 files.
    Both give the levels that torchvision gives, which cuts off fractions.

    Arguments:
        size: Height and width, pixels: 16, or more for a bicubic enlargement, 28 or 32 to meet MNIST.
        val_size: How many training images are held out to validate; 0 trains on all.
        kwargs: See `ImageData`.
    """

    name = "usps"
    num_classes = 10

    def __init__(self, size: int = 16, val_size: int = 729, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if size < 16:
            raise ValueError(f"size must be at least 16, which the digits have, got {size}")
        if val_size < 0:
            raise ValueError(f"val_size must not be negative, got {val_size}")
        self.shape, self.val_size = (1, size, size), val_size
        self.source = f"bicubic to {size}" if size > 16 else ""

    @property
    def folder(self) -> Path:
        return self.root / "USPS"

    def prepare_data(self) -> None:
        missing = any(not (self.folder / file).exists() for file in FILES.values())
        if self.download and missing and found(self.folder / "usps.h5") is None:
            fetch(self.name, self.folder, self._download)

    def read(self) -> Splits:
        train, test = self._pairs("train"), self._pairs("test")
        if (len(train), len(test)) != (7_291, 2_007):
            say(f"usps: a part of the data set, {len(train):,} + {len(test):,} images")
        kept, held = hold_out(len(train), self.val_size)
        return Splits(train.subset(kept), train.subset(held), test)

    def _pairs(self, part: str) -> InMemory:
        paths = [self.folder / "usps.h5", self.folder / FILES[part]]
        if find_spec("h5py") is None:
            paths.reverse()
        path = require(self.name, *paths)
        values, labels = (read_h5 if path.suffix == ".h5" else read_libsvm)(path, part)
        if not (len(values) and (np.abs(values) <= 1).all() and set(labels) <= set(range(10))):
            raise DataError(f"{path} has values or labels that no digit has; replace it")
        levels = ((values + 1) / 2 * 255).astype(np.uint8)  # as torchvision, in float32
        pixels = enlarge(levels.reshape(-1, 16, 16), self.shape[-1])
        return InMemory(pixels, torch.from_numpy(labels))

    def _download(self) -> None:
        for address, name, checksum in torchvision.datasets.USPS.split_list.values():
            download(self.folder / name, checksum, address)


def read_h5(path: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Values (N, 256) in [-1, 1] in steps of 0.001, and labels (N,)."""
    try:
        import h5py
    except ImportError:
        raise FileNotFoundError(
            f"{path} needs h5py: pip install h5py, or put {FILES[part]} beside it"
        ) from None
    try:
        with h5py.File(path) as file:
            if file[part]["data"].shape != (*file[part]["target"].shape, 256):
                raise KeyError  # it may say that it is larger than the memory
            data = file[part]["data"][:].astype(np.float64)
            labels = file[part]["target"][:].astype(np.int64)
    except (OSError, KeyError, AttributeError, ValueError, TypeError):
        raise DataError(f"{path} is truncated or corrupt; replace it with a whole copy") from None
    return np.round(2 * data - 1, 3).astype(np.float32), labels


def read_libsvm(path: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """The same from lines `label index:value ...`, labels from 1."""
    try:
        rows = content(path).decode().split("\n")
        numbers = [row.replace(":", " ").split() for row in rows if row]
        table = np.array(numbers, np.float32)
        values, labels = table[:, 2::2], table[:, 0].astype(np.int64) - 1
        if values.shape[1] != 256:
            raise ValueError
    except (OSError, EOFError, ValueError, IndexError):
        raise DataError(f"{path} is truncated or corrupt; replace it with a whole copy") from None
    return values, labels
