"""How the work on features that all processes hold is shared out: each takes every W-th piece.

The pieces do not depend on the number of processes, and no number is added up in another order: so
what comes out does not either.
"""

from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor


class Pieces(Sized, Iterable, Protocol):
    """Pieces of work, of which it is known how many there are."""


Watch = Callable[[str, Pieces], Iterable]


def _alone(tensor: Tensor) -> Tensor:
    return tensor


def _unseen(name: str, pieces: Pieces) -> Iterable:
    return pieces


@dataclass(frozen=True)
class Share:
    """One process's share of some work.

    Arguments:
        rank: This process.
        world: How many processes there are.
        total: Adds up a tensor over all processes; to be called on each of them.
        watch: Goes through pieces of work with a name and, say, shows a progress bar.
        device: Where to compute, in chunks; features stay where they are.
    """

    rank: int = 0
    world: int = 1
    total: Callable[[Tensor], Tensor] = _alone
    watch: Watch = _unseen
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def of(self, name: str, pieces: Sequence) -> Iterable:
        """This process's pieces."""
        return self.watch(name, pieces[self.rank :: self.world])

    def wide(self, features: Tensor) -> Tensor:
        """A chunk of features in float64, where they are computed with."""
        return features.to(self.device, torch.float64)


def slices(count: int, size: int) -> list[slice]:
    """Pieces of `size` that cover `count` rows."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
