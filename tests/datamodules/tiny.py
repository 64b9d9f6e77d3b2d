"""A small data set whose images say which they are, and a model that remembers what it was given."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.strategies import DDPStrategy

from datamodules.base import ImageData
from datamodules.folder import ImageFolder
from datamodules.images import InMemory, Splits


class Numbered(ImageData):
    """Images of 2x2; each pixel of image i is i."""

    name, shape = "numbered", (1, 2, 2)

    def __init__(self, count=23, val=5, test=7, **kwargs):
        super().__init__(**kwargs)
        self.counts = count, val, test

    def read(self):
        start, parts = 0, []
        for count in self.counts:
            pixels = torch.arange(start, start + count, dtype=torch.uint8)
            parts.append(InMemory(pixels[:, None, None, None].expand(-1, 1, 2, 2).clone()))
            start += count
        return Splits(*parts)


def numbered_folder(folder: Path, count=23, **kwargs) -> ImageFolder:
    """The same images as files, which workers decode."""
    for part, start, size in (("train", 0, count), ("val", count, 5), ("test", count + 5, 7)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for k in range(start, start + size):
            Image.new("L", (2, 2), k).save(folder / part / f"{k:03}.png")
    options = {"size": 2, "channels": 1, "flip": False, "in_memory": False, "num_workers": 2}
    return ImageFolder(folder, **{**options, **kwargs})


class Recorder(LightningModule):
    """Writes down the first pixel of each image that it is given."""

    def __init__(self, stop_at=None, folder=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.stop_at, self.folder = stop_at, folder
        self.seen: list[list[int]] = []
        self.validated: list[list[int]] = []
        self.images: list[torch.Tensor] = []

    def training_step(self, batch, batch_idx):
        images, _ = batch
        assert images.dtype == torch.uint8
        self.seen.append(images[:, 0, 0, 0].tolist())
        self.images.append(images.clone())
        if len(self.seen) == self.stop_at:
            self.trainer.should_stop = True
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.validated.append(batch[0][:, 0, 0, 0].tolist())

    test_step = validation_step

    def on_train_end(self):
        self.write()

    on_test_end = on_train_end

    def write(self):
        if self.folder is not None:
            contents = {"seen": self.seen, "validated": self.validated, "images": self.images}
            torch.save(contents, self.folder / f"rank{self.trainer.global_rank}.pt")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(world=1, **kwargs) -> Trainer:
    """A silent trainer on one or more processes of the CPU."""
    strategy = "auto"
    if world > 1:
        strategy = DDPStrategy(start_method="fork", process_group_backend="gloo")
    defaults = {
        "accelerator": "cpu",
        "devices": world,
        "strategy": strategy,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return Trainer(**{**defaults, **kwargs})


def fit(data, world=1, folder=None, **kwargs):
    """What each process was given in training: one list of batches per rank."""
    if world == 1:
        model = Recorder()
        trainer(**kwargs).fit(model, data)
        return [{"seen": model.seen, "validated": model.validated, "images": model.images}]
    trainer(world, **kwargs).fit(Recorder(folder=folder), data)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(world)]


def write_idx(path: Path, array: np.ndarray) -> None:
    """An idx file, compressed if its name says so."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    data = header + array.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_mnist(root: Path, train=30, test=12, name="MNIST", seed=0) -> None:
    """Four small idx files of noise."""
    rng = np.random.default_rng(seed)
    for part, count in (("train", train), ("t10k", test)):
        stem = root / name / "raw"
        pixels = rng.integers(0, 256, (count, 28, 28))
        write_idx(stem / f"{part}-images-idx3-ubyte.gz", pixels)
        write_idx(stem / f"{part}-labels-idx1-ubyte.gz", np.arange(count) % 10)


def snapshot(folder: Path) -> dict[str, int]:
    """All paths below a folder and when they were changed."""
    return {
        os.path.join(where, name): os.stat(os.path.join(where, name)).st_mtime_ns
        for where, below, files in os.walk(folder)
        for name in below + files
    }
