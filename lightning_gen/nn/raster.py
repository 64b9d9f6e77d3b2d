"""Images as vectors of their sub-pixels: by rows from the top left, and R, G, B within a pixel."""

from abc import abstractmethod
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from .incremental import Walk
from .places import Places, VectorWalk
from .roles import PixelNetwork
from .sizes import check_levels, check_sizes

Shape = tuple[int, int, int]


def to_vector(x: Tensor) -> Tensor:
    """Images (B, C, H, W) as vectors (B, D)."""
    return x.permute(0, 2, 3, 1).flatten(1)


def to_images(x: Tensor, shape: Shape) -> Tensor:
    """Vectors (B, D) as images (B, C, H, W)."""
    channels, height, width = shape
    return x.view(-1, height, width, channels).permute(0, 3, 1, 2)


def to_inputs(x: Tensor) -> Tensor:
    """Images in [-1, 1] as vectors (B, D) in [0, 1], where black, of which there is most, is 0."""
    return (to_vector(x) + 1) / 2


def to_logits(free: Tensor, shape: Shape) -> Tensor:
    """Logits of all levels but the lowest, whose logit is 0, as those of images.

    Of two levels one number remains, the logit of white.

    Arguments:
        free: (B, D, levels - 1).
        shape: (C, H, W) of the images.

    Returns:
        (B, levels, C, H, W).
    """
    channels, height, width = shape
    logits = F.pad(free, (1, 0)).view(len(free), height, width, channels, -1)
    return logits.permute(0, 4, 3, 1, 2)


def random_orders(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Which of `size` sub-pixels stands at each place, for `count` orders, (count, size)."""
    return torch.stack([torch.randperm(size, generator=generator) for _ in range(count)])


class VectorNetwork(PixelNetwork):
    """Reads images of one shape as vectors. A subclass states `logits` and `begin`.

    Arguments:
        shape: (C, H, W) of the images.
        levels: How many values a sub-pixel can have, from 2 to 256.
    """

    shape: Shape
    only_logits = True

    def __init__(self, shape: Shape = (1, 28, 28), levels: int = 2) -> None:
        super().__init__()
        check_sizes(shape=shape)
        self.levels = self.outputs = check_levels(levels)
        channels, height, width = shape
        self.shape, self.channels = (channels, height, width), channels
        self.colors, self.num_classes = channels, None
        self.dimensions, self.free = prod(shape), levels - 1

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        height, rows = self.shape[1], x.shape[2]
        if rows > height or (x.shape[1], x.shape[3]) != self.shape[::2]:
            raise ValueError(
                f"the network is for images of shape {self.shape} but got {tuple(x.shape[1:])}; set "
                "its shape to that of the images"
            )
        if rows < height:  # what is cut off does not matter to what is above
            x = F.pad(x, (0, 0, 0, height - rows))
        return to_logits(self.logits(to_inputs(x)), self.shape)[..., :rows, :]

    def walk(self, x: Tensor, labels: Tensor | None = None) -> Walk:
        return VectorWalk(self.begin(x), x)

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """Maps vectors (B, D) in [0, 1] to logits (B, D, levels - 1), each from those before it."""

    @abstractmethod
    def begin(self, x: Tensor) -> Places:
        """Its way along vectors, of as many images as there are in `x`."""
