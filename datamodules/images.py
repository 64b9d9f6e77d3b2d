"""Images that are fetched by whole batches: from one tensor, or decoded as they are needed."""

import contextlib
import errno
import hashlib
import re
import sys
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import Dataset

from lightning_gen.files import cache_folder, write_text

from .decoding import Decodes, open_image
from .errors import DataError
from .files import cores
from .sources import Source

LONGEST_GAP = 1000  # images in a row that cannot be decoded
NOT_THE_FILE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # of the process or the machine
_marking = threading.Lock()


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
        decoder: Decodes,
        labels: Tensor | None = None,
    ) -> None:
        self.source, self.decoder = source, decoder
        self.keys = np.asarray(keys, dtype=np.bytes_)
        self.labels = torch.zeros(len(keys), dtype=torch.int64) if labels is None else labels
        self._corrupt: Tensor | None = None  # (N,), 1 where an image was met and left out

    @property
    def bytes_decoded(self) -> int:
        """What all images take once they are decoded."""
        return len(self) * self.decoder.channels * self.decoder.size**2

    @property
    def corrupt(self) -> list[str]:
        """The names of the images that others took the place of so far, in any process."""
        marks = [] if self._corrupt is None else self._corrupt.nonzero().flatten().tolist()
        return [self._name(index) for index in marks]

    def skip_corrupt(self) -> None:
        """From here on, an image that cannot be decoded is served as the next one that can.

        The first image comes after the last. What was met before makes no difference, so that
        training that goes on is served the same.
        """
        self._corrupt = torch.zeros(len(self), dtype=torch.uint8).share_memory_()  # by workers

    def gather_corrupt(self) -> None:
        """Tells every process of a run which corrupt images the others met."""
        if self._corrupt is None or not (dist.is_available() and dist.is_initialized()):
            return
        met: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(met, self._corrupt.nonzero().flatten().tolist())
        for indices in met:
            self._corrupt[indices] = 1

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        pixels, served = [], indices.tolist()
        for place, index in enumerate(served):
            try:
                pixels.append(self.decode(index))
            except DataError as error:
                served[place], image = self._stand_in(index, error)
                pixels.append(image)
        if not served:  # the share of a process where there are fewer images than processes
            shape = (0, self.decoder.channels, self.decoder.size, self.decoder.size)
            return torch.empty(shape, dtype=torch.uint8), self.labels[served]
        return torch.from_numpy(np.stack(pixels)), self.labels[served]

    def decode(self, index: int) -> np.ndarray:
        """One image, uint8 (C, H, W)."""
        key = bytes(self.keys[index])
        try:
            data = self.source.read(key)
        except OSError as error:
            raise self._unreadable(key, error) from None
        return self.decoder(data, self.source.where(key))

    def subset(self, indices: Tensor) -> "Encoded":
        part = Encoded(self.source, self.keys[indices.numpy()], self.decoder, self.labels[indices])
        if self._corrupt is not None:
            part.skip_corrupt()
        return part

    def decode_all(self) -> InMemory:
        """The same images in memory. Pillow decodes in threads, one per core."""
        size = self.decoder.size
        pixels = torch.empty((len(self), self.decoder.channels, size, size), dtype=torch.uint8)
        labels, pieces = self.labels.clone(), torch.arange(len(self)).split(16)
        with ThreadPoolExecutor(cores()) as pool:
            for piece, pair in zip(pieces, pool.map(self.__getitem__, pieces), strict=True):
                pixels[piece], labels[piece] = pair
        return InMemory(pixels, labels)

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
        sha, whole = hashlib.sha256(), True
        for key in keys:
            data = self._bytes(key)
            sha.update(hashlib.sha256(data or b"").digest())
            whole = whole and data is not None
        if whole:
            with contextlib.suppress(OSError):  # a home that cannot be written costs time only
                write_text(known, sha.hexdigest())
        return self._with_labels(sha.hexdigest())

    def headers(self) -> tuple[Counter[str], Counter[str]]:
        """How often each size and each mode occurs in the files."""
        sizes: Counter[str] = Counter()
        modes: Counter[str] = Counter()
        for key in map(bytes, self.keys):
            try:
                image = open_image(self._bytes(key) or b"", self.source.where(key))
            except DataError:
                if self._corrupt is None:
                    raise
                continue
            sizes[f"{image.width}x{image.height}"] += 1
            modes[image.mode] += 1
        return sizes, modes

    def _with_labels(self, contents: str) -> str:
        return hashlib.sha256(contents.encode() + self.labels.numpy().tobytes()).hexdigest()

    def _unreadable(self, key: bytes, error: OSError) -> Exception:
        """What is said of an image whose bytes cannot be had."""
        if error.errno in NOT_THE_FILE:
            return error
        reason = error.strerror or str(error)
        where = self.source.where(key)
        return DataError(f"{where} cannot be read ({reason}); put it back or remove it")

    def _bytes(self, key: bytes) -> bytes | None:
        """An encoded image, None for one that cannot be read where that is passed over."""
        try:
            return self.source.read(key)
        except OSError as error:
            what = self._unreadable(key, error)
            if self._corrupt is None or not isinstance(what, DataError):
                raise what from None
            return None

    def _stand_in(self, index: int, error: DataError) -> tuple[int, np.ndarray]:
        """The position and the pixels of what is served for a corrupt image."""
        if self._corrupt is None:
            raise error
        first, gap = index, min(len(self), LONGEST_GAP)
        for _ in range(gap):
            self._mark(index, error)
            index = (index + 1) % len(self)
            try:
                return index, self.decode(index)
            except DataError as another:
                error = another
        raise DataError(
            f"{gap:,} images in a row, from {self._name(first)} on, cannot be decoded; replace them"
        )

    def _mark(self, index: int, error: DataError) -> None:
        """Remembers a corrupt image, and says so the first time."""
        assert self._corrupt is not None
        with _marking:
            known, self._corrupt[index] = bool(self._corrupt[index]), 1
            if not known:  # a line at a time
                what = str(error).rpartition(";")[0]
                print(f"{what}; another image takes its place", file=sys.stderr, flush=True)

    def _name(self, index: int) -> str:
        return self.source.where(bytes(self.keys[index]))


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
