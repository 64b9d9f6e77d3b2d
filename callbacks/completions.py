"""What a model makes of the upper parts of images."""

from typing import cast

import torch
from pytorch_lightning import LightningModule, Trainer

from lightning_gen.capabilities import Completer
from lightning_gen.levels import to_levels
from lightning_gen.randomness import Noise

from .data import FirstImages, conditions, data_module, inputs
from .images import grid, show
from .periodic import Periodic

HIDDEN = 128  # the level of what the model is not shown


class Completions(Periodic):
    """Draws rows of images: what the model was shown, several ways in which it goes on, the original.

    Images and noise are the same each time.

    Arguments:
        count: How many images, one to a row.
        columns: Completions of each.
        keep: The share of the rows of pixels that is shown, from the top.
        split: Where the images are from.
        kwargs: See `Periodic`.
    """

    needs = (Completer,)
    needs_data = True

    def __init__(
        self,
        count: int = 8,
        columns: int = 6,
        keep: float = 0.5,
        split: str = "val",
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = False,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if count < 1 or columns < 1:
            raise ValueError(f"count and columns must be at least 1, got {count} and {columns}")
        if not 0 <= keep < 1:
            raise ValueError(f"keep must be a share of the rows below 1, got {keep}")
        self.columns, self.keep, self.originals = columns, keep, FirstImages(count, split)

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        images, labels = self.originals.of(data_module(trainer, self))
        if len(images) == 0:  # none are held out
            return
        known = torch.zeros(images.shape[2:], dtype=torch.bool)
        known[: int(self.keep * len(known))] = True
        x = inputs(model, images).repeat_interleave(self.columns, 0)
        classes = conditions(model, labels.repeat_interleave(self.columns, 0))
        noise = Noise(("completions",), len(x), device=model.device)
        drawn = cast(Completer, model).complete(x, known, classes, noise)
        ways = to_levels(drawn.float()).cpu().unflatten(0, (-1, self.columns))
        shown = torch.where(known, images, HIDDEN)
        rows = torch.cat([shown[:, None], ways, images[:, None]], 1)
        show(trainer, "completions", grid(rows.flatten(0, 1), self.columns + 2))
