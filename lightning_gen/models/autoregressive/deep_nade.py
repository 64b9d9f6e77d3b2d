r"""Deep NADE, of which EoNADE is the mixture of several orders: one network for all of them.

In training d of D sub-pixels are shown, drawn anew for each image, and all others predicted:

.. math:: E_{d, o} \Big[ \frac{D}{D - d} \sum_{i > d} -\log p(x_{o_i} \mid x_{o_1}, \dots, x_{o_d}) \Big]

is the mean over all orders o of :math:`-\log p(x)`.

References:
    | A Deep and Tractable Density Estimator (Uria et al., 2014)
    | https://arxiv.org/abs/1310.1757
"""

from typing import Any, cast

import torch
from torch import Tensor

from ... import losses
from ...levels import to_levels
from ...nn.raster import to_images, to_vector
from ...nn.roles import OrderlessNetwork
from ...randomness import Noise
from ..base import Batch, Terms, evaluating
from .drawing import Progress, check_temperature, draw_place
from .orders import OrderMixture


class DeepNADE(OrderMixture):
    """A network that predicts any sub-pixel from any others, and completes images whatever is known.

    Arguments:
        network: Maps images and the mask of what is known to logits for the rest.
        kwargs: See `LikelihoodModel`.
    """

    network: OrderlessNetwork

    def __init__(self, network: OrderlessNetwork, **kwargs: Any) -> None:
        super().__init__(network, **kwargs)

    def terms(self, batch: Batch) -> Terms:
        known = random_mask(batch.images, batch.noise)
        logits = self.network(batch.images, known)
        levels = to_levels(batch.images, self.network.levels)
        return {"loss": losses.orderless_nll(logits, levels, known).mean()}

    @torch.no_grad()
    def complete(
        self,
        x: Tensor,
        known: Tensor,
        labels: Tensor | None = None,
        noise: Noise | None = None,
        temperature: float = 1.0,
        progress: Progress = iter,
    ) -> Tensor:
        """Draws anew what is not known; all that is has a say, wherever it is.

        See `CompletingModel`.
        """
        check_temperature(temperature)
        u, channels = to_vector(self.noise_for(len(x), noise).uniform(*x.shape[1:])), x.shape[1]
        kept = to_vector(known.to(x.device).expand(1, *x.shape[1:]))[0]
        order, first = kept.int().argsort(descending=True, stable=True), int(kept.sum())
        at, vectors = order.tolist(), to_vector(x.clone())
        with evaluating(cast(OrderlessNetwork, self.averaged("network"))) as network:
            places = network.begin_along(vectors, order)
            for place in range(first):
                places.see(place, (vectors[:, at[place]] + 1) / 2)
            for pixel, _ in enumerate(progress((~known).nonzero().tolist())):
                for place in range(first + pixel * channels, first + (pixel + 1) * channels):
                    draw_place(places, place, at[place], vectors, u, network.levels, temperature)
        return to_images(vectors, self.shape)


def random_mask(x: Tensor, noise: Noise) -> Tensor:
    """The first d sub-pixels of an order, both drawn uniformly for each image, d < D: (B, C, H, W)."""
    size = x[0].numel()
    order = noise.spawn("order").uniform(size).argsort(1)
    shown = torch.arange(size, device=order.device) < noise.spawn("shown").integers(size, 1)
    return torch.zeros_like(shown).scatter(1, order, shown).view(x.shape)
