r"""MADE with several orders: each step trains one of them, and the likelihood is of their mixture.

.. math:: -\log p(x) = \log K - \log \sum_{k=1}^K p_k(x)

With one order it is `PixelModel` with `MADENetwork`.

References:
    | MADE: Masked Autoencoder for Distribution Estimation (Germain et al., 2015)
    | https://arxiv.org/abs/1502.03509
"""

from typing import Any

from ...nn.roles import OrderedNetwork
from ..base import Batch, Terms
from .orders import OrderMixture


class MADE(OrderMixture):
    """Masked autoencoder whose orders and connections take turns, batch by batch.

    Arguments:
        network: Maps images to logits along each of its orders.
        kwargs: See `LikelihoodModel`.
    """

    def __init__(self, network: OrderedNetwork, **kwargs: Any) -> None:
        super().__init__(network, **kwargs)
        if self.compile_networks:
            raise ValueError(
                "compile_networks is not for MADE of several orders, each of which would be "
                "compiled anew; leave it out"
            )

    def terms(self, batch: Batch) -> Terms:
        step = self.images_seen // batch.noise.total
        return {"loss": self.order_nll(batch.images, step % len(self.network.orders)).mean()}
