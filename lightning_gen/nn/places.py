"""Going along an order of numbers, place by place, where each is drawn given those before it."""

from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor

from .incremental import Walk


class Places(ABC):
    """What a network gives at one place after the other, with what it keeps of those behind."""

    @abstractmethod
    def numbers(self, place: int) -> Tensor:
        """(B, outputs) at a place, of which all before were seen."""

    @abstractmethod
    def see(self, place: int, x: Tensor) -> None:
        """Takes the inputs (B,) of the next place. Each is seen once, in the order."""


class VectorWalk(Walk):
    """Goes through images along the places of their sub-pixels.

    Arguments:
        places: Gives logits of all levels but the lowest, whose logit is 0.
        x: See `Walk`.
    """

    def __init__(self, places: Places, x: Tensor) -> None:
        super().__init__(x)
        self.places, self.at = places, 0

    def outputs(self, row: int, column: int, color: int = 0) -> Tensor:
        colors, _, columns = self.x.shape[1:]
        place = (row * columns + column) * colors + color
        if place < self.at:
            raise ValueError(
                f"the walk is at place {self.at} already and cannot go back to {place}"
            )
        while self.at < place:
            at, c = divmod(self.at, colors)
            self.places.see(self.at, (self.x[:, c, at // columns, at % columns] + 1) / 2)
            self.at += 1
        return F.pad(self.places.numbers(place), (1, 0))
