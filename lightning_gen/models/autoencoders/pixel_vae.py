r"""PixelVAE: a variational autoencoder whose decoder is a causal network over pixels.

Codes say what pixels do not say of each other: what is decoded are maps, and they condition a PixelCNN,

.. math:: p(x|z) = \prod_i p(x_i|x_{<i}, z)

References:
    | PixelVAE: A Latent Variable Model for Natural Images (Gulrajani et al., 2017)
    | https://arxiv.org/abs/1611.05013
"""

from typing import Any

from ...nn.roles import Decoder, Encoder, PixelNetwork
from ..heads import PixelHead
from .causal_pixels import CausalPixels
from .vae import VAE


class PixelVAE(VAE):
    """A VAE with a causal network over pixels. Its samples are drawn pixels.

    `decode` gives an image's medians, pixel by pixel. The wider the network sees, the less is left
    to say for the codes.

    Arguments:
        encoder: Maps images to the mean and log-variance of their codes.
        decoder: Maps codes to the maps that the network is shown.
        network: Predicts each sub-pixel from those before it and from maps: its `context` is the
            decoder's outputs for all channels.
        head: What its numbers say about the levels. Default: a softmax over them.
        kwargs: See `VAE`.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        network: PixelNetwork,
        head: PixelHead | None = None,
        **kwargs: Any,
    ) -> None:
        likelihood = CausalPixels(self, network, decoder.shape, head)
        super().__init__(encoder, decoder, likelihood, sample_pixels=True, **kwargs)
        self.network = network
        self.average("network")
