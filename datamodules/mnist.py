"""MNIST and the sets in its format, and MNIST in black and white.

References:
    | Gradient-Based Learning Applied to Document Recognition (LeCun et al., 1998)
    | https://doi.org/10.1109/5.726791
    | Fashion-MNIST (Xiao et al., 2017)
    | https://arxiv.org/abs/1708.07747
    | The Neural Autoregressive Distribution Estimator (Larochelle & Murray, 2011)
    | http://proceedings.mlr.press/v15/larochelle11a.html
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torchvision
from torch import Tensor

from lightning_gen.randomness import Noise, stream

from .base import ImageData
from .errors import DataError
from .files import content, download, fetch, found, hold_out, md5, read_idx, require, say
from .images import InMemory, Splits

PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


class _IdxImages(ImageData):
    """Grey images of 28x28 in four idx files, which may stay compressed and are never unpacked."""

    original: type[torchvision.datasets.MNIST]
    num_classes = 10

    def __init__(self, size: int = 28, val_size: int = 10_000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if size not in (14, 28, 32):
            raise ValueError(
                "size must be 28, 32 to pad with level 0, or 14 for the means of two by two "
                f"pixels, got {size}"
            )
        if val_size < 0:
            raise ValueError(f"val_size must not be negative, got {val_size}")
        self.shape, self.val_size = (1, size, size), val_size
        self.label_names = list(self.original.classes)

    @property
    def folder(self) -> Path:
        return self.root / self.original.__name__ / "raw"

    def prepare_data(self) -> None:
        missing = any(found(*self._paths(part)) is None for part in PARTS)
        if self.download and missing:
            fetch(self.name, self.folder, self._download)

    def read(self) -> Splits:
        train, test = self._pairs("train"), self._pairs("t10k")
        if (len(train), len(test)) != (60_000, 10_000):
            say(f"{self.name}: a part of the data set, {len(train):,} + {len(test):,} images")
        kept, held = hold_out(len(train), self.val_size)
        return Splits(train.subset(kept), train.subset(held), test)

    def _download(self) -> None:
        for name, checksum in self.original.resources:
            addresses = [f"{mirror}{name}" for mirror in self.original.mirrors]
            download(self.folder / name, checksum, *addresses)

    def _pairs(self, part: str) -> InMemory:
        paths = [
            require(self.name, *self._paths(f"{part}-{k}")) for k in ("images-idx3", "labels-idx1")
        ]
        pixels, labels = read_idx(paths[0], 3), read_idx(paths[1], 1).long()
        if pixels.shape[1:] != (28, 28) or len(pixels) != len(labels):
            raise DataError(
                f"{paths[0]} should hold {len(labels)} images of 28x28, as many as there are "
                f"labels, but holds {tuple(pixels.shape)}; replace both"
            )
        if len(labels) and int(labels.max()) >= 10:
            raise DataError(f"{paths[1]} has a label above 9; replace it")
        return InMemory(resized(pixels[:, None], self.shape[-1]), labels)

    def _paths(self, part: str) -> tuple[Path, Path]:
        plain = self.folder / f"{part}-ubyte"
        return plain, plain.with_name(f"{plain.name}.gz")


class MNIST(_IdxImages):
    """60,000 + 10,000 handwritten digits of 28x28.

    Arguments:
        size: 28, 32 to pad with level 0, or 14 for the means of two by two pixels, rounded.
        val_size: How many training images are held out to validate; 0 trains on all.
        kwargs: See `ImageData`.
    """

    name = "mnist"
    original = torchvision.datasets.MNIST


class FashionMNIST(_IdxImages):
    """60,000 + 10,000 pictures of clothes of 28x28.

    Arguments:
        size: 28, 32 to pad with level 0, or 14 for the means of two by two pixels, rounded.
        val_size: How many training images are held out to validate; 0 trains on all.
        kwargs: See `ImageData`.
    """

    name = "fashion_mnist"
    original = torchvision.datasets.FashionMNIST


class BinarizedMNIST(MNIST):
    """MNIST in levels 0 and 255, two ways that must not be compared with each other.

    Arguments:
        binarization: "dynamic" draws each training image anew each time it is fetched, white with
            probability level / 255; validation, test and the training images that metrics see are
            drawn once, from a fixed seed. "static" is the files of Larochelle & Murray, 50,000 +
            10,000 + 10,000, which published likelihoods use; they have no labels.
        size: 28, 32 to pad with level 0, or 14, "dynamic" only: of the means of two by two grey
            pixels, which are averaged first and then drawn, so that no pixel is between the levels.
        val_size: See `MNIST`; "static" has a validation part of its own.
        kwargs: See `ImageData`.
    """

    name = "binarized_mnist"

    def __init__(
        self,
        binarization: Literal["dynamic", "static"] = "dynamic",
        size: int = 28,
        val_size: int = 10_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(size=size, val_size=val_size, **kwargs)
        if binarization not in ("dynamic", "static"):
            raise ValueError(f"binarization must be dynamic or static, got {binarization}")
        if binarization == "static" and size < 28:
            raise ValueError(
                f"static images cannot have size {size}, as means of black and white are neither; "
                "set size to 28, or binarization to dynamic"
            )
        self.binarization = self.source = binarization
        if binarization == "static":
            self.num_classes, self.label_names = None, None  # type: ignore[assignment]

    def prepare_data(self) -> None:
        if self.binarization == "dynamic":
            super().prepare_data()
        elif self.download and any(found(*self._amat(part)) is None for part in AMAT_MD5):
            fetch(self.name, self._amat("train")[0].parent, self._download_static)

    def read(self) -> Splits:
        if self.binarization == "static":
            return Splits(*(self._read_static(part) for part in ("train", "valid", "test")))
        grey = super().read()
        train, val, test = (_binarize_once(part, k) for k, part in enumerate(grey[:3]))
        return Splits(train, val, test, fit=grey.train)

    def augment(self, images: Tensor, noise: Noise) -> Tensor:
        if self.binarization == "static":
            return images
        return binarize(images, noise.integers(255, *images.shape[1:]))

    def _read_static(self, part: str) -> InMemory:
        path = require(f"{self.name} ({self.binarization})", *self._amat(part))
        return InMemory(resized(read_amat(path, AMAT_MD5[part]), self.shape[-1]))

    def _amat(self, part: str) -> tuple[Path, Path]:
        plain = self.root / "binarized_mnist" / f"binarized_mnist_{part}.amat"
        return plain, plain.with_name(f"{plain.name}.gz")

    def _download_static(self) -> None:
        for part, checksum in AMAT_MD5.items():
            path = self._amat(part)[0]
            download(path, checksum, f"{AMAT_URL}/{path.name}")


AMAT_URL = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist"
AMAT_MD5 = {  # of the text, unpacked
    "train": "db28b1a6ae0fe70cbd3da91acf46e477",
    "valid": "bf37822a04e94123630de6a7dfd9c9ef",
    "test": "14e41ae11040adba6ab8cb291eda0dd8",
}


def read_amat(path: Path, checksum: str) -> Tensor:
    """Images (N, 1, 28, 28) of levels 0 and 255 from a text of 784 digits 0 or 1 per line."""
    text = content(path)
    digits = np.frombuffer(text, np.uint8)[::2] - ord("0")  # every other byte separates
    if len(text) % (2 * 784) or not len(text) or digits.max() > 1:
        raise DataError(f"{path} should hold lines of 784 digits 0 or 1; replace it")
    if md5(text) != checksum:
        say(f"{path} is not the published file; its {len(digits) // 784:,} images are served")
    return torch.from_numpy(digits.reshape(-1, 1, 28, 28) * np.uint8(255))


def binarize(images: Tensor, thresholds: Tensor) -> Tensor:
    """White where the level is above a threshold; uniform in 0..254, that is level / 255."""
    return (images > thresholds).to(torch.uint8) * 255


def _binarize_once(images: Any, part: int) -> InMemory:
    thresholds = torch.randint(
        255, images.pixels.shape, generator=stream("binarized", part), dtype=torch.int16
    )
    return InMemory(binarize(images.pixels, thresholds), images.labels)


def resized(pixels: Tensor, size: int) -> Tensor:
    """Images of 28x28 with a frame of level 0 around them, or of the means of two by two pixels."""
    if size == 14:
        blocks = pixels.unflatten(3, (size, 2)).unflatten(2, (size, 2))
        return ((blocks.sum((3, 5)) + 2) // 4).to(torch.uint8)
    return torch.nn.functional.pad(pixels, [(size - pixels.shape[-1]) // 2] * 4)
