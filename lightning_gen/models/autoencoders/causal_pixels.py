"""The distribution of images whose pixels depend on each other, as a causal network says.

References:
    | PixelVAE: A Latent Variable Model for Natural Images (Gulrajani et al., 2017)
    | https://arxiv.org/abs/1611.05013
"""

from typing import cast

import torch
from torch import Tensor

from ...nn.roles import PixelNetwork
from ...randomness import Noise
from ..autoregressive.drawing import check_network, draw_pixels
from ..base import evaluating
from ..distributions import Distribution
from ..heads import PixelHead, Softmax
from ..quantised import check_images
from .latent import LatentModel


class CausalPixels(Distribution):
    """Sub-pixels that depend on those before them, as a network of the model says.

    The parameters are the maps that the network is shown, (B, parameters, C, H, W).

    Arguments:
        model: Whose attribute `network` it is, so that in evaluation mode it is the averaged one.
        network: The same.
        shape: (C, H, W) of the images.
        head: What the network's numbers say about the levels.
    """

    def __init__(
        self,
        model: LatentModel,
        network: PixelNetwork,
        shape: tuple[int, int, int],
        head: PixelHead | None,
    ) -> None:
        check_network(network, shape, has_maps=True)
        context = network.context
        if not context or context % shape[0]:
            raise ValueError(
                "the network must look at maps, as many as the decoder has outputs for each of the "
                f"{shape[0]} channels; set its context, which is {context}"
            )
        self.model, self.head, self.levels = model, head or Softmax(), network.levels
        self.head.check(network)
        self.parameters = context // shape[0]

    def check(self, x: Tensor) -> None:
        check_images(x, self.levels)

    def nll(self, parameters: Tensor, targets: Tensor) -> Tensor:
        numbers = self.model._network("network")(targets, parameters.flatten(1, 2))
        return self.head.nll(numbers, targets, self.levels)

    def mean(self, parameters: Tensor) -> Tensor:
        """The images of which each sub-pixel is the median, given those before it.

        The mean has no closed form. It is a function of codes, but without a gradient.
        """
        return self._drawn(parameters, torch.full_like(parameters[:, 0], 0.5))

    def sample(self, parameters: Tensor, noise: Noise) -> Tensor:
        # All at once, so that what a pixel gets does not depend on how many there are.
        return self._drawn(parameters, noise.uniform(*parameters.shape[2:]))

    @torch.no_grad()
    def _drawn(self, parameters: Tensor, u: Tensor) -> Tensor:
        x = torch.zeros_like(parameters[:, 0])
        known = torch.zeros(x.shape[2:], dtype=torch.bool)
        with evaluating(cast(PixelNetwork, self.model.averaged("network"))) as network:
            draw_pixels(network, self.head, x, known, u, parameters.flatten(1, 2))
        return x
