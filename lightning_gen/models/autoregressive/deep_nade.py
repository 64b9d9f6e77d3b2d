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
from ...levels import from_levels, to_levels
from ...nn.roles import OrderlessNetwork
from ...randomness import Noise
from ..base import Batch, Terms, evaluating
from .drawing import inverse_cdf
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
        self, x: Tensor, known: Tensor, labels: Tensor | None = None, noise: Noise | None = None
    ) -> Tensor:
        """Draws anew the pixels of images (B, C, H, W) where the mask `known` (H, W) is false.

        All that is known has a say, wherever it is. Each sub-pixel takes a pass.
        """
        u = self.noise_for(len(x), noise).uniform(*x.shape[1:])
        x, known = x.clone(), known.to(x.device).expand(x.shape).clone()
        missing = (~known[0]).permute(1, 2, 0).nonzero().tolist()
        with evaluating(cast(OrderlessNetwork, self.averaged("network"))) as network:
            for i, j, c in missing:
                level = inverse_cdf(network(x, known)[:, :, c, i, j], u[:, c, i, j])
                x[:, c, i, j] = from_levels(level, network.levels, x.dtype)
                known[:, c, i, j] = True
        return x


def random_mask(x: Tensor, noise: Noise) -> Tensor:
    """The first d sub-pixels of an order, both drawn uniformly for each image, d < D: (B, C, H, W)."""
    size = x[0].numel()
    order = noise.spawn("order").uniform(size).argsort(1)
    shown = torch.arange(size, device=order.device) < noise.spawn("shown").integers(size, 1)
    return torch.zeros_like(shown).scatter(1, order, shown).view(x.shape)
