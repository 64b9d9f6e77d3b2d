"""The masked network of MADE (Germain et al., 2015), https://arxiv.org/abs/1502.03509

Without hidden layers it is the fully visible sigmoid belief network, a logistic regression of each
sub-pixel on those before it: Does the Wake-sleep Algorithm Produce Good Density Estimators?
(Frey et al., 1996)
https://papers.nips.cc/paper/1153-does-the-wake-sleep-algorithm-produce-good-density-estimators
"""

from math import prod

import torch
from torch import Tensor

from ..nn.masked import MaskedMLP
from ..nn.places import Places
from ..nn.raster import Shape, VectorNetwork, random_orders, to_inputs, to_logits
from ..nn.roles import OrderedNetwork
from ..nn.sizes import check_levels, check_sizes


class MADENetwork(VectorNetwork):
    """Maps images (B, C, H, W) to logits (B, levels, C, H, W), each from the sub-pixels before it.

    Arguments:
        shape: (C, H, W) of the images.
        levels: How many values a sub-pixel can have, from 2 to 256.
        widths: Units of the hidden layers; the paper has up to two of 8000. None at all makes the
            logits linear. With less than D - 1 units direct links are needed, for each logit to see
            the sub-pixel just before it.
        direct: Links from the sub-pixels to the logits, beside the hidden layers.
    """

    def __init__(
        self,
        shape: Shape = (1, 28, 28),
        levels: int = 2,
        widths: tuple[int, ...] = (1000, 1000),
        direct: bool = False,
    ) -> None:
        super().__init__(shape, levels)
        check_sizes(widths=widths or None)
        self.layers = MaskedMLP(torch.arange(self.dimensions)[None], self.free, widths, direct)

    def logits(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def begin(self, x: Tensor) -> Places:
        return self.layers.begin(x)


class ManyOrdersMADE(OrderedNetwork):
    """The same weights for several orders of the sub-pixels, each with connections of its own.

    Arguments:
        shape: (C, H, W) of the images.
        levels: How many values a sub-pixel can have, from 2 to 256.
        widths: Units of the hidden layers; see `MADENetwork`.
        direct: Links from the sub-pixels to the logits, beside the hidden layers.
        count: How many orders; the paper has up to 32.
        seed: The orders and the connections are a function of it.
    """

    def __init__(
        self,
        shape: Shape = (1, 28, 28),
        levels: int = 2,
        widths: tuple[int, ...] = (1000, 1000),
        direct: bool = False,
        count: int = 32,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, widths=widths, count=count)
        channels, height, width = shape
        self.shape, self.levels = (channels, height, width), check_levels(levels)
        generator = torch.Generator().manual_seed(seed)
        orders = random_orders(count, prod(shape), generator)
        self.register_buffer("orders", orders)
        self.layers = MaskedMLP(orders.argsort(1), levels - 1, widths, direct, generator=generator)

    def along(self, x: Tensor, order: int) -> Tensor:
        return to_logits(self.layers(to_inputs(x), order), self.shape)

    def begin(self, x: Tensor, order: int) -> Places:
        return self.layers.begin(x, order)
