"""Real images beside what an autoencoder makes of them."""

from typing import Any, cast

import torch
from pytorch_lightning import LightningModule, Trainer

from lightning_gen.capabilities import Decoder, Encoder
from lightning_gen.levels import to_levels

from .data import FirstImages, conditions, data_module, inputs
from .images import grid, show
from .periodic import Periodic


class Reconstructions(Periodic):
    """Draws the same images each time, each above its reconstruction.

    Arguments:
        count: How many images: the first of the split, or of the first process's share of it.
        columns: Pairs per row.
        split: Where the images are from.
        kwargs: See `Periodic`.
    """

    needs = (Encoder, Decoder)
    needs_data = True

    def __init__(
        self,
        count: int = 32,
        columns: int = 8,
        split: str = "val",
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = False,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if columns < 1 or count < 1 or count % columns:
            raise ValueError(f"count must fill rows of columns, got {count} and {columns}")
        self.columns, self.originals = columns, FirstImages(count, split)

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        images, labels = self.originals.of(data_module(trainer, self))
        columns = min(self.columns, len(images))
        if columns == 0:  # no images are held out
            return
        full = len(images) // columns * columns
        x, known = inputs(model, images[:full]), conditions(model, labels[:full])
        encoder = cast(Any, model)  # only those that know classes are told of them
        codes = encoder.encode(x) if known is None else encoder.encode(x, known)
        made = cast(Decoder, model).decode(codes, known)
        rows = images[:full].split(columns), to_levels(made.float()).cpu().split(columns)
        pairs = [row for both in zip(*rows, strict=True) for row in both]
        show(trainer, "reconstructions", grid(torch.cat(pairs), columns))
