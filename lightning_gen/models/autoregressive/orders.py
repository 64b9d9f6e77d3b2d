r"""The even mixture of what one network makes of several orders of the sub-pixels.

.. math:: p(x) = \frac{1}{K} \sum_{k=1}^K \prod_i p(x_{o_k(i)} \mid x_{o_k(1)}, \dots, x_{o_k(i-1)})

It is at least as likely as the mean order, as the logarithm of a mean is above the mean of logarithms.
"""

from abc import ABC, abstractmethod
from itertools import islice
from math import prod
from typing import Any, Literal, cast

import torch
from torch import Tensor

from ... import losses
from ...levels import to_levels
from ...nn.raster import to_images
from ...nn.roles import OrderedNetwork
from ...randomness import Noise
from ..base import Batch, Terms, evaluating
from ..likelihood import LikelihoodModel
from ..quantised import check_images
from .drawing import Progress, check_temperature, draw_place


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

    @abstractmethod
    def terms(self, batch: Batch) -> Terms:
        """What training minimises, under "loss"."""

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
        check_images(images, self.network.levels)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        labels: Tensor | None = None,
        noise: Noise | None = None,
        temperature: float = 1.0,
        progress: Progress = iter,
    ) -> Tensor:
        """Draws `n` images, each along an order that is drawn too.

        See `CompletingModel`. Progress wraps the list of orders and their places.
        """
        check_temperature(temperature)
        noise, size = self.noise_for(n, noise), prod(self.shape)
        u = noise.uniform(size)
        which = noise.spawn("orders").integers(len(self.network.orders))
        orders, x = which.unique().tolist(), torch.empty_like(u, dtype=self.precision)
        steps = iter(progress([[order, place] for order in orders for place in range(size)]))
        with evaluating(cast(OrderedNetwork, self.averaged("network"))) as network:
            for order in orders:
                mine, at = which == order, network.orders[order].tolist()
                drawn, v = x[mine], u[mine]
                places = network.begin(drawn, order)
                for _, place in islice(steps, size):
                    draw_place(places, place, at[place], drawn, v, network.levels, temperature)
                x[mine] = drawn
        return to_images(x, self.shape)
