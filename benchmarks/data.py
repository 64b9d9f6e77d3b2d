"""How fast images come."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401

import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST as TorchvisionMNIST

import datamodules
from datamodules.files import content, default_root, found
from lightning_gen.levels import from_levels

from .timing import Ratio, ratio, timed

BATCH, BATCHES = 100, 50
PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def run(rounds: int = 15) -> list[Ratio]:
    """Ratios of the seconds for 50 shuffled batches of 100, as floats in [-1, 1]."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        note = prepare(Path(folder))
        theirs, ours = forever(torchvision_loader(folder)), forever(our_loader(folder))

        def our_batches() -> None:
            for images, _ in islice(ours, BATCHES):
                from_levels(images)

        def their_batches() -> None:
            for _ in islice(theirs, BATCHES):
                pass

        name = "MNIST by torchvision, a DataLoader and transforms"
        seconds = timed({name: their_batches, "our data module": our_batches}, rounds)
        return [ratio(seconds, name, "our data module", ">= 10", note)]


def our_loader(root: str) -> DataLoader:
    """60,000 images by our data module."""
    return datamodules.MNIST(root=root, batch_size=BATCH, val_size=0).train_dataloader()


def torchvision_loader(root: str) -> DataLoader:
    """60,000 images as tutorials load them."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
    images = TorchvisionMNIST(root, train=True, transform=transform)
    return DataLoader(images, batch_size=BATCH, shuffle=True, num_workers=0)


def forever(loader: Iterable) -> Iterator:
    """Epoch after epoch."""
    return chain.from_iterable(repeat(loader))


def prepare(root: Path) -> str:
    """Writes MNIST where both look for it, unpacked as torchvision wants it; says what it wrote."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    source, real = default_root() / "MNIST" / "raw", True
    for part in PARTS:
        file = found(source / f"{part}-ubyte", source / f"{part}-ubyte.gz")
        real = real and file is not None
        (folder / f"{part}-ubyte").write_bytes(content(file) if file else noise(part))
    return "the real files" if real else f"noise of the same size, as {source} lacks MNIST"


def noise(part: str) -> bytes:
    """An idx file of the size that a part of MNIST has."""
    shape = [60_000 if part.startswith("train") else 10_000]
    images = "images" in part
    shape += [28, 28] if images else []
    levels = np.random.default_rng(0).integers(0, 256 if images else 10, shape, dtype=np.uint8)
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, dtype=">i4").tobytes()
    return header + levels.tobytes()
