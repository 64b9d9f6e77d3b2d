r"""The even mixture of what one network makes of several orders of the sub-pixels.

.. math:: p(x) = \frac{1}{K} \sum_{k=1}^K \prod_i p(x_{o_k(i)} \mid x_{o_k(1)}, \dots, x_{o_k(i-1)})

It is at least as likely as the mean order, as the logarithm of a mean is above the mean of logarithms.
"""

from abc import ABC
from math import prod
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import losses
from ...levels import from_levels, to_levels
from ...nn.roles import OrderedNetwork
from ...randomness import Noise
from ..base import evaluating
from ..likelihood import LikelihoodModel
from ..quantised import check_levels
from .drawing import inverse_cdf


class OrderMixture(LikelihoodModel, ABC):
    """A mixture over the orders of its network. A subclass states the `terms` that train it.

    Arguments:
        network: Maps images to logits along each of its orders.
        kwargs: See `LikelihoodModel`.
    """

    nll_kind: Literal["exact", "bound"] = "exact"

    def __init__(self, network: OrderedNetwork, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.network = network
        self.average("network")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.network.shape

    def nll(self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Exact, in nats, (B,): of the mixture of all orders."""
        orders = range(len(self.network.orders))
        return losses.mixture_nll(torch.stack([self.order_nll(x, order) for order in orders]))

    def order_nll(self, x: Tensor, order: int) -> Tensor:
        """Exact, in nats, (B,): of one of the orders alone."""
        return self._costs(x, order).flatten(1).sum(1)

    def pixel_nll(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Nats per sub-pixel (B, C, H, W), which sum to `nll`.

        Of several orders they are the mean over the posterior of the order given the image. What is
        left, the divergence of that posterior from even odds, belongs to no sub-pixel more than to
        others and is spread evenly.
        """
        orders = range(len(self.network.orders))
        costs = torch.stack([self._costs(x, order) for order in orders])
        nll = costs.flatten(2).sum(2)
        mean = torch.einsum("kb,kbchw->bchw", (-nll).softmax(0), costs)
        rest = losses.mixture_nll(nll) - mean.flatten(1).sum(1)
        return mean + (rest / x[0].numel()).view(-1, 1, 1, 1)

    def _costs(self, x: Tensor, order: int) -> Tensor:
        network = self.network if self.training else self.averaged("network")
        logits = cast(OrderedNetwork, network).along(x, order)
        return losses.categorical_costs(logits, to_levels(x, self.network.levels))

    def check(self, images: Tensor) -> None:
        check_levels(images, self.network.levels)

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Draws `n` images, each along an order that is drawn too."""
        noise = self.noise_for(n, noise)
        u = noise.uniform(prod(self.shape))
        which = noise.spawn("orders").integers(len(self.network.orders))
        x = torch.empty_like(u, dtype=self.precision)
        with evaluating(self.averaged("network")) as network:
            for order in which.unique().tolist():
                mine = which == order
                x[mine] = self._draw(cast(OrderedNetwork, network), order, u[mine])
        channels, height, width = self.shape
        return x.view(-1, height, width, channels).permute(0, 3, 1, 2)

    def _draw(self, network: OrderedNetwork, order: int, u: Tensor) -> Tensor:
        """Sub-pixels in [-1, 1] along an order, where the distributions pass u, (n, D) both."""
        x = torch.empty_like(u, dtype=self.precision)
        places = network.begin(x, order)
        for place, at in enumerate(network.orders[order].tolist()):
            level = inverse_cdf(F.pad(places.numbers(place), (1, 0)), u[:, at])
            x[:, at] = from_levels(level, network.levels, self.precision)
            places.see(place, (x[:, at] + 1) / 2)
        return x
