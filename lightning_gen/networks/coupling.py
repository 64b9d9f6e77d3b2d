r"""The invertible network of NICE: one half of the sub-pixels is shifted by a function of the other.

.. math:: y_1 = x_1, \quad y_2 = x_2 + m(x_1)

The halves take turns, and last each code has a scale of its own. Shifts keep volumes, so the
log-determinant is the sum of the logarithms of the scales.

References:
    | NICE: Non-linear Independent Components Estimation (Dinh et al., 2014), Section 3
    | https://arxiv.org/abs/1410.8516
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from ..nn.raster import Shape, to_images, to_vector
from ..nn.roles import ImageFlow
from ..nn.sizes import check_sizes
from .mlp import hidden_layers


class AdditiveCouplings(ImageFlow):
    """Maps images (B, C, H, W) to codes (B, D) and back, by shifts of every other sub-pixel.

    Each shift begins at zero, and so do the logarithms of the scales; the paper draws all weights
    from U(-0.01, 0.01).

    Arguments:
        shape: (C, H, W) of the images.
        couplings: How many times a half is shifted. With less than 3 not every code depends on
            every sub-pixel.
        widths: Units of the hidden ReLU layers of each shift; the paper has five of 1000.
    """

    def __init__(
        self,
        shape: Shape = (1, 28, 28),
        couplings: int = 4,
        widths: tuple[int, ...] = (1000, 1000, 1000, 1000, 1000),
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, couplings=couplings, widths=widths)
        size = prod(shape)
        if size < 2:
            raise ValueError(f"shape must have two halves, so two sub-pixels, got {list(shape)}")
        channels, height, width = shape
        self.shape = (channels, height, width)
        even, odd = -(-size // 2), size // 2
        sizes = [(even, odd) if i % 2 == 0 else (odd, even) for i in range(couplings)]
        self.shifts = nn.ModuleList(shift(a, b, widths) for a, b in sizes)
        self.log_scale = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = to_vector(x)
        kept, moved = x[:, ::2], x[:, 1::2]
        for m in self.shifts:
            kept, moved = moved + m(kept), kept
        if len(self.shifts) % 2:
            kept, moved = moved, kept
        z = _interleave(kept, moved)
        return z * self.log_scale.exp(), self.log_scale.sum().expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        z = z * (-self.log_scale).exp()
        kept, moved = z[:, ::2], z[:, 1::2]
        if len(self.shifts) % 2:
            kept, moved = moved, kept
        for m in reversed(self.shifts):
            kept, moved = moved, kept - m(moved)
        return to_images(_interleave(kept, moved), self.shape)


def shift(inputs: int, outputs: int, widths: Sequence[int]) -> nn.Sequential:
    """A fully connected network with hidden ReLU layers whose last layer begins at zero."""
    last = nn.Linear(widths[-1], outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*hidden_layers((inputs, *widths)), last)


def _interleave(even: Tensor, odd: Tensor) -> Tensor:
    """Puts halves (B, ...) of vectors together again."""
    x = even.new_empty(len(even), even.shape[1] + odd.shape[1])
    x[:, ::2], x[:, 1::2] = even, odd
    return x
