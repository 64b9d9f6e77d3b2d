"""Convolutions that see only the sub-pixels before them: by rows from the top left, then R, G, B.

Among the features of a pixel, channel f belongs to colour f mod C, and to predict a colour only
the colours before it may be seen. Splitting channels in halves keeps this if a half has whole
groups of C.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GatedActivation(nn.Module):
    """tanh(a) * sigmoid(b) with a, b the two halves of the channels."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return a.tanh() * b.sigmoid()


class RowCausalConv2d(nn.Conv2d):
    """A convolution over the pixels to the left and, of the pixel itself, over the colours before.

    Arguments:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        reach: How many pixels to the left it sees.
        colors: C of the images.
        strict: Hide the pixel's own colour too (mask A), as the first layer must; the layers after
            it may see their own colour's features (mask B).
    """

    mask: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        reach: int = 0,
        colors: int = 1,
        strict: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, (1, reach + 1))
        self.reach = reach
        seen = torch.arange(in_channels) % colors
        predicted = (torch.arange(out_channels) % colors)[:, None]
        mask = torch.ones_like(self.weight)
        mask[..., -1] = (seen < predicted if strict else seen <= predicted)[..., None]
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (self.reach, 0, 0, 0))
        return F.conv2d(x, self.weight * self.mask, self.bias)


class AboveConv2d(nn.Conv2d):
    """A convolution over the row itself and the rows above, to both sides.

    Arguments:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        reach: How many rows up, and how many columns to each side, it sees.
    """

    def __init__(self, in_channels: int, out_channels: int, reach: int = 1) -> None:
        super().__init__(in_channels, out_channels, (reach + 1, 2 * reach + 1))
        self.pads = (reach, reach, reach, 0)  # left, right, top, bottom

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.pads))


class GatedCausalLayer(nn.Module):
    """One layer of the two stacks of a Gated PixelCNN (van den Oord et al., 2016, Figure 2).

    The vertical stack sees whole rows, down to its own. The horizontal stack sees its own row up to
    the pixel and, through a link, the vertical stack one row above, so that together they see all
    that came before and no blind spot is left.

    Arguments:
        in_channels: Channels of both inputs.
        width: Channels of both outputs, divisible by `colors`.
        reach: How many pixels up and to the sides the layer sees.
        colors: C of the images.
        first: Whether the layer reads the image itself, so must not see what it predicts.
        num_classes: Classes that shift what is gated; none by default.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        reach: int = 1,
        colors: int = 1,
        first: bool = False,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        if width % colors:
            raise ValueError(f"width must be a multiple of the {colors} colors, got {width}")
        self.vertical = AboveConv2d(in_channels, 2 * width, reach)
        self.horizontal = RowCausalConv2d(in_channels, 2 * width, reach, colors, strict=first)
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        self.out = RowCausalConv2d(width, width, colors=colors)
        self.shift = nn.Embedding(num_classes, 4 * width) if num_classes else None
        if self.shift is not None:
            nn.init.zeros_(self.shift.weight)
        self.gate = GatedActivation()
        self.first = first

    def forward(self, v: Tensor, h: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Maps the vertical and horizontal stacks (B, in_channels, H, W) to the next ones."""
        above, before = self.vertical(v), self.horizontal(h)
        if self.shift is not None:
            for_above, for_before = self.shift(labels)[..., None, None].chunk(2, dim=1)
            above, before = above + for_above, before + for_before
        # Rows down to its own are rows strictly above, seen from one row further down.
        before = before + self.link(F.pad(above, (0, 0, 1, 0))[:, :, :-1])
        out = self.out(self.gate(before))
        # The first layer's input is the pixel to predict, so there is no residual.
        return self.gate(above), out if self.first else h + out
