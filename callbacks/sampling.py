"""Passes over samples: of one fixed sequence, shared out, timed and watched."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from tqdm import tqdm

from lightning_gen.capabilities import Sampler
from lightning_gen.levels import to_levels
from lightning_gen.metrics import BLOCK, Pieces, Share, Watch
from lightning_gen.randomness import Noise

WORTH_SAYING = 10.0  # seconds: a pass that takes longer says so before it goes on


class Samples(NamedTuple):
    """Some samples of the sequence: their places in it (B,), as uint8 images (B, C, H, W), and
    whether the model gave numbers."""

    places: Tensor
    images: Tensor
    finite: bool


def samples(
    trainer: Trainer, model: LightningModule, n: int, batch_size: int, name: str, watch: Watch
) -> Iterator[Samples]:
    """This process's share of the first `n` samples of one fixed sequence.

    Block k has noise of its own, and process r of W makes the blocks k = r mod W.

    Arguments:
        trainer: Knows the processes.
        model: A sampler.
        n: How many samples, over all processes.
        batch_size: How many at once, which does not change them.
        name: What they are for.
        watch: See `watcher`.
    """
    blocks = range(trainer.global_rank, -(-n // BLOCK), trainer.world_size)
    for k in watch(f"samples for {name}", blocks):
        count = min(BLOCK, n - k * BLOCK)
        for start in range(0, count, batch_size):
            size = min(batch_size, count - start)
            noise = Noise(("metrics", k), size, BLOCK, start, model.device)
            x = draw(model, noise)
            places = torch.arange(start, start + size) + k * BLOCK
            yield Samples(places, to_levels(x.float()), bool(x.isfinite().all()))


def draw(model: LightningModule, noise: Noise) -> Tensor:
    """Samples of a model, of uniformly drawn classes or of attributes of training images, if any."""
    classes = getattr(model, "num_classes", None)
    labels = attributes_for(model, getattr(model.trainer, "datamodule", None), noise)
    if labels is None and classes:
        labels = noise.spawn("labels").integers(classes)
    return cast(Sampler, model).sample(len(noise), labels, noise)


def attributes_for(model: LightningModule, data: Any, noise: Noise) -> Tensor | None:
    """Attributes (n, A) of training images, which fit each other; none for models of classes.

    Arguments:
        model: What is to be told of them.
        data: The data module, if there is one.
        noise: For n samples, which says of which images the attributes are.

    Raises:
        ValueError: If the model is of attributes and the data knows none.
    """
    classes = getattr(model, "num_classes", None)
    if not classes or getattr(data, "num_attributes", None) != classes:
        if getattr(model, "of_attributes", False) and not getattr(data, "num_classes", None):
            raise ValueError(
                f"{type(model).__name__} draws images of attributes that training images have, so "
                f"sample it with a data module that has {classes} attributes"
            )
        return None
    labels = data.images("train").labels
    known = (labels >= 0).all(1).nonzero().flatten()
    if not len(known):
        raise ValueError(
            f"samples have the attributes of training images, but {data.name} knows those of none; "
            "complete its list of them"
        )
    places = known[noise.spawn("labels").integers(len(known)).cpu()]
    return labels[places].to(model.device)


def watcher(trainer: Trainer, told: set[str]) -> Watch:
    """Goes through pieces of work with a progress bar, and says how long a long pass will take.

    Arguments:
        trainer: Its first process shows what there is to show, in a terminal.
        told: The passes whose length was said already; each says it once.
    """
    first = trainer.is_global_zero

    def watch(name: str, pieces: Pieces) -> Iterator:
        bar = tqdm(pieces, name, delay=10, leave=False, disable=None if first else True)
        start, new = time.perf_counter(), first and name not in told
        for done, piece in enumerate(bar):
            left = (time.perf_counter() - start) * (len(pieces) - 1)
            if done == 1 and new and left > WORTH_SAYING:
                told.add(name)
                print(f"{name}: this will take {duration(left)}", flush=True)
            yield piece

    return watch


def duration(seconds: float) -> str:
    """A time in words."""
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"about {round(seconds / size)} {unit}"
    return f"about {round(seconds)} seconds"


def share_of(trainer: Trainer, model: LightningModule, watch: Watch) -> Share:
    """This process's share of the work on features."""

    def total(tensor: Tensor) -> Tensor:
        if trainer.world_size == 1:
            return tensor
        there = tensor.to(model.device)  # where the processes talk
        return trainer.strategy.reduce(there, reduce_op="sum").to(tensor.device)  # type: ignore[union-attr]

    return Share(trainer.global_rank, trainer.world_size, total, watch, model.device)
