"""Exponential moving average of a network."""

from copy import deepcopy

import torch
from torch import nn


class Average(nn.Module):
    """A frozen copy of a network that trails it; buffers are copied, not averaged.

    Arguments:
        network: The network to follow.
    """

    network: nn.Module

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = deepcopy(network).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Average":
        """Stays in evaluation, as an average is only for sampling."""
        return super().train(False)

    @torch.no_grad()
    def update(self, network: nn.Module, decay: float) -> None:
        """Keeps the share `decay` of the past and takes the rest from `network`."""
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - decay)
        for mean, new in zip(self.network.buffers(), network.buffers(), strict=True):
            mean.copy_(new)
