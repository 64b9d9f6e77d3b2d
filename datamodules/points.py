"""Points of the plane on which games between networks show what they miss.

Ring, grid and swiss roll have the scales of the code of the second reference, the lines are Example 1
of the first.

References:
    | Wasserstein GAN (Arjovsky et al., 2017)
    | https://arxiv.org/abs/1701.07875
    | Improved Training of Wasserstein GANs (Gulrajani et al., 2017)
    | https://arxiv.org/abs/1704.00028
"""

from abc import abstractmethod
from math import inf, pi
from typing import Any

import torch
from torch import Generator, Tensor

from lightning_gen.randomness import stream

from .base import ImageData
from .images import InMemory, Splits


class Points(ImageData):
    """Points of the plane as images of 2 channels and 1 pixel, float32 (B, 2, 1, 1), of any size.

    Each split is drawn once, from a stream of its own that no run's seed changes, and kept in
    memory; so all that holds for a finite set of images holds here too.

    Arguments:
        train_size: How many points to train on; 10,000 more are held out, and as many to test.
        kwargs: See `ImageData`.
    """

    shape = (2, 1, 1)
    held_out = 10_000
    centres: Tensor | None = None  # (K, 2) of the modes, where there are modes
    deviation = 0.0  # of the points of a mode from its centre, in each direction

    def __init__(self, train_size: int = 50_000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if train_size < 1:
            raise ValueError(f"train_size must be at least 1 point, got {train_size}")
        self.train_size = train_size

    @abstractmethod
    def draw(self, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Points (count, 2) in float64, and labels (count,)."""

    def read(self) -> Splits:
        sizes = {"train": self.train_size, "val": self.held_out, "test": self.held_out}
        return Splits(*(self._split_of(split, count) for split, count in sizes.items()))

    def _split_of(self, split: str, count: int) -> InMemory:
        points, labels = self.draw(count, stream("points", self.name, split))
        # Drawn in float64: its last bit, which differs between processors, is rounded away.
        return InMemory(points.float().view(count, 2, 1, 1), labels)


class Mixture(Points):
    """Gaussians of the same shape and weight; a label says of which one a point is."""

    centres: Tensor

    def draw(self, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        labels = torch.randint(len(self.centres), (count,), generator=generator)
        noise = torch.randn(count, 2, generator=generator, dtype=torch.float64)
        return self.centres[labels] + self.deviation * noise, labels


class Ring(Mixture):
    """Eight Gaussians on a circle.

    Arguments:
        train_size: See `Points`.
        kwargs: See `ImageData`.
    """

    name, num_classes = "ring", 8
    source = "radius 2, deviation 0.02, over 1.414"
    deviation = 0.02 / 1.414

    def __init__(self, train_size: int = 50_000, **kwargs: Any) -> None:
        super().__init__(train_size, **kwargs)
        angles = torch.arange(8, dtype=torch.float64) * (pi / 4)
        self.centres = torch.stack([angles.cos(), angles.sin()], 1) * (2 / 1.414)


class Grid(Mixture):
    """Twenty-five Gaussians on a square grid.

    Arguments:
        train_size: See `Points`.
        kwargs: See `ImageData`.
    """

    name, num_classes = "grid", 25
    source = "2 apart, deviation 0.05, over 2.828"
    deviation = 0.05 / 2.828

    def __init__(self, train_size: int = 50_000, **kwargs: Any) -> None:
        super().__init__(train_size, **kwargs)
        sides = torch.arange(-2, 3, dtype=torch.float64) * (2 / 2.828)
        self.centres = torch.cartesian_prod(sides, sides)


class SwissRoll(Points):
    """A spiral of one and a half turns, with noise: one connected set without modes.

    Arguments:
        train_size: See `Points`.
        kwargs: See `ImageData`.
    """

    name, source = "swissroll", "angles 1.5 pi to 4.5 pi, deviation 0.25, over 7.5"
    deviation = 0.25 / 7.5

    def draw(self, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        drawn = torch.rand(count, generator=generator, dtype=torch.float64)
        noise = torch.randn(count, 2, generator=generator, dtype=torch.float64)
        angle = 1.5 * pi * (1 + 2 * drawn)
        spiral = torch.stack([angle * angle.cos(), angle * angle.sin()], 1) / 7.5
        return spiral + self.deviation * noise, torch.zeros(count, dtype=torch.int64)


class ParallelLines(Points):
    """Points (theta, u) with u uniform in [0, 1], beside the line through 0 where a generator starts.

    The earth-mover distance between the lines is |theta|, their Jensen-Shannon divergence ln 2
    unless theta is 0.

    Arguments:
        theta: Where the line stands.
        train_size: See `Points`.
        kwargs: See `ImageData`.
    """

    name = "lines"

    def __init__(self, theta: float = 1.0, train_size: int = 50_000, **kwargs: Any) -> None:
        super().__init__(train_size, **kwargs)
        if not abs(theta) < inf:
            raise ValueError(f"theta must be finite, got {theta}")
        self.theta, self.source = theta, f"theta {theta:g}"

    def draw(self, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        heights = torch.rand(count, generator=generator, dtype=torch.float64)
        points = torch.stack([torch.full_like(heights, self.theta), heights], 1)
        return points, torch.zeros(count, dtype=torch.int64)
