"""Going through images pixel by pixel without computing anything twice.

In training a causal layer sees whole images; in sampling it meets one pixel after the other, by
rows from the top left, C times each if the colours of a pixel depend on each other. A layer that
looks at other pixels says by its `Steps` what it keeps of them: what a row gets from the rows above
is computed at once when it begins, and per pixel there is left what comes from its own row.

A network that can do so returns a `SteppedWalk` of its `Steps` from `PixelNetwork.walk`; one that
is a chain of modules gets them from `steps_of`. Its outputs are those of the whole network, but for
rounding, so samples are the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Layers without weights that treat each number alone.
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Identity)


class Walk(ABC):
    """The outputs of a network at one place after the other of images that are being filled in.

    Arguments:
        x: Images (B, C, H, W). The caller writes in each sub-pixel after it asked for it.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x

    @abstractmethod
    def outputs(self, row: int, column: int, color: int = 0) -> Tensor:
        """(B, K) at a place, given all that stands before it in `x`.

        Places are asked for in their order, by rows, then columns, then colours. Those that are
        left out are known, and must stand in `x` by then.
        """


class CroppedWalk(Walk):
    """What any network can do: all rows down to the pixel's own are computed for each sub-pixel.

    Arguments:
        network: Maps images (B, C, H, W) to (B, K, colors, H, W), causally.
        x: See `Walk`.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], x: Tensor) -> None:
        super().__init__(x)
        self.network = network

    def outputs(self, row: int, column: int, color: int = 0) -> Tensor:
        return self.network(self.x[:, :, : row + 1])[:, :, color, row, column]


class Steps(ABC):
    """A causal layer on its way through images, with what it keeps of the pixels behind it.

    Each row begins with `row`; its pixels follow from the left. For each, `pixel` may be called
    several times, as colours become known, and `keep` once all are.
    """

    def row(self) -> None:  # noqa: B027
        """The row above is finished, or there is none: prepares the next."""

    @abstractmethod
    def pixel(self, column: int, x: Tensor) -> Tensor:
        """Maps the features (B, F) of the pixel to its outputs (B, F')."""

    def keep(self, column: int, x: Tensor) -> None:  # noqa: B027
        """The features (B, F) of the pixel as they stay, if they are a part of the image.

        A layer that reads the image is called before all colours are known; the features of the
        layers after it are complete by then.
        """


class SteppedWalk(Walk):
    """Each pixel is computed once, or once for each of its colours.

    Arguments:
        steps: Maps pixels (B, C) to (B, K * colors), of which number f belongs to colour
            f mod `colors`.
        x: See `Walk`.
        colors: How many colours follow one another within a pixel.
    """

    def __init__(self, steps: Steps, x: Tensor, colors: int = 1) -> None:
        super().__init__(x)
        self.steps, self.colors = steps, colors
        self.at = (0, 0)
        self._asked = -1  # the last colour, of the pixel where it stands
        steps.row()

    def outputs(self, row: int, column: int, color: int = 0) -> Tensor:
        if (row, column) < self.at:
            raise ValueError(
                f"the walk is at {self.at} already and cannot go back to {row, column}"
            )
        while self.at != (row, column):
            self._advance()
        self._asked = max(self._asked, color)
        return self.steps.pixel(column, self.x[:, :, row, column])[:, color :: self.colors]

    def _advance(self) -> None:
        row, column = self.at
        x = self.x[:, :, row, column]
        if self._asked < self.colors - 1:  # else its features do not depend on what came since
            self.steps.pixel(column, x)
        self.steps.keep(column, x)
        self._asked = -1
        self.at = (row, column + 1) if column + 1 < self.x.shape[3] else (row + 1, 0)
        if self.at[1] == 0:
            self.steps.row()


@runtime_checkable
class Incremental(Protocol):
    """A module that looks at other pixels, and can go through images."""

    def steps(self, x: Tensor) -> Steps:
        """Its way through images like `x` (B, C, H, W), whose values do not matter."""


class Residual(nn.Module):
    """x + f(x).

    Arguments:
        body: The modules of f, one after the other.
    """

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)

    def steps(self, x: Tensor) -> Steps:
        return _Sum(steps_of(self.body, x))


