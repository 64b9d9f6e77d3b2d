"""Several processes that compute what one would: gradients averaged in one piece, by ourselves.

Lightning would wrap the model in DDP, which raises where a backward pass leaves parameters unused, as
each move of a game does, and which has to be told of it. Equal weights to start with and one flat
all-reduce for each backward pass are enough, whatever the graph.
"""

from collections.abc import Iterable

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.overrides.distributed import _sync_module_states
from pytorch_lightning.plugins.layer_sync import LayerSync
from pytorch_lightning.strategies import DDPStrategy, Strategy
from torch import Tensor, nn

from ..nn.sync_norm import synchronised


class _GlobalNorm(LayerSync):
    """Batch normalisation over the global batch, on CPUs as well, where torch's own refuses."""

    def apply(self, model: nn.Module) -> nn.Module:
        return synchronised(model)

    def revert(self, model: nn.Module) -> nn.Module:
        return model  # alone, it is what it was


def leave_averaging_to(model: LightningModule, strategy: Strategy) -> bool:
    """Has a model average its own gradients; says whether there are several processes to do so.

    Arguments:
        model: It calls `average` after its backward passes.
        strategy: The trainer's, before it wraps the model. Only DDP is changed.
    """
    if not isinstance(strategy, DDPStrategy):
        return False
    strategy.configure_ddp = lambda: _sync_module_states(model)  # type: ignore[method-assign]
    if strategy._layer_sync is not None:
        strategy._layer_sync = _GlobalNorm()
    return strategy.world_size > 1


def statistics(networks: Iterable[nn.Module]) -> list[Tensor]:
    """What networks keep of the data that they saw: running means, variances and the like.

    They have to be equal on all processes, for each to sample, and to save, the same.
    """
    return [
        buffer
        for network in networks
        for module in network.modules()
        for name, buffer in module.named_buffers(recurse=False)
        if buffer.is_floating_point() and name not in module._non_persistent_buffers_set
    ]


def average(tensors: Iterable[Tensor]) -> None:
    """Averages tensors over all processes, in place: one collective for each type of number."""
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor)
    for group in groups.values():
        flat = torch._utils._flatten_dense_tensors(group)
        torch.distributed.all_reduce(flat)
        flat /= torch.distributed.get_world_size()
        means = torch._utils._unflatten_dense_tensors(flat, group)
        torch._foreach_copy_(group, list(means))
