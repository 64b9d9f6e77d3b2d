"""Which pixels of an image a model did not expect."""

from typing import cast

import torch
from pytorch_lightning import LightningModule, Trainer

from lightning_gen.capabilities import PixelLikelihood

from .data import FirstImages, conditions, data_module, inputs
from .heat import heat, with_strip
from .images import colours, grid, show
from .periodic import Periodic


class LikelihoodMap(Periodic):
    """Draws the same images each time, each above its nats per pixel, summed over the colours.

    Arguments:
        count: How many images: the first of the split, or of the first process's share of it.
        columns: Pairs per row.
        most: Nats per pixel at the bright end of the colours, so that pictures compare; by default
            those that one pixel in two hundred of the picture exceeds.
        split: Where the images are from.
        kwargs: See `Periodic`.
    """

    needs = (PixelLikelihood,)
    needs_data = True

    def __init__(
        self,
        count: int = 16,
        columns: int = 8,
        most: float | None = None,
        split: str = "val",
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = False,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if columns < 1 or count < 1 or count % columns:
            raise ValueError(f"count must fill rows of columns, got {count} and {columns}")
        if most is not None and not most > 0:
            raise ValueError(f"most must be positive nats, got {most}")
        self.columns, self.most, self.originals = columns, most, FirstImages(count, split)

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        images, labels = self.originals.of(data_module(trainer, self))
        columns = min(self.columns, len(images))
        if columns == 0:  # none are held out
            return
        full = len(images) // columns * columns
        x, classes = inputs(model, images[:full]), conditions(model, labels[:full])
        nats = cast(PixelLikelihood, model).pixel_nll(x, classes).sum(1).float().cpu()
        most = self.most or nats.flatten().quantile(0.995).item()
        maps = heat(nats / max(most, 1e-12))
        rows = colours(images[:full]).split(columns), maps.split(columns)
        pairs = [row for both in zip(*rows, strict=True) for row in both]
        picture = grid(torch.cat(pairs), columns)
        show(trainer, "likelihood-map", with_strip(picture, "0", f"{most:.3g} nats per pixel"))
