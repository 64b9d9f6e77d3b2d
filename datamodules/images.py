"""Images that are fetched by whole batches: from one tensor, or decoded as they are needed."""

import contextlib
import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_gen.files import cache_folder, write_text

from .decoding import Decoder, open_image
from .files import cores


class Images(Dataset[tuple[Tensor, Tensor]], ABC):
    """Images and labels, (B,) or attributes (B, A); an index is a tensor of positions."""

    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def __getitem__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 (B, C, H, W) and labels int64."""

    @abstractmethod
    def subset(self, indices: Tensor) -> "Images":
        """Some of the images."""

    @abstractmethod
    def digest(self) -> str:
        """A hash over all images and labels in their order."""


class InMemory(Images):
    """Images in one tensor.

    Arguments:
        pixels: uint8 (N, C, H, W).
        labels: (N,), or attributes (N, A); by default zeros.
    """

    def __init__(self, pixels: Tensor, labels: Tensor | None = None) -> None:
        self.pixels = pixels
        self.labels = torch.zeros(len(pixels), dtype=torch.int64) if labels is None else labels

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.pixels[indices], self.labels[indices]

    def subset(self, indices: Tensor) -> "InMemory":
        return InMemory(self.pixels[indices], self.labels[indices])

    def digest(self) -> str:
        sha = hashlib.sha256(self.pixels.contiguous().numpy().data)
        sha.update(self.labels.contiguous().numpy().data)
        return sha.hexdigest()


class Source(ABC):
    """Where encoded images come from. A key is bytes, so that a million of them take little."""

    @abstractmethod
    def read(self, key: bytes) -> bytes:
        """The encoded image."""

    @abstractmethod
    def where(self, key: bytes) -> str:
        """The image's name in messages."""

    @abstractmethod
    def stamp(self, keys: Sequence[bytes]) -> str:
        """Changes when the images may have changed; made without reading them."""


class Files(Source):
    """Images that are files of a folder. A key is a path below it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: bytes) -> bytes:
        return Path(self.where(key)).read_bytes()

    def where(self, key: bytes) -> str:
        return os.path.join(self.folder, os.fsdecode(key))

    def stamp(self, keys: Sequence[bytes]) -> str:
        stats = (os.stat(self.where(key)) for key in keys)
        return repr((str(self.folder), [(stat.st_size, stat.st_mtime_ns) for stat in stats]))


class Encoded(Images):
    """Images that are decoded each time they are fetched.

    Arguments:
        source: Reads an encoded image.
        keys: Of the images, in order.
        decoder: Makes uint8 (C, H, W) of an encoded image.
        labels: (N,), or attributes (N, A); by default zeros.
    """

    def __init__(
        self,
        source: Source,
        keys: Sequence[bytes] | np.ndarray,
        decoder: Decoder,
        labels: Tensor | None = None,
    ) -> None:
        self.source, self.decoder = source, decoder
        self.keys = np.asarray(keys, dtype=np.bytes_)
        self.labels = torch.zeros(len(keys), dtype=torch.int64) if labels is None else labels

    @property
    def bytes_decoded(self) -> int:
        """What all images take once they are decoded."""
        return len(self) * self.decoder.channels * self.decoder.size**2

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        pixels = np.stack([self.decode(index) for index in indices.tolist()])
        return torch.from_numpy(pixels), self.labels[indices]

    def decode(self, index: int) -> np.ndarray:
        """One image, uint8 (C, H, W)."""
        key = bytes(self.keys[index])
        return self.decoder(self.source.read(key), self.source.where(key))

    def subset(self, indices: Tensor) -> "Encoded":
        return Encoded(self.source, self.keys[indices.numpy()], self.decoder, self.labels[indices])

    def decode_all(self) -> InMemory:
        """The same images in memory. Pillow decodes in threads, one per core."""
        size = self.decoder.size
        pixels = torch.empty((len(self), self.decoder.channels, size, size), dtype=torch.uint8)
        view = pixels.numpy()
        with ThreadPoolExecutor(cores()) as pool:
            for index, image in enumerate(pool.map(self.decode, range(len(self)))):
                view[index] = image
        return InMemory(pixels, self.labels)

    def digest(self) -> str:
        """A hash over the encoded images, which with the decoder's name fixes what is served.

        Reading a large set takes minutes, so the hash is kept in the cache folder until a file's
        size or time changes.
        """
        keys = [bytes(key) for key in self.keys]
        stamp = hashlib.sha256(repr((keys, self.source.stamp(keys))).encode())
        known = cache_folder() / f"{stamp.hexdigest()}.sha256"
        with contextlib.suppress(OSError):
            kept = known.read_text(errors="replace")
            if re.fullmatch("[0-9a-f]{64}", kept):  # not one that was cut short
                return self._with_labels(kept)
        sha = hashlib.sha256()
        for key in keys:
            sha.update(hashlib.sha256(self.source.read(key)).digest())
        with contextlib.suppress(OSError):  # a home that cannot be written costs time only
            write_text(known, sha.hexdigest())
        return self._with_labels(sha.hexdigest())

    def headers(self) -> tuple[Counter[str], Counter[str]]:
        """How often each size and each mode occurs in the files."""
        sizes: Counter[str] = Counter()
        modes: Counter[str] = Counter()
        for key in map(bytes, self.keys):
            image = open_image(self.source.read(key), self.source.where(key))
            sizes[f"{image.width}x{image.height}"] += 1
            modes[image.mode] += 1
        return sizes, modes

    def _with_labels(self, contents: str) -> str:
        return hashlib.sha256(contents.encode() + self.labels.numpy().tobytes()).hexdigest()


class Splits(NamedTuple):
    """The parts of a data set.

    Arguments:
        train: What is trained on, as it is evaluated.
        val: Held out of the training images, or the official part of that name.
        test: Never trained on.
        fit: What training fetches, where that is not `train` itself.
    """

    train: Images
    val: Images
    test: Images
    fit: Images | None = None
