"""Layers that look at the images of all processes."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


def processes() -> int:
    """How many there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def summed(x: Tensor) -> Tensor:
    """The sum over processes, with derivatives of any order.

    Gradients are those of the sum of all processes' losses.
    """
    return _Sum.apply(x)


@torch.compiler.disable  # a graph would have to break at the collective
def gathered(x: Tensor) -> Tensor:
    """What all processes have, (processes * B, ...), of what each has, (B, ...); otherwise as `summed`."""
    before = dist.get_rank() * len(x)
    after = (processes() - 1) * len(x) - before
    return summed(F.pad(x, (*(0, 0) * (x.dim() - 1), before, after)))


class _Sum(Function):
    """It is its own derivative, so it has them of any order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _Sum.apply(grad)
