"""Samples of given attributes, beside an image that has them and the nearest one that was trained on."""

from typing import Any, cast

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from lightning_gen.analysis.attributes import nearest_by_attributes
from lightning_gen.capabilities import Decoder
from lightning_gen.levels import to_levels
from lightning_gen.randomness import Noise

from .data import FirstImages, data_module
from .images import grid, show
from .periodic import Periodic


class AttributeGrid(Periodic):
    """Draws, in each row, an image, the training image with the nearest attributes, and samples.

    The samples have the attributes of the first image of their row, and the codes of their column.
    The second image is what one gets without any generator. Images whose attributes are not known,
    -1 each, have no row. Where images have masks, a row of whole images is followed by one of what
    the masks leave, on white.

    Arguments:
        rows: How many images: the first of the split, or of the first process's share of it.
        columns: Samples per row.
        split: Where the images are from.
        kwargs: See `Periodic`.
    """

    needs = (Decoder,)

    def __init__(
        self,
        rows: int = 8,
        columns: int = 6,
        split: str = "val",
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = False,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if rows < 1 or columns < 1:
            raise ValueError(f"rows and columns must be at least 1, got {rows} and {columns}")
        self.columns, self.originals = columns, FirstImages(rows, split)
        self.told = False  # that there is nothing to draw

    def setup(self, trainer: Trainer, model: LightningModule, stage: str) -> None:
        super().setup(trainer, model, stage)
        if not self._active:
            return
        found = getattr(data_module(trainer, self), "num_attributes", None)
        known = getattr(model, "num_classes", None)
        if not found or found != known:
            raise ValueError(
                f"AttributeGrid needs a model of the attributes that the data has, got "
                f"{known or 'none'} and {found or 'none'}"
            )

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        data = data_module(trainer, self)
        images, labels = self.originals.of(data)
        if not len(images):  # none are held out
            return
        known = (labels >= 0).all(1)
        images, labels = images[known], labels[known]
        if not len(images):
            if not self.told:
                split = self.originals.split
                print(f"no AttributeGrid: the first {split} images have no attributes")
            self.told = True
            return
        # Of training images it is another one, as each is the nearest to itself.
        train = self.originals.split == "train"
        near = nearest(data, labels, self.originals.count * trainer.world_size if train else 0)
        z = cast(Decoder, model).latent(
            self.columns, Noise(("grid",), self.columns, device=model.device)
        )
        wanted = labels.to(model.device).repeat_interleave(self.columns, 0)
        made = cast(Decoder, model).decode(z.repeat(len(labels), 1), wanted)
        samples = to_levels(made.float()).cpu().unflatten(0, (len(labels), self.columns))
        rows = torch.cat([images[:, None], near[:, None], samples], 1)
        masks = getattr(model, "has_masks", False)
        show(trainer, "attributes", grid(rows.flatten(0, 1), rows.shape[1], masks=masks))


def nearest(data: Any, labels: Tensor, shown: int) -> Tensor:
    """The training images, uint8, whose attributes are nearest to those of labels (B, A).

    The first `shown` of them are left out, unless there are no others.
    """
    images = data.images("train")
    shown = shown if shown < len(images) else 0
    return images[shown + nearest_by_attributes(labels, images.labels[shown:])][0]
