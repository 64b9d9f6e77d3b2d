"""Samples as pictures, from the same latents every time."""

from typing import cast

import torch
from pytorch_lightning import LightningModule, Trainer

from lightning_gen.capabilities import Sampler
from lightning_gen.randomness import Noise

from .images import grid, show
from .periodic import Periodic
from .sampling import attributes_for


class SampleGrid(Periodic):
    """Draws a grid of samples on fixed latents, `samples/<step>.png`; the newest is `latest.png`.

    A class-conditional model gets one row for each class, and a model of attributes rows of those
    that some training images have. Where images have masks, each row stands above what the masks
    leave of it, on white.

    Arguments:
        rows: How many rows, for models without classes.
        columns: Samples per row.
        kwargs: See `Periodic`.
    """

    needs = (Sampler,)

    def __init__(
        self,
        rows: int = 8,
        columns: int = 8,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = True,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if rows < 1 or columns < 1:
            raise ValueError(f"rows and columns must be at least 1, got {rows} and {columns}")
        self.rows, self.columns = rows, columns

    def setup(self, trainer: Trainer, model: LightningModule, stage: str) -> None:
        super().setup(trainer, model, stage)
        if self._active and tuple(getattr(model, "shape", ()))[1:] == (1, 1):
            raise ValueError("SampleGrid draws images, not points; take PointsPicture")

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        classes = getattr(model, "num_classes", None)
        rows = Noise(("grid",), self.rows, device=model.device)
        labels = attributes_for(model, getattr(trainer, "datamodule", None), rows)
        if labels is None and classes:
            labels = torch.arange(classes, device=model.device)
        n = self.columns * (self.rows if labels is None else len(labels))
        if labels is not None:
            labels = labels.repeat_interleave(self.columns, 0)
        samples = cast(Sampler, model).sample(n, labels, Noise(("grid",), n, device=model.device))
        masks = getattr(model, "has_masks", False)
        show(trainer, "samples", grid(samples, self.columns, masks=masks))
