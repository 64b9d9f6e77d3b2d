"""Convolutions that see only the sub-pixels before them: by rows from the top left, then R, G, B.

Among the features of a pixel, channel f belongs to colour f mod C, and to predict a colour only
the colours before it may be seen. Splitting channels in halves keeps this if a half has whole
groups of C.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .incremental import LeftRow, RowsAbove, Steps, by_column, matrix


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
        mask = torch.ones_like(self.weight)
        mask[..., -1] = color_mask(in_channels, out_channels, colors, strict)[..., None]
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (self.reach, 0, 0, 0)) if self.reach else x  # which would be a copy
        return F.conv2d(x, self.weight * self.mask, self.bias)

    def steps(self, x: Tensor) -> "RowSteps":
        assert self.bias is not None
        return RowSteps(x, self.weight * self.mask, self.bias)


class MaskedConv2d(nn.Conv2d):
    """A convolution over all before the pixel that a square around it holds: masks A and B.

    Stacks of it have a blind spot: of the row above, nothing further right than the first layer's
    reach is ever seen (van den Oord et al., 2016, Figure 1).

    Arguments:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        reach: How many pixels up and to the sides it sees.
        colors: C of the images.
        strict: Hide the pixel's own colour too (mask A); see `RowCausalConv2d`.
    """

    mask: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        reach: int = 1,
        colors: int = 1,
        strict: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, (reach + 1, 2 * reach + 1))
        self.reach = reach
        mask = torch.ones_like(self.weight)
        mask[:, :, -1, reach] = color_mask(in_channels, out_channels, colors, strict)
        mask[:, :, -1, reach + 1 :] = 0
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (self.reach, self.reach, self.reach, 0))
        return F.conv2d(x, self.weight * self.mask, self.bias)

    def steps(self, x: Tensor) -> "MaskedSteps":
        assert self.bias is not None
        return MaskedSteps(x, self.weight * self.mask, self.bias)


def color_mask(in_channels: int, out_channels: int, colors: int, strict: bool) -> Tensor:
    """Which features of a pixel may see which, (out_channels, in_channels), True where they may."""
    seen = torch.arange(in_channels) % colors
    predicted = (torch.arange(out_channels) % colors)[:, None]
    return seen < predicted if strict else seen <= predicted


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
        context: Channels of maps that shift it instead, at each pixel by what they say there.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        reach: int = 1,
        colors: int = 1,
        first: bool = False,
        num_classes: int | None = None,
        context: int | None = None,
    ) -> None:
        super().__init__()
        if width % colors:
            raise ValueError(f"width must be a multiple of the {colors} colors, got {width}")
        self.vertical = AboveConv2d(in_channels, 2 * width, reach)
        self.horizontal = RowCausalConv2d(in_channels, 2 * width, reach, colors, strict=first)
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        self.out = RowCausalConv2d(width, width, colors=colors)
        self.shift = nn.Embedding(num_classes, 4 * width) if num_classes else None
        self.takes_attributes = not num_classes  # of which it looks up one
        if self.shift is not None:
            nn.init.zeros_(self.shift.weight)
        # Not masked: maps say nothing of the pixels but what was known before all of them.
        self.look = nn.Conv2d(context, 4 * width, 1) if context else None
        self.gate = GatedActivation()
        self.first = first

    def forward(
        self, v: Tensor, h: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Maps the vertical and horizontal stacks (B, in_channels, H, W) to the next ones.

        The condition is classes (B,), or maps (B, context, H, W).
        """
        above, before = self.vertical(v), self.horizontal(h)
        shifts = self.shifts(condition)
        if shifts is not None:
            above, before = above + shifts[0], before + shifts[1]
        # Rows down to its own are rows strictly above, seen from one row further down.
        before = before + self.link(F.pad(above, (0, 0, 1, 0))[:, :, :-1])
        out = self.out(self.gate(before))
        # The first layer's input is the pixel to predict, so there is no residual.
        return self.gate(above), out if self.first else h + out

    def shifts(self, condition: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """What a condition adds to the two stacks, (B, 2 * width, H, W) or (B, 2 * width, 1, 1)."""
        if self.shift is not None:
            above, before = self.shift(condition)[..., None, None].chunk(2, dim=1)
        elif self.look is not None:
            above, before = self.look(condition).chunk(2, dim=1)
        else:
            return None
        return above, before

    def steps(self, x: Tensor, condition: Tensor | None = None) -> "GatedSteps":
        """Its way through images like `x` (B, C, H, W), of a condition as `forward` takes it."""
        return GatedSteps(self, x, condition)


class RowSteps(Steps):
    """A `RowCausalConv2d` keeps its inputs of the row so far.

    Arguments:
        x: Images (B, C, H, W) like those to come.
        weight: Masked, (O, F, 1, reach + 1).
        bias: What is added to each pixel, (O,) or (B, O), unless `pixel` is told otherwise.
    """

    def __init__(self, x: Tensor, weight: Tensor, bias: Tensor) -> None:
        features, _, size = weight.shape[1:]
        self.past = LeftRow(x, features, size - 1)
        self.columns, self.bias = matrix(weight), bias

    def pixel(self, column: int, x: Tensor) -> Tensor:
        return self.add_to(self.bias, column, x)

    def add_to(self, bias: Tensor, column: int, x: Tensor) -> Tensor:
        """As `pixel`, with another bias."""
        if self.past.reach == 0:
            return torch.addmm(bias, x, self.columns)
        self.past.put(column, x)
        return torch.addmm(bias, self.past.window(column), self.columns)

    def keep(self, column: int, x: Tensor) -> None:
        self.past.put(column, x)


class MaskedSteps(RowSteps):
    """A `MaskedConv2d` also keeps the rows above that it sees, and what this row gets of them."""

    def __init__(self, x: Tensor, weight: Tensor, bias: Tensor) -> None:
        reach = weight.shape[2] - 1
        super().__init__(x, weight[:, :, -1:, : reach + 1], bias)
        self.above = RowsAbove(x, weight[:, :, :-1], bias)
        self.gets = bias.expand(x.shape[3], len(x), -1)
        self.begun = False

    def row(self) -> None:
        if self.begun:
            self.gets = by_column(self.above.push(self.past.row()))
        self.begun = True

    def pixel(self, column: int, x: Tensor) -> Tensor:
        return self.add_to(self.gets[column], column, x)


class GatedSteps:
    """A `GatedCausalLayer` computes its vertical stack once a row, when the row above is finished.

    Arguments:
        layer: The layer.
        x: Images (B, C, H, W) like those to come.
        condition: What the layer's `forward` takes, if it takes any.
    """

    def __init__(self, layer: GatedCausalLayer, x: Tensor, condition: Tensor | None) -> None:
        self.layer, self.at = layer, 0  # the row
        self.rows = RowsAbove(x, layer.vertical.weight, layer.vertical.bias)
        self.before, self.out = layer.horizontal.steps(x), layer.out.steps(x)
        shifts = layer.shifts(condition)
        if shifts is None:
            shifts = x.new_zeros(1, 1, 1, 1), x.new_zeros(1, 1, 1, 1)
        height = x.shape[2]
        self.for_above, for_before = (shift.expand(-1, -1, height, -1) for shift in shifts)
        self.for_before = self.before.bias[:, None, None] + for_before
        self.gets = self._link(x.new_zeros(len(x), layer.link.in_channels, x.shape[3]))

    def row(self, v: Tensor) -> Tensor:
        """Maps the finished row above of the vertical stack (B, F, W) to that of the next layer."""
        above = self.rows.push(v) + self.for_above[:, :, self.at]
        self.at += 1
        self.gets = self._link(above)
        return self.layer.gate(above)

    def pixel(self, column: int, h: Tensor) -> Tensor:
        """Maps the horizontal stack at a pixel (B, F) to that of the next layer."""
        before = self.before.add_to(self.gets[column], column, h)
        out = self.out.pixel(column, self.layer.gate(before))
        return out if self.layer.first else h + out

    def _link(self, above: Tensor) -> Tensor:
        link = self.layer.link
        gets = F.conv1d(above, link.weight[:, :, 0], link.bias)
        return by_column(gets + self.for_before[:, :, self.at])
