"""Latents with a meaning: categorical ones, then continuous ones, then noise."""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Draws(Protocol):
    """What numbers are drawn with."""

    def integers(self, high: int, *size: int) -> Tensor: ...
    def uniform(self, *size: int) -> Tensor: ...


class Codes(NamedTuple):
    """The first places of latents (B, D): a one-hot for each categorical code, then numbers in [-1, 1].

    Arguments:
        categorical: The number of values of each categorical code.
        continuous: How many continuous codes there are.
    """

    categorical: tuple[int, ...]
    continuous: int

    @property
    def size(self) -> int:
        """How many places they take."""
        return sum(self.categorical) + self.continuous

    def check(self, places: int) -> None:
        """Raises ValueError if they are no codes, or do not fit into so many places."""
        if not 0 < self.size <= places:
            raise ValueError(
                f"the codes need 1 to {places} of the generator's latents, but categorical "
                f"{list(self.categorical)} and continuous {self.continuous} need {self.size}"
            )
        if any(values < 2 for values in self.categorical) or self.continuous < 0:
            raise ValueError("categorical codes need 2 or more values, continuous 0 or more codes")

    def put(self, z: Tensor, noise: Draws) -> Tensor:
        """Latents (B, D) with codes that are drawn, uniformly, in their first places."""
        values = [noise.integers(size) for size in self.categorical]
        parts = [F.one_hot(v, size) for v, size in zip(values, self.categorical, strict=True)]
        parts.append(noise.uniform(self.continuous) * 2 - 1)
        return torch.cat([*(part.to(z) for part in parts), z[:, self.size :]], 1)

    def split(self, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Numbers (B, D): those of each categorical code, of the continuous ones, and the rest."""
        rest = x.shape[1] - self.size
        *categorical, continuous, others = x.split([*self.categorical, self.continuous, rest], 1)
        return categorical, continuous, others

    def traversals(self, z: Tensor, columns: int) -> dict[str, Tensor]:
        """For each code latents (B, columns, D) that differ from latents (B, D) in that code alone.

        A categorical code takes all its values, whatever `columns`; a continuous one goes from -2
        to 2, twice as far as it is drawn.
        """
        ways, start = {}, 0
        for i, size in enumerate(self.categorical):
            way = z[:, None].repeat(1, size, 1)
            way[:, :, start : start + size] = torch.eye(size).to(z)
            ways[f"categorical{i}"], start = way, start + size
        for i in range(self.continuous):
            way = z[:, None].repeat(1, columns, 1)
            way[:, :, start + i] = torch.linspace(-2, 2, columns).to(z)
            ways[f"continuous{i}"] = way
        return ways
