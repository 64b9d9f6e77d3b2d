r"""The likelihood of an image as a product over its sub-pixels, by a causal network.

.. math:: p(x|y) = \prod_i p(x_i \mid x_1, \dots, x_{i-1}, y)

They go by rows from the top left, and R, G, B within a pixel. The class y is optional. Which paper
it is depends on the network: `MaskedStack` makes PixelCNN, `RowLSTMStack` and
`DiagonalBiLSTMStack` make PixelRNN, `GatedCausalStack` makes Gated PixelCNN.

References:
    | Pixel Recurrent Neural Networks (van den Oord et al., 2016)
    | https://arxiv.org/abs/1601.06759
    | Conditional Image Generation with PixelCNN Decoders (van den Oord et al., 2016)
    | https://arxiv.org/abs/1606.05328
"""

from typing import Any, cast

import torch
from torch import Tensor

from ...nn.roles import PixelNetwork
from ...randomness import Noise
from ..base import evaluating
from ..heads import PixelHead, Softmax
from ..quantised import check_images
from .drawing import CompletingModel, Progress, check_network, draw_pixels


class PixelModel(CompletingModel):
    """A causal network over images of `network.levels` levels per sub-pixel, and a head.

    Arguments:
        network: Maps images (B, C, H, W) to numbers (B, outputs, colors, H, W), causally.
        shape: (C, H, W) of the images.
        head: What the numbers say about the levels. Default: a softmax over them.
        kwargs: See `LikelihoodModel`.
    """

    def __init__(
        self,
        network: PixelNetwork,
        shape: tuple[int, int, int],
        head: PixelHead | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_network(network, shape)
        self.network, self.head, self._shape = network, head or Softmax(), shape
        self.head.check(network)
        self.average("network")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._shape

    @property
    def num_classes(self) -> int | None:
        """How many classes the images are conditioned on, if they are."""
        return self.network.num_classes

    def nll(self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Exact, in nats, (B,)."""
        return self.head.nll(self._numbers(x, labels), x, self.network.levels)

    def pixel_nll(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Nats per sub-pixel (B, C, H, W), each given those before it."""
        return self.head.costs(self._numbers(x, labels), x, self.network.levels)

    def _numbers(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """What the network says of images: (B, outputs, colors, H, W)."""
        if self.num_classes is None:
            labels = None
        elif labels is None:
            raise ValueError("the model is conditioned on classes, so its likelihood needs labels")
        network = self.network if self.training else self.averaged("network")
        return network(x, labels)

    def check(self, images: Tensor) -> None:
        check_images(images, self.network.levels)

    # Capabilities

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
        """Draws anew what is not known, from what is above and to the left. See `CompletingModel`.

        So known pixels further on have no say.
        """
        noise = self.noise_for(len(x), noise)
        labels = self.labels_for(len(x), labels, noise)
        # All at once, so that what a pixel gets does not depend on which others are drawn.
        u = noise.uniform(*x.shape[1:])
        x = x.clone()
        with evaluating(cast(PixelNetwork, self.averaged("network"))) as network:
            draw_pixels(network, self.head, x, known, u, labels, temperature, progress)
        return x
