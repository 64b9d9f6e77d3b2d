"""Samples as pictures, from the same latents every time."""

from typing import cast

import torch
from pytorch_lightning import LightningModule, Trainer

from lightning_gen.capabilities import Sampler
from lightning_gen.randomness import Noise

from .images import grid, show
from .periodic import Periodic


class SampleGrid(Periodic):
    """Draws a grid of samples on fixed latents, `samples/<step>.png`; the newest is `latest.png`.

    A class-conditional model gets one row for each class.

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
        n = (classes or self.rows) * self.columns
        labels = None
        if classes:
            labels = torch.arange(classes, device=model.device).repeat_interleave(self.columns)
        noise = Noise(("grid",), n, device=model.device)
        samples = cast(Sampler, model).sample(n, labels, noise)
        show(trainer, "samples", grid(samples, self.columns))
