r"""Recurrent layers over images: Row LSTM and Diagonal BiLSTM.

Both go through the image line by line, and through all pixels of a line at once:

.. math:: [o, f, i, g] = W_s s + W_x x, \quad c = f c' + i g, \quad h = o \tanh c

with o, f, i behind a sigmoid and g behind a tanh, x the features of the pixel and those before it
in its row, and s the states of a few neighbours in the line before. States are zero outside the
image: nothing but the features has a bias, so where there are none the state stays zero.

References:
    | Pixel Recurrent Neural Networks (van den Oord et al., 2016), Sections 3.1 to 3.3
    | https://arxiv.org/abs/1601.06759
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .causal import RowCausalConv2d
from .incremental import Steps


class RowLSTM(nn.Module):
    """Goes through the rows from the top; a pixel's neighbours are the three above it.

    It sees a triangle: of the row above one pixel further right than the pixel, of that above two.

    Arguments:
        in_channels: Channels of the input.
        hidden: Channels of the state, which is the output; a multiple of `colors`.
        colors: C of the images.
    """

    def __init__(self, in_channels: int, hidden: int, colors: int = 1) -> None:
        super().__init__()
        self.input = RowCausalConv2d(in_channels, 4 * hidden, 1, colors)
        self.state = state_weight(1, 3, hidden)

    def forward(self, x: Tensor) -> Tensor:
        gates = self.input(x).permute(2, 0, 3, 1)[:, None]  # (H, 1, B, W, 4 * hidden)
        return scan(gates, self.state, (1, 1))[:, 0].permute(1, 3, 0, 2)

    def steps(self, x: Tensor) -> "RowLSTMSteps":
        return RowLSTMSteps(self, x)


class DiagonalBiLSTM(nn.Module):
    """Goes through the diagonals from both upper corners; neighbours are beside and above a pixel.

    What comes from the right is moved down by one row, as in its own row it has seen what is yet to
    come. Both together see all before the pixel but the last of the row above, which no feature of
    that row has seen, unless the layers before reach that far.

    Arguments:
        in_channels: Channels of the input.
        hidden: Channels of the state; the output is the sum of both. A multiple of `colors`.
        colors: C of the images.
    """

    def __init__(self, in_channels: int, hidden: int, colors: int = 1) -> None:
        super().__init__()
        self.input = RowCausalConv2d(in_channels, 8 * hidden, 0, colors)
        self.state = state_weight(2, 2, hidden)

    def forward(self, x: Tensor) -> Tensor:
        rightwards, leftwards = self.input(x).chunk(2, dim=1)
        both = skew(torch.stack([rightwards, leftwards.flip(3)]))
        states = scan(both.permute(4, 0, 1, 3, 2), self.state, (1, 0))  # (T, 2, B, H, hidden)
        rightwards, leftwards = unskew(states.permute(1, 2, 4, 3, 0), x.shape[3])
        return rightwards + F.pad(leftwards.flip(3), (0, 0, 1, 0))[:, :, :-1]

    def steps(self, x: Tensor) -> "DiagonalSteps":
        return DiagonalSteps(self, x)


def skew(x: Tensor) -> Tensor:
    """Moves row r of images (..., H, W) to the right by r: (..., H, W + H - 1), zero elsewhere."""
    height, width = x.shape[-2:]
    rows = F.pad(x, (0, height)).flatten(-2)[..., :-height]  # each row begins one pixel earlier
    return rows.unflatten(-1, (height, width + height - 1))


def unskew(x: Tensor, width: int) -> Tensor:
    """The inverse of `skew`, for images of that width."""
    height = x.shape[-2]
    return F.pad(x.flatten(-2), (0, height)).unflatten(-1, (height, width + height))[..., :width]


def state_weight(directions: int, taps: int, hidden: int) -> nn.Parameter:
    """Maps the states of neighbours to gates, (directions, taps * hidden, 4 * hidden)."""
    bound = (taps * hidden) ** -0.5
    return nn.Parameter(torch.empty(directions, taps * hidden, 4 * hidden).uniform_(-bound, bound))


def scan(gates: Tensor, weight: Tensor, reach: tuple[int, int]) -> Tensor:
    """Goes through lines one after the other.

    Arguments:
        gates: What the features say, (T, directions, B, L, 4 * hidden) for T lines of L pixels.
        weight: From the states of neighbours to gates, (directions, taps * hidden, 4 * hidden).
        reach: How many pixels of the line before are seen before a pixel's own place, and after.

    Returns:
        The states (T, directions, B, L, hidden).
    """
    directions, count, length, hidden = *gates.shape[1:4], gates.shape[4] // 4
    h = c = gates.new_zeros(directions, count, length, hidden)
    states = []
    for line in gates.unbind():
        around = F.pad(h, (0, 0, *reach))
        seen = [around[:, :, k : k + length] for k in range(sum(reach) + 1)]
        both = torch.baddbmm(line.flatten(1, 2), torch.cat(seen, 3).flatten(1, 2), weight)
        h, c = cell(both.view(line.shape), c)
        states.append(h)
    return torch.stack(states)


def cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The next h and c (..., hidden), given gates (..., 4 * hidden) and the last c."""
    hidden = c.shape[-1]
    o, f, i = gates[..., : 3 * hidden].sigmoid().chunk(3, dim=-1)
    c = f * c + i * gates[..., 3 * hidden :].tanh()
    return o * c.tanh(), c


