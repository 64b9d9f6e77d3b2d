"""What the predictions of a model depend on."""

from typing import Any, cast

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from lightning_gen.analysis.receptive_fields import blind_spot, receptive_field
from lightning_gen.capabilities import PixelLikelihood

from .data import FirstImages, conditions, data_module, inputs
from .heat import heat, with_strip
from .images import grid, show
from .periodic import Periodic

DECADES = 4  # of influence, from the bright end of the colours to the dark one
PLACE, BLIND, LATER = (0, 170, 90), (120, 170, 235), (222, 222, 222)  # green, blue, grey
SIDE = 224  # pixels that a map has at least


class ReceptiveField(Periodic):
    """Draws how much each pixel changes what the model says at one place, in green, on real images.

    The brighter, the more; blue pixels come before the place, by rows from the top left, and have
    no say, grey ones come after it and have none either. With several colours there is a row for
    each colour of the place, with a map for each colour of the image.

    Arguments:
        row: Of the place; by default in the middle.
        column: Of the place; by default in the middle.
        count: How many images the influence is the mean over.
        split: Where the images are from.
        kwargs: See `Periodic`.
    """

    needs = (PixelLikelihood,)

    def __init__(
        self,
        row: int | None = None,
        column: int | None = None,
        count: int = 16,
        split: str = "val",
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = True,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        self.row, self.column, self.images = row, column, FirstImages(count, split)

    def setup(self, trainer: Trainer, model: LightningModule, stage: str) -> None:
        super().setup(trainer, model, stage)
        if self._active:
            self._place(data_module(trainer, self))

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        data = data_module(trainer, self)
        (row, column), (images, labels) = self._place(data), self.images.of(data)
        if len(images) == 0:  # none are held out
            return
        x, classes, capable = inputs(model, images), conditions(model, labels), cast(Any, model)
        fields = [
            receptive_field(lambda x: capable.pixel_nll(x, classes), x, row, column, color)
            for color in range(x.shape[1])
        ]
        maps = torch.cat([draw(f.cpu(), row, column, color) for color, f in enumerate(fields)])
        picture = grid(maps, x.shape[1], scale=-(-SIDE // max(maps.shape[2:])))
        low = f"1e-{DECADES} of the most"
        show(trainer, "receptive-field", with_strip(picture, low, "the most influence"))

    def _place(self, data: Any) -> tuple[int, int]:
        _, height, width = data.shape
        row = height // 2 if self.row is None else self.row
        column = width // 2 if self.column is None else self.column
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(
                f"ReceptiveField looks at row {row}, column {column}, which images of "
                f"{height} x {width} do not have"
            )
        return row, column


def draw(field: Tensor, row: int, column: int, color: int) -> Tensor:
    """The maps, uint8 (C, 3, H, W), of the receptive field (C, H, W) of a sub-pixel."""
    place = torch.zeros_like(field, dtype=torch.bool)
    place[color, row, column] = True  # what it costs may depend on itself, which says nothing
    most = field.masked_fill(place, 0).max().clamp(min=torch.finfo(field.dtype).tiny)
    maps = heat(1 + (field / most).log10() / DECADES)
    blind = blind_spot(field, row, column)
    for where, paint in ((field == 0, LATER), (blind, BLIND), (place, PLACE)):
        maps = torch.where(where[:, None], _painted(paint), maps)
    return maps


def _painted(colour: tuple[int, int, int]) -> Tensor:
    return torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1)
