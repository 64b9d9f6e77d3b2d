"""Your own images: any folder of them, or a .zip."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .errors import DataError
from .files import default_root, hold_out, say
from .images import Encoded, Splits
from .photographs import Photographs
from .sources import Files, Source, Zip

SUFFIXES = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".jp2",
        ".avif",
        ".tga",
    ]
)
PARTS = {"train": {"train", "training"}, "val": {"val", "valid", "validation"}, "test": {"test"}}


class ImageFolder(Photographs):
    """All images below a folder, of any sizes and modes; see `datamodules.decoding` for how.

    The folder may hold the images themselves, or one sub-folder per class, or sub-folders `train`,
    `val` and `test` of either kind. Where there is no `val` or `test`, tenths of the training
    images are held out. Names that begin with a dot, and files that are no images, are passed over.

    Arguments:
        root: The folder, or a .zip that is read without unpacking it; a single folder around all
            that is in the zip is passed over.
        size: Height and width of what is served, pixels.
        crop: See `Photographs`.
        resample: See `Photographs`.
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA; transparent images are laid on white for
            1 and 3.
        val_size: How many images are held out to validate where there is no `val`; by default a
            tenth. 0 does not validate.
        test_size: The same for `test`; at least 1.
        flip: Mirror half of the training images. Turn it off for text.
        in_memory: See `Photographs`.
        kwargs: See `ImageData`.
    """

    name = "folder"

    def __init__(
        self,
        root: str | Path | None = None,
        size: int = 64,
        crop: int | None = None,
        resample: str = "bicubic",
        channels: int = 3,
        val_size: int | None = None,
        test_size: int | None = None,
        flip: bool = True,
        in_memory: bool | None = None,
        **kwargs: Any,
    ) -> None:
        if root is None:
            raise ValueError("ImageFolder needs root, the folder that holds your images")
        super().__init__(size, crop, resample, channels, flip, in_memory, root=root, **kwargs)
        if not self.root.exists() and (default_root() / self.root).exists():
            self.root = default_root() / self.root
        if val_size is not None and val_size < 0:
            raise ValueError(f"val_size must not be negative, got {val_size}")
        if test_size is not None and test_size < 1:
            raise ValueError(f"test_size must be at least 1, got {test_size}")
        self.val_size, self.test_size = val_size, test_size
        self._depth = 0  # of the class folders below the root
        self._files, below = open_images(self.root)
        self._keys = self._scan(below)
        self.label_names = self._classes()
        self.num_classes = len(self.label_names) if self.label_names else None

    def read(self) -> Splits:
        train = self._part("train")
        tenth = max(1, len(train) // 10)
        parts = {split: self._part(split) for split in ("val", "test") if self._keys[split]}
        sizes = {"val": self.val_size, "test": self.test_size}
        held = {k: tenth if size is None else size for k, size in sizes.items() if k not in parts}
        if held:
            say(f"folder: {held} of {len(train):,} images are held out of {self.root}")
            rest, *cut = hold_out(len(train), *held.values())
            parts.update({k: train.subset(part) for k, part in zip(held, cut, strict=True)})
            train = train.subset(rest)
        return Splits(train, parts["val"], parts["test"])

    def _scan(self, below: list[str]) -> dict[str, list[str]]:
        """The paths of each split, of all paths relative to the root."""
        first = {key.split(os.sep)[0] for key in below if os.sep in key}
        names = {part: known & first for part, known in PARTS.items()}
        if first and first <= names["val"] | names["test"]:
            raise DataError(
                f"{self.root} has images in {' and '.join(sorted(first))} only, none to train on; "
                "put some in train"
            )
        if not names["train"]:
            return {"train": below, "val": [], "test": []}
        self._depth = 1
        keys = {
            part: [key for key in below if os.sep in key and key.split(os.sep)[0] in name]
            for part, name in names.items()
        }
        outside = len(below) - sum(map(len, keys.values()))
        if outside:
            say(f"folder: {outside:,} images of {self.root} are in no split and are left out")
        return keys

    def _classes(self) -> list[str] | None:
        """The names of the class folders, if all images of all splits are in at least two."""
        labels = {self._label(key) for keys in self._keys.values() for key in keys}
        if "" in labels and len(labels) > 1:
            say(f"folder: {self.root} has images beside its sub-folders, so there are no classes")
        return sorted(labels) if "" not in labels and len(labels) > 1 else None

    def _label(self, key: str) -> str:
        """The folder below the split that an image is in, "" for none."""
        folders = key.split(os.sep)[self._depth : -1]
        return folders[0] if folders else ""

    def _part(self, split: str) -> Encoded:
        keys = self._keys[split]
        labels = torch.zeros(len(keys), dtype=torch.int64)
        if self.label_names is not None:
            number = {name: k for k, name in enumerate(self.label_names)}
            labels = torch.tensor([number[self._label(key)] for key in keys], dtype=torch.int64)
        encoded = np.array([os.fsencode(key) for key in keys], dtype=np.bytes_)
        return Encoded(self._files, encoded, self.decoder, labels)


def open_images(root: Path) -> tuple[Source, list[str]]:
    """The images of a folder or a zip, and their paths below it, sorted."""
    if root.is_dir():
        source: Source = Files(root)
        names = sorted(find_images(root))
    elif root.is_file() and zipfile.is_zipfile(root):
        source = archive = Zip(root)
        names = sorted(archive.names(is_image))
    elif root.is_file():
        raise DataError(
            f"{root} is neither a folder nor a whole .zip; unpack it if it is another archive, and "
            "set root to the folder of its images"
        )
    else:
        raise FileNotFoundError(f"{root} is not a folder; set root to that of your images")
    if not names:
        raise FileNotFoundError(f"{root} has no images; it should hold files such as .png or .jpg")
    return source, names


def is_image(name: str) -> bool:
    """Whether a path ends as those of images do, and no part of it is hidden."""
    hidden = any(part.startswith(".") for part in name.split("/"))
    return not hidden and os.path.splitext(name)[1].lower() in SUFFIXES


def find_images(root: Path) -> Iterator[str]:
    """The images below a folder, by the ends of their names, as paths relative to it."""
    seen = set()  # a link may lead back to where it is
    for folder, below, files in os.walk(root, followlinks=True):
        seen.add(os.path.realpath(folder))
        below[:] = [
            name
            for name in below
            if not name.startswith(".") and os.path.realpath(os.path.join(folder, name)) not in seen
        ]
        for file in files:
            if is_image(file):
                yield os.path.relpath(os.path.join(folder, file), root)
