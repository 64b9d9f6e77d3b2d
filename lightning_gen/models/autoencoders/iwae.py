r"""Importance weighted autoencoder: a VAE that is trained by the tighter bound of k samples.

.. math:: L_k = E \log \frac{1}{k} \sum_{i=1}^k \frac{p(x, z_i)}{q(z_i|x)}, \quad z_i \sim q(z|x)

Its gradient weighs that of each sample by the sample's share in the sum. What the encoder then
learns are good proposals rather than the posterior, so its bound with one sample may well be worse.

References:
    | Importance Weighted Autoencoders (Burda et al., 2016)
    | https://arxiv.org/abs/1509.00519
"""

from typing import Any

from ... import losses
from ...nn.roles import Decoder, Encoder
from ..base import Batch, Terms
from ..distributions import Distribution
from .vae import VAE


class IWAE(VAE):
    """Importance weighted autoencoder. What it reports is what a VAE of these networks would.

    Arguments:
        encoder: Maps images to the mean and log-variance of their codes.
        decoder: Maps codes to the parameters of a distribution over images.
        likelihood: That distribution. Default: Bernoulli, for binary images.
        k: How many samples; the paper has 1, 5 and 50.
        kwargs: See `VAE`.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        likelihood: Distribution | None = None,
        k: int = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, decoder, likelihood, **kwargs)
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if self.free_bits:
            raise ValueError(
                "free_bits are for a mean divergence, which the objective of k samples does not "
                "have; leave them out"
            )
        self.k = k

    def terms(self, batch: Batch) -> Terms:
        labels = self.condition(batch.labels)
        draws = self.draws(batch.images, self.k, labels, batch.noise)
        weighted = draws.reconstruction + self.beta * draws.divergence.sum(2)
        # The k samples of an image are an even mixture of what each of them says of it.
        return {
            "loss": losses.mixture_nll(weighted.T).mean(),
            "nll": losses.mixture_nll(draws.total.T).mean(),
            "reconstruction": draws.reconstruction.mean(),
            "kl": draws.divergence.sum(2).mean(),
        }
