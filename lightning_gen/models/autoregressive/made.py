r"""MADE with several orders: each step trains one of them, and the likelihood is of their mixture.

.. math:: -\log p(x) = \log K - \log \sum_{k=1}^K p_k(x)

With one order it is `PixelModel` with `MADENetwork`.

References:
    | MADE: Masked Autoencoder for Distribution Estimation (Germain et al., 2015)
    | https://arxiv.org/abs/1502.03509
"""

from ..base import Batch, Terms
from .orders import OrderMixture


class MADE(OrderMixture):
    """Masked autoencoder whose orders and connections take turns, batch by batch.

    Arguments:
        kwargs: See `OrderMixture`.
    """

    def terms(self, batch: Batch) -> Terms:
        step = self.images_seen // batch.noise.total
        return {"loss": self.order_nll(batch.images, step % len(self.network.orders)).mean()}
