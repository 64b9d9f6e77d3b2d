"""What the codes of a model mean: how well they are the classes, and what they change in images."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401

from typing import cast

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from lightning_gen.capabilities import Classifier, CodeReader, Decoder
from lightning_gen.metrics.assignment import AssignmentAccuracy
from lightning_gen.randomness import Noise
from lightning_gen.tracking import publish, record

from .data import check_split, data_module, inputs, placed_batches
from .images import grid, show
from .periodic import Periodic, undisturbed
from .sampling import watcher


class LabelAccuracy(Periodic):
    """Scores what a model says of the classes of a split, by all processes together.

    `accuracy/labels` is the share of right classes of a model that was given labels. Of one that
    found codes without any, `accuracy/codes` is the share of images whose first categorical code
    is that of their class, at the best one-to-one pairing of codes and classes on these images.

    Arguments:
        split: The images at validations.
        test_split: The images at tests.
        kwargs: See `Periodic`.
    """

    def __init__(
        self,
        split: str = "val",
        test_split: str = "test",
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = False,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        self.split, self.test_split = check_split(split), check_split(test_split)
        self.told: set[str] = set()  # passes whose length was said

    def setup(self, trainer: Trainer, model: LightningModule, stage: str) -> None:
        super().setup(trainer, model, stage)
        self._active = isinstance(model, Classifier | CodeReader)
        if not self._active and trainer.is_global_zero:
            print("no LabelAccuracy: the model says nothing of classes")
        if self._active and not getattr(data_module(trainer, self), "num_classes", None):
            raise ValueError("LabelAccuracy needs data with classes")
        if self._active:
            with undisturbed(model):
                groups_of(model, self._blank(trainer, model))  # or it is refused before it trains

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        split = self.test_split if trainer.testing else self.split
        data, watch = data_module(trainer, self), watcher(trainer, self.told)
        groups = groups_of(model, self._blank(trainer, model)).shape[1]
        metric = AssignmentAccuracy(groups, data.num_classes)
        batches = placed_batches(data.loader(split))
        for _, images, labels in watch(f"classes of {split} images", batches):
            metric.update(groups_of(model, images).argmax(1).cpu(), labels)
        counts = metric.counts.double()
        if trainer.world_size > 1:
            there = counts.to(model.device)  # where the processes talk
            counts = trainer.strategy.reduce(there, reduce_op="sum").cpu()  # type: ignore[union-attr]
        if counts.sum():
            self.note(trainer, model, split, metric, counts)

    def _blank(self, trainer: Trainer, model: LightningModule) -> Tensor:
        """An image without anything on it, by which a model shows how many groups it has."""
        shape = getattr(model, "shape", None) or data_module(trainer, self).shape
        return torch.zeros(1, *shape, dtype=torch.uint8)

    def note(
        self,
        trainer: Trainer,
        model: LightningModule,
        split: str,
        metric: AssignmentAccuracy,
        counts: Tensor,
    ) -> None:
        """Publishes and records the share of images that are counted in the right places."""
        data, n = data_module(trainer, self), int(counts.sum())
        metric.counts = counts.long()
        known = isinstance(model, Classifier)
        value = (counts.diagonal().sum() / n if known else metric.compute()).item()
        key = f"accuracy/{'labels' if known else 'codes'}"
        protocol = f"{key}:{data.name}-{split}-{n}:{data.fingerprint(split)}"
        publish(trainer, {key: value})
        if trainer.training and trainer.global_step == 0:
            return
        seen = getattr(model, "images_seen", 0)
        score = {"value": value, "protocol": protocol, "n": n, "split": split, "images_seen": seen}
        record(trainer, {key: score})


class CodeTraversal(Periodic):
    """Draws, for each code of a model, rows of images that differ in that code alone.

    Arguments:
        rows: How many latents each code is changed in; the same every time.
        columns: Values of a continuous code; a categorical one takes all of its own.
        kwargs: See `Periodic`.
    """

    needs = (CodeReader, Decoder)

    def __init__(
        self,
        rows: int = 6,
        columns: int = 10,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = False,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if rows < 1 or columns < 2:
            raise ValueError(f"rows must be at least 1 and columns 2, got {rows} and {columns}")
        self.rows, self.columns = rows, columns

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        noise = Noise(("traversal",), self.rows, device=model.device)
        ways = cast(CodeReader, model).traversals(self.rows, self.columns, noise)
        for name, way in ways.items():
            images = cast(Decoder, model).decode(way.flatten(0, 1))
            show(trainer, f"traversal-{name}", grid(images, way.shape[1]))


def groups_of(model: LightningModule, images: Tensor) -> Tensor:
    """What a model says of the classes of images (B, C, H, W): log-probabilities (B, K)."""
    x = inputs(model, images)
    if isinstance(model, Classifier):
        return model.classify(x)
    categorical, _ = cast(CodeReader, model).read_codes(x)
    if not categorical:
        raise ValueError(
            "LabelAccuracy reads the first categorical code, and the model has none; give it one, "
            "or leave LabelAccuracy out"
        )
    return categorical[0]
