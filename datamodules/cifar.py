"""CIFAR-10 and CIFAR-100.

References:
    | Learning Multiple Layers of Features from Tiny Images (Krizhevsky, 2009)
    | https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf
"""

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torchvision
from torch import Tensor

from lightning_gen.randomness import Noise

from .archives import unpack
from .base import ImageData, flip
from .decoding import Decoder
from .errors import DataError
from .files import content, download, fetch, found, hold_out, md5, require, say
from .images import InMemory, Splits


class _Cifar(ImageData):
    """RGB images of 32x32 in the python batches of the authors."""

    original: type[torchvision.datasets.CIFAR10]
    shape = (3, 32, 32)

    def __init__(self, val_size: int | None = None, flip: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if val_size is not None and val_size < 0:
            raise ValueError(f"val_size must not be negative, got {val_size}")
        self.val_size, self.flip = val_size, flip

    @property
    def folder(self) -> Path:
        return self.root / self.original.__name__

    @property
    def official(self) -> tuple[Path, Path]:
        """Where the authors' folder may be."""
        return self.folder / self.original.base_folder, self.root / self.original.base_folder

    def prepare_data(self) -> None:
        if self.download and found(*self.official) is None:
            fetch(self.name, self.folder, self._download)

    def read(self) -> Splits:
        self.source = "official"
        return self.cut(*read_batches(require(self.name, *self.official), self.original, True))

    def _download(self) -> None:
        archive = self.folder / self.original.filename
        download(archive, self.original.tgz_md5, self.original.url)
        unpack(archive, self.official[0], below=self.original.base_folder)

    def cut(self, train: InMemory, test: InMemory) -> Splits:
        """Holds images out of the training part, by default a tenth."""
        size = len(train) // 10 if self.val_size is None else self.val_size
        kept, held = hold_out(len(train), size)
        return Splits(train.subset(kept), train.subset(held), test)

    def augment(self, images: Tensor, noise: Noise) -> Tensor:
        return flip(images, noise) if self.flip else images


class CIFAR10(_Cifar):
    """50,000 + 10,000 photographs of 32x32 in ten classes.

    Arguments:
        source: "official" is the authors' files. "exact" is a part of them, in
            `CIFAR10/exact_subset`. "jpeg" is all images compressed with losses, in
            `CIFAR10/jpeg/cifar10_jpeg.tar.xz`, whose scores must not be quoted as CIFAR-10's.
            "auto" takes the first of these that is there.
        val_size: How many training images are held out to validate, by default a tenth; 0 trains
            on all.
        flip: Mirror half of the training images.
        kwargs: See `ImageData`.
    """

    name = "cifar10"
    num_classes = 10
    original = torchvision.datasets.CIFAR10

    def __init__(
        self,
        source: Literal["auto", "official", "exact", "jpeg"] = "auto",
        val_size: int | None = None,
        flip: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(val_size=val_size, flip=flip, **kwargs)
        if source not in ("auto", "official", "exact", "jpeg"):
            raise ValueError(f"source must be auto, official, exact or jpeg, got {source}")
        self.wanted = source
        self.label_names = [
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ]

    def prepare_data(self) -> None:
        if self._choice() == "official":
            super().prepare_data()

    def read(self) -> Splits:
        choice = self._choice()
        if choice == "official":
            return super().read()
        path = require(f"cifar10 (source {choice})", self._elsewhere()[choice])
        if choice == "exact":
            train, test = read_batches(path, self.original, False)
        else:
            train, test = read_jpegs(path)
        self.source = choice
        note = {"exact": "a part of the original pixels", "jpeg": "not the original pixels"}[choice]
        say(f"cifar10: {len(train):,} + {len(test):,} images from {path}, {note}")
        return self.cut(train, test)

    def _elsewhere(self) -> dict[str, Path]:
        return {
            "exact": self.folder / "exact_subset" / self.original.base_folder,
            "jpeg": self.folder / "jpeg" / "cifar10_jpeg.tar.xz",
        }

    def _choice(self) -> str:
        if self.wanted != "auto" or found(*self.official):
            return "official" if self.wanted == "auto" else self.wanted
        return next((k for k, path in self._elsewhere().items() if path.exists()), "official")


class CIFAR100(_Cifar):
    """50,000 + 10,000 photographs of 32x32 in a hundred classes.

    Arguments:
        val_size: How many training images are held out to validate, by default a tenth; 0 trains
            on all.
        flip: Mirror half of the training images.
        kwargs: See `ImageData`.
    """

    name = "cifar100"
    num_classes = 100
    original = torchvision.datasets.CIFAR100


BROKEN_PICKLE = (
    pickle.UnpicklingError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ImportError,
    MemoryError,
)


class _Plain(pickle.Unpickler):
    """Loads arrays, lists, dicts and text only: a pickle can otherwise run any code."""

    allowed = frozenset({"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"})

    def find_class(self, module: str, name: str) -> Any:
        if (module.split(".")[0] == "numpy" and name in self.allowed) or (
            (module, name) == ("_codecs", "encode")
        ):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it wants {module}.{name}, which is no plain data")


def read_batches(folder: Path, original: Any, official: bool) -> tuple[InMemory, InMemory]:
    """The training and the test images of a folder of python batches; checks the official ones."""
    parts = []
    for batches in (original.train_list, original.test_list):
        pairs = [_read_batch(folder / file, known if official else None) for file, known in batches]
        pixels, labels = zip(*pairs, strict=True)
        parts.append(InMemory(torch.cat(pixels), torch.cat(labels)))
    return parts[0], parts[1]


def _read_batch(path: Path, checksum: str | None) -> tuple[Tensor, Tensor]:
    data = require("cifar", path).read_bytes()
    if checksum is not None and md5(data) != checksum:
        raise DataError(f"{path} is not the official file; remove its folder to download it again")
    try:
        batch = _Plain(io.BytesIO(data), encoding="latin1").load()
        key, most = ("labels", 10) if "labels" in batch else ("fine_labels", 100)
        labels = torch.tensor(batch[key])
        pixels = torch.from_numpy(np.asarray(batch["data"], np.uint8).reshape(-1, 3, 32, 32).copy())
    except BROKEN_PICKLE as error:
        reason = str(error).splitlines()[0] if str(error) else "it ends early"
        raise DataError(f"{path} is no CIFAR batch ({reason}); replace it") from None
    if labels.is_floating_point() or any(not 0 <= label < most for label in labels.tolist()):
        raise DataError(f"{path} has labels that are not from 0 to {most - 1}; replace it")
    if len(pixels) != len(labels):
        raise DataError(f"{path} has {len(pixels)} images but {len(labels)} labels; replace it")
    return pixels, labels


def read_jpegs(path: Path) -> tuple[InMemory, InMemory]:
    """The images of an archive of `{train,test}/<class>/<index>.jpg`, in the order of the index."""
    members: dict[str, list[tuple[str, str, bytes]]] = {"train": [], "test": []}
    try:
        with tarfile.open(fileobj=io.BytesIO(content(path)), mode="r:") as archive:
            for member in archive:
                if member.isfile() and not member.issparse():
                    *_, part, label, index = member.name.split("/")
                    members[part].append((index, label, archive.extractfile(member).read()))  # type: ignore[union-attr]
    except (tarfile.TarError, EOFError, KeyError, ValueError):
        raise DataError(f"{path} is truncated or corrupt; replace it with a whole copy") from None
    if not all(members.values()):
        raise DataError(f"{path} has no images in {' and '.join(members)}; replace it")
    return _decode_jpegs(path, members["train"]), _decode_jpegs(path, members["test"])


def _decode_jpegs(path: Path, members: list[tuple[str, str, bytes]]) -> InMemory:
    members = sorted(members)
    names = sorted({label for _, label, _ in members})
    decoder = Decoder(channels=3, size=32)
    images = [decoder(data, f"{path}:{label}/{index}") for index, label, data in members]
    pixels = torch.from_numpy(np.stack(images))
    return InMemory(pixels, torch.tensor([names.index(label) for _, label, _ in members]))
