"""How long training stands still for a checkpoint, and how long reading one takes."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

import hashlib
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from lightning_gen.checkpoints import read_checkpoint, write_checkpoint

from .timing import Ratio, ratio

TENSORS, NUMBERS = 50, 2**20  # 4 MB each, 200 MB in all


def run(rounds: int = 15) -> list[Ratio]:
    """Ratios of seconds on the clock, for the disk's count too, where temporary files are kept."""
    torch.set_num_threads(1)
    weights = [torch.randn(NUMBERS) for _ in range(TENSORS)]
    content = {"state_dict": {f"weight{k}": each for k, each in enumerate(weights)}}
    lightnings = TorchCheckpointIO()
    with tempfile.TemporaryDirectory() as folder:
        plain, moved, theirs, ours = (Path(folder, f"{k}.ckpt") for k in ("a", "b", "c", "last"))
        variants: dict[str, Callable[[], object]] = {
            "torch.save and fsync": lambda: save(content, plain),
            "torch.save, fsync and move": lambda: save_and_move(content, moved),
            "Lightning's write": lambda: lightnings.save_checkpoint(content, theirs),
            "our write": lambda: write_checkpoint(content, ours, keep_previous=True),
            "SHA-256": lambda: [hashlib.sha256(each.numpy().data) for each in weights],
            "torch.load": lambda: torch.load(plain, weights_only=True),
            "our read": lambda: read_checkpoint(ours),
        }
        seconds = on_the_clock(variants, rounds)
    return [
        ratio(seconds, "our write", "torch.save and fsync", "<= 1.15", "over the old file"),
        ratio(seconds, "our write", "torch.save, fsync and move", "<= 1.15"),
        ratio(seconds, "our write", "Lightning's write", note="which does not wait for the disk"),
        ratio(seconds, "SHA-256", "torch.save and fsync", note="which ours does meanwhile"),
        ratio(seconds, "our read", "torch.load", note="which verifies nothing"),
    ]


def save(content: object, path: Path) -> None:
    """What one would write oneself, and a kill in the middle leaves no checkpoint at all."""
    with open(path, "wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


def save_and_move(content: object, path: Path) -> None:
    """What a whole file costs without a digest."""
    part = path.with_suffix(".part")
    save(content, part)
    os.replace(part, path)


def on_the_clock(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of calls, one of each a round in random order, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for call in variants.values():
        call()
    for _ in range(rounds):
        for name in random.sample(list(variants), len(variants)):
            os.sync()  # so that none waits for what another has left to the disk
            start = time.perf_counter()
            variants[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds
