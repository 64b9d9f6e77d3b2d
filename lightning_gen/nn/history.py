"""The past of a network's weights."""

import torch
from torch import Tensor, nn


class History(nn.Module):
    """The mean of all past values of a network's weights.

    Arguments:
        network: Whose weights; their present values are the first.
    """

    count: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        weights: list[Tensor] = list(network.parameters())
        self._weights = (weights,)  # in a tuple, or they would become parameters of this module too
        for i, weight in enumerate(weights):
            self.register_buffer(f"mean{i}", weight.detach().clone())
        self.register_buffer("count", torch.ones(()))

    def distance(self) -> Tensor:
        """The squared distance of the weights from their mean, a scalar."""
        pairs = zip(self._weights[0], self._means(), strict=True)
        return torch.stack([(now - mean).square().sum() for now, mean in pairs]).sum()

    @torch.no_grad()
    def update(self) -> None:
        """Takes the present weights into the mean."""
        self.count += 1
        for now, mean in zip(self._weights[0], self._means(), strict=True):
            mean.lerp_(now, 1 / self.count.to(mean.dtype))

    def _means(self) -> list[Tensor]:
        return [getattr(self, f"mean{i}") for i in range(len(self._weights[0]))]
