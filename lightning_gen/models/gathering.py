"""Losses that compare the images of a batch: over several processes they need those of all."""

from typing import Any

import torch
from torch import Tensor


def gathered(x: Tensor) -> Tensor:
    """What all processes have, (processes * B, ...), from what each of them has, (B, ...).

    A loss of it has the gradient that one process with the whole batch would have, once gradients
    are averaged over processes.
    """
    return _Gather.apply(x)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        world, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
        # Each process has the whole loss, but goes back through its own images only.
        return gradient.chunk(world)[rank] * world
