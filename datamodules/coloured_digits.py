"""Coloured digits on coloured grounds, whose layers are known: images that attributes describe.

They stand in for photographs of objects with masks, as Attribute2Image needs them
(Yan et al., 2016), https://arxiv.org/abs/1512.00570
"""

import hashlib
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from lightning_gen.randomness import stream

from .images import Images, InMemory, Splits
from .mnist import MNIST

HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
RGB = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]]).float()
DIGITS = 10


class ColouredDigits(MNIST):
    """MNIST's digits in one of six hues, on a ground of another hue that is shaded to one side.

    Labels are 22 attributes (B, 22), 1 or 0: which digit, which hue it has, which hue the ground
    has. How bright both are, and to which side the ground is shaded, they do not say. What is drawn
    for an image is drawn once, from a stream that no run's seed changes.

    Arguments:
        size: 28, 32 to pad with level 0, or 14 for the means of two by two pixels, rounded.
        masks: Serve the digit's own levels as a fourth channel: the share of the foreground in a
            pixel, between black for the ground and white for the digit.
        kwargs: See `MNIST`.
    """

    name = "coloured_digits"
    num_classes = None  # type: ignore[assignment]
    num_attributes = DIGITS + 2 * len(HUES)

    def __init__(self, size: int = 28, masks: bool = False, **kwargs: Any) -> None:
        super().__init__(size=size, **kwargs)
        self.shape, self.masks = (4 if masks else 3, size, size), masks
        grounds = [f"{hue} ground" for hue in HUES]
        self.label_names = [*(self.label_names or []), *HUES, *grounds]
        self.source = "with masks" if masks else ""

    def read(self) -> Splits:
        grey = super().read()
        names = ("train", "val", "test")
        return Splits(*(self._painted(cast(InMemory, getattr(grey, k)), k) for k in names))

    def _painted(self, grey: InMemory, split: str) -> "Painted":
        return Painted(grey, paint_for(len(grey), split), self.masks)


class Paint(NamedTuple):
    """The colours of N images."""

    hues: Tensor  # int64 (N, 2): of the digit and of the ground, never the same
    brightness: Tensor  # (N, 2), in [0, 1]
    shade: Tensor  # (N, 2): how much brighter the ground gets to the right and to the bottom

    def of(self, indices: Tensor) -> "Paint":
        """That of some images."""
        return Paint(*(part[indices] for part in self))


class Painted(Images):
    """Images that are painted when they are fetched.

    Arguments:
        grey: Digits (N, 1, H, W) in memory, with their classes.
        paint: Their colours.
        masks: Whether to serve the digits as a fourth channel.
    """

    def __init__(self, grey: InMemory, paint: Paint, masks: bool) -> None:
        self.grey, self.paint, self.masks = grey, paint, masks
        self.labels = torch.zeros(len(grey), ColouredDigits.num_attributes, dtype=torch.int64)
        ones = torch.cat([grey.labels[:, None], paint.hues + torch.tensor([10, 16])], 1)
        self.labels.scatter_(1, ones, 1)

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        digits = self.grey.pixels[indices]
        images = painted(digits, self.paint.of(indices))
        return torch.cat([images, digits], 1) if self.masks else images, self.labels[indices]

    def subset(self, indices: Tensor) -> "Painted":
        return Painted(self.grey.subset(indices), self.paint.of(indices), self.masks)

    def digest(self) -> str:
        sha = hashlib.sha256(self.grey.digest().encode())
        for part in self.paint:
            sha.update(part.contiguous().numpy().data)
        return sha.hexdigest()


def paint_for(count: int, split: str) -> Paint:
    """Random colours for `count` images."""
    generator = stream("coloured digits", split)
    hue = torch.randint(len(HUES), (count,), generator=generator)
    away = torch.randint(1, len(HUES), (count,), generator=generator)
    bright = 0.5 + 0.5 * torch.rand(count, 2, generator=generator)
    shade = 0.4 * (torch.rand(count, 2, generator=generator) - 0.5)
    hues = torch.stack([hue, (hue + away) % len(HUES)], 1)
    return Paint(hues, bright * torch.tensor([1.0, 0.8]), shade)


def painted(digits: Tensor, paint: Paint) -> Tensor:
    """Digits (B, 1, H, W) in their colours before their grounds, uint8 (B, 3, H, W)."""
    height, width = digits.shape[2:]
    rightwards = torch.linspace(-1, 1, width).view(1, 1, 1, -1)
    downwards = torch.linspace(-1, 1, height).view(1, 1, -1, 1)
    right, down = paint.shade[..., None, None, None].unbind(1)
    shading = 1 + right * rightwards + down * downwards
    colours = RGB[paint.hues] * paint.brightness[..., None]  # (B, 2, 3)
    front, back = colours[..., None, None].unbind(1)
    share = digits / 255
    levels = share * front + (1 - share) * (back * shading).clamp(0, 1)
    return (levels * 255).round().to(torch.uint8)
