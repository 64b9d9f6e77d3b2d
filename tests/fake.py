"""Random images in the shape of a real data set, to run a config without it."""

from typing import Any

import torch

from datamodules import ImageData
from datamodules.images import InMemory, Splits


class FakeImages(ImageData):
    """Random images.

    Arguments:
        shape: (C, H, W).
        classes: How many classes the labels have.
        binary: Only the levels 0 and 255.
        count: How many images each split has.
        kwargs: See `ImageData`.
    """

    name = "fake"

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        classes: int = 10,
        binary: bool = False,
        count: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shape, self.num_classes, self.binary, self.count = tuple(shape), classes, binary, count

    def read(self) -> Splits:
        return Splits(*(self._images(split) for split in range(3)))

    def _images(self, split: int) -> InMemory:
        generator = torch.Generator().manual_seed(split)
        levels = torch.randint(256, (self.count, *self.shape), generator=generator)
        levels = (levels > 127) * 255 if self.binary else levels
        return InMemory(levels.to(torch.uint8), torch.arange(self.count) % self.num_classes)