def steps_of(module: nn.Module, x: Tensor) -> Steps:
    """The steps of an `Incremental` module, of a chain, or of one that looks at single pixels."""
    if isinstance(module, Incremental):
        return module.steps(x)
    if isinstance(module, nn.Sequential):
        return Chain([steps_of(part, x) for part in module])
    if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
        return within_pixel(module)
    if isinstance(module, ACTIVATIONS):
        return Pointwise(module)
    raise TypeError(
        f"{type(module).__name__} does not say what it keeps of other pixels; give it a method `steps`"
    )


class Chain(Steps):
    """One after the other."""

    def __init__(self, parts: Sequence[Steps]) -> None:
        self.parts = parts

    def row(self) -> None:
        for part in self.parts:
            part.row()

    def pixel(self, column: int, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part.pixel(column, x)
        return x

    def keep(self, column: int, x: Tensor) -> None:
        for part in self.parts:
            part.keep(column, x)
            if not isinstance(part, Pointwise):
                break  # what comes after reads features, not the image
            x = part.pixel(column, x)


class _Sum(Steps):
    """x + f(x)."""

    def __init__(self, body: Steps) -> None:
        self.body = body

    def row(self) -> None:
        self.body.row()

    def pixel(self, column: int, x: Tensor) -> Tensor:
        return x + self.body.pixel(column, x)


class Pointwise(Steps):
    """A function of features (B, F) that is the same at each pixel."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def pixel(self, column: int, x: Tensor) -> Tensor:
        return self.function(x)


def matrix(weight: Tensor) -> Tensor:
    """A convolution's weight (O, I, h, w) as a matrix (h * w * I, O) that windows are times.

    The order within a window is that in which `LeftRow` keeps it.
    """
    return weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous()


def within_pixel(conv: nn.Conv2d) -> "Pointwise":
    """A convolution of size 1 as a function of features (B, F)."""
    columns, bias = matrix(conv.weight), conv.bias
    if bias is None:
        return Pointwise(lambda x: x @ columns)
    return Pointwise(lambda x: torch.addmm(bias, x, columns))


class LeftRow:
    """The features of a row so far, with zeros to the left of it.

    Arguments:
        x: Images (B, C, H, W) like those to come.
        features: How many each pixel has.
        reach: How many pixels to the left a window has, beside the pixel itself.
    """

    def __init__(self, x: Tensor, features: int, reach: int) -> None:
        self.reach, self._past = reach, x.new_zeros(len(x), x.shape[3] + reach, features)

    def put(self, column: int, x: Tensor) -> None:
        """Writes the features (B, F) of a pixel."""
        self._past[:, column + self.reach] = x

    def window(self, column: int) -> Tensor:
        """The pixels from `reach` to the left up to this one, ((reach + 1) * F,) of each image."""
        return self._past[:, column : column + self.reach + 1].flatten(1)

    def row(self) -> Tensor:
        """The whole row, (B, F, W)."""
        return self._past[:, self.reach :].transpose(1, 2)


class RowsAbove:
    """The last rows of features, of which a convolution makes what the next row gets from them.

    Arguments:
        x: Images (B, C, H, W) like those to come.
        weight: Of the convolution, (O, F, rows, 2 * reach + 1).
        bias: Of the convolution.
    """

    def __init__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
        features, rows, columns = weight.shape[1:]
        self.weight, self.bias, self.reach = weight, bias, columns // 2
        self._rows = x.new_zeros(len(x), features, rows, x.shape[3] + 2 * self.reach)

    def push(self, row: Tensor) -> Tensor:
        """Takes one more row (B, F, W); gives (B, O, W)."""
        self._rows = self._rows.roll(-1, 2)
        self._rows[:, :, -1, self.reach : self.reach + row.shape[2]] = row
        return F.conv2d(self._rows, self.weight, self.bias)[:, :, 0]


def by_column(row: Tensor) -> Tensor:
    """A row (B, F, W) as (W, B, F), so that each pixel's features lie together."""
    return row.permute(2, 0, 1).contiguous()