class RowLSTMSteps(Steps):
    """A `RowLSTM` keeps the states of the row above and of this one."""

    def __init__(self, layer: RowLSTM, x: Tensor) -> None:
        self.input, self.weight = layer.input.steps(x), layer.state[0]
        width, hidden = x.shape[3], layer.state.shape[2] // 4
        self.h = x.new_zeros(width + 2, len(x), hidden)  # with a zero at each end
        self.c = x.new_zeros(width, len(x), hidden)
        self.c_above = torch.zeros_like(self.c)
        self.gets = x.new_zeros(width, len(x), 4 * hidden)

    def row(self) -> None:
        self.c_above = self.c.clone()
        self.gets = torch.cat([self.h[:-2], self.h[1:-1], self.h[2:]], 2) @ self.weight

    def pixel(self, column: int, x: Tensor) -> Tensor:
        gates = self.input.pixel(column, x) + self.gets[column]
        self.h[column + 1], self.c[column] = cell(gates, self.c_above[column])
        return self.h[column + 1]


class DiagonalSteps(Steps):
    """A `DiagonalBiLSTM` keeps a row of states, and goes back through a row when it is finished."""

    def __init__(self, layer: DiagonalBiLSTM, x: Tensor) -> None:
        self.input = layer.input.steps(x)
        self.rightwards, self.leftwards = layer.state
        width, hidden = x.shape[3], layer.state.shape[2] // 4
        self.above = x.new_zeros(width, len(x), hidden)
        self.h = x.new_zeros(width + 1, len(x), hidden)  # with a zero at the left
        self.c = torch.zeros_like(self.h)
        self.back = torch.zeros_like(self.above)  # the states from the right of the row above
        self.gates = x.new_zeros(width, len(x), 4 * hidden)
        self.begun = False

    def row(self) -> None:
        if self.begun:
            self.above = self.h[1:].clone()
            self._go_back()
        self.begun = True

    def _go_back(self) -> None:
        h = c = torch.zeros_like(self.back[0])
        for column in reversed(range(len(self.back))):
            seen = torch.cat([self.back[column], h], 1)
            h, c = cell(torch.addmm(self.gates[column], seen, self.leftwards), c)
            self.back[column] = h

    def pixel(self, column: int, x: Tensor) -> Tensor:
        gates, self.gates[column] = self.input.pixel(column, x).chunk(2, dim=1)
        seen = torch.cat([self.above[column], self.h[column]], 1)
        gates = torch.addmm(gates, seen, self.rightwards)
        self.h[column + 1], self.c[column + 1] = cell(gates, self.c[column])
        return self.h[column + 1] + self.back[column]
