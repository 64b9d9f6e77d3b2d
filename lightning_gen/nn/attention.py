r"""Windows of images: a grid of Gaussian filters that can be moved, spread and blurred.

The N x N filters stand at equal distances around a centre. A window is read, and painted into, by
two matrix products, so it is differentiable in its place and in its size.

References:
    | DRAW: A Recurrent Neural Network For Image Generation (Gregor et al., 2015), Section 3.2
    | https://arxiv.org/abs/1502.04623
"""

from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from .precision import wide

NUMBERS = 5  # that say where a window is


class Window(NamedTuple):
    """Filters, whose weights over an image's rows, and over its columns, sum to one each."""

    rows: Tensor  # (B, N, H)
    columns: Tensor  # (B, N, W)
    strength: Tensor  # what is read is multiplied by it, and what is painted divided, (B, 1, 1, 1)

    def read(self, x: Tensor) -> Tensor:
        """Maps images (B, C, H, W) to what is seen of them, (B, C, N, N)."""
        return self.strength * (self.rows[:, None] @ x @ self.columns[:, None].mT)

    def paint(self, patch: Tensor) -> Tensor:
        """Maps patches (B, C, N, N) to images (B, C, H, W) that are empty elsewhere."""
        return self.rows[:, None].mT @ patch @ self.columns[:, None] / self.strength


def gaussian_window(numbers: Tensor, height: int, width: int, count: int) -> Window:
    """The window that five numbers (B, 5) speak of.

    They are its centre, across and down, from -1 to 1 within the image, and the logarithms of the
    filters' variance in pixels, of their distance in units of that at which `count` of them span the
    longer side, and of the strength.
    """
    across, down, log_var, log_distance, log_strength = wide(numbers)[..., None].unbind(1)
    distance = (max(height, width) - 1) / (count - 1) * log_distance.exp()
    steps = torch.arange(count).to(distance) - (count - 1) / 2
    rows = _filters((height + 1) / 2 * (down + 1) + steps * distance, log_var, height)
    columns = _filters((width + 1) / 2 * (across + 1) + steps * distance, log_var, width)
    return Window(rows, columns, log_strength.exp()[..., None, None])


def everywhere(height: int, width: int, count: int) -> tuple[Tensor, Tensor]:
    """The five numbers (5,) of a window with all of an image in it: one to read, one to paint.

    The filters stand in the middle of equal parts of the longer side and are blurred so much that
    nothing is left out in between. What is painted is as bright, on average, as the patch.
    """
    side = max(height, width)
    distance = side / count
    log_distance = log(distance * (count - 1) / max(side - 1, 1))
    numbers = torch.tensor([0, 0, 2 * log(distance / 2), log_distance, 0])
    paints = numbers.clone()
    paints[-1] = log(count / height * count / width)
    return numbers, paints


def _filters(centres: Tensor, log_var: Tensor, size: int) -> Tensor:
    """Gaussians at `centres` (B, N) over pixels that count from 1 to `size`, (B, N, size)."""
    pixels = torch.arange(1, size + 1).to(centres)
    # Narrower ones are points to all pixels, and in the end their exponents would overflow.
    precision = (-log_var.clamp(min=-20)).exp()[..., None]
    exponents = -0.5 * (pixels - centres[..., None]).square() * precision
    return exponents.softmax(-1)  # of filters far outside too, all of whose weights are tiny
