r"""Gated PixelCNN: the likelihood of an image as a product over its sub-pixels.

.. math:: p(x|y) = \prod_i p(x_i \mid x_1, \dots, x_{i-1}, y)

They go by rows from the top left, and R, G, B within a pixel; each is a softmax over its levels.
The class y is optional.

References:
    | Conditional Image Generation with PixelCNN Decoders (van den Oord et al., 2016)
    | https://arxiv.org/abs/1606.05328
"""

from typing import Any, Literal

import torch
from torch import Tensor

from ... import losses
from ...levels import from_levels, to_levels
from ...nn.roles import PixelNetwork
from ...randomness import Noise
from ..base import evaluating
from ..likelihood import LikelihoodModel


class GatedPixelCNN(LikelihoodModel):
    """Gated PixelCNN over images of `network.levels` levels per sub-pixel.

    Arguments:
        network: Maps images (B, C, H, W) to logits (B, levels, C, H, W), causally.
        shape: (C, H, W) of the images.
        kwargs: See `LikelihoodModel`.
    """

    nll_kind: Literal["exact", "bound"] = "exact"

    def __init__(self, network: PixelNetwork, shape: tuple[int, int, int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if network.channels != shape[0]:
            raise ValueError(
                f"the network has {network.channels} channels but shape says {shape[0]}; "
                "they must be equal"
            )
        self.network, self._shape = network, shape
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
        if self.num_classes is None:
            labels = None
        elif labels is None:
            raise ValueError("the model is conditioned on classes, so its likelihood needs labels")
        network = self.network if self.training else self.averaged("network")
        return losses.categorical_nll(network(x, labels), to_levels(x, self.network.levels))

    def check(self, images: Tensor) -> None:
        levels = self.network.levels
        nearest = from_levels(to_levels(images, levels), levels, images.dtype)
        if (images - nearest).abs().max() > 0.5 / 255:
            raise ValueError(
                f"the network has {levels} levels but the data has others; set the network's "
                f"levels to 256, or use data with {levels}, such as BinarizedMNIST for 2"
            )

    # Capabilities

    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Draws `n` images; of classes that are drawn too, uniformly, if there are but not given."""
        nothing = next(self.network.parameters()).new_zeros(n, *self.shape)
        known = torch.zeros(self.shape[1:], dtype=torch.bool)
        return self.complete(nothing, known, labels, noise)

    @torch.no_grad()
    def complete(
        self, x: Tensor, known: Tensor, labels: Tensor | None = None, noise: Noise | None = None
    ) -> Tensor:
        """Draws anew the pixels of images (B, C, H, W) where the mask `known` (H, W) is false.

        A pixel is drawn from what is above and to the left, so known pixels further on have no say.
        """
        noise = self.noise_for(len(x), noise)
        labels = self.labels_for(len(x), labels, noise)
        # All at once, so that what a pixel gets does not depend on which others are drawn.
        u = noise.uniform(*x.shape[1:])
        x = x.clone()
        with evaluating(self.averaged("network")) as network:
            for row, column in (~known).nonzero().tolist():
                for channel in range(x.shape[1]):
                    # Rows below cannot change this pixel, so they need not be computed. `forward`
                    # is not compiled, as each row would be compiled anew for its shape.
                    logits = network.forward(x[:, :, : row + 1], labels)[:, :, channel, row, column]
                    level = inverse_cdf(logits, u[:, channel, row, column])
                    x[:, channel, row, column] = from_levels(level, self.network.levels, x.dtype)
        return x


def inverse_cdf(logits: Tensor, u: Tensor) -> Tensor:
    """The level (B,) of each categorical distribution (B, levels) at which its CDF passes u (B,)."""
    cdf = logits.double().softmax(1).cumsum(1)
    # The last may be less than u by rounding, but there is no level after it.
    return (cdf[:, :-1] <= u[:, None]).sum(1)
