r"""The network of Deep NADE: any sub-pixel given any others.

It reads the known sub-pixels, with 0 for the others, and which ones are known, and gives logits for
all. Along an order this is one pass for each place; but what the first layer gets is a sum over the
places so far, so that only the layers after it are computed each time.

References:
    | A Deep and Tractable Density Estimator (Uria et al., 2014)
    | https://arxiv.org/abs/1310.1757
"""

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..nn.places import Places
from ..nn.prefixes import prefixes
from ..nn.raster import Shape, random_orders, to_inputs, to_logits, to_vector
from ..nn.roles import OrderlessNetwork
from ..nn.sizes import check_levels, check_sizes
from .mlp import hidden_layers


class DeepNADENetwork(OrderlessNetwork):
    """Maps images (B, C, H, W), of which a part is known, to logits (B, levels, C, H, W).

    Arguments:
        shape: (C, H, W) of the images.
        levels: How many values a sub-pixel can have, from 2 to 256.
        widths: Units of the hidden ReLU layers; the paper has up to three of 500.
        count: How many orders a likelihood is the mean over; the paper has 128. Each costs a pass
            for each sub-pixel.
        seed: The orders are a function of it.
    """

    def __init__(
        self,
        shape: Shape = (1, 28, 28),
        levels: int = 2,
        widths: tuple[int, ...] = (500, 500),
        count: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, widths=widths, count=count)
        channels, height, width = shape
        self.shape, self.levels = (channels, height, width), check_levels(levels)
        self.dimensions, self.free = prod(shape), levels - 1
        orders = random_orders(count, self.dimensions, torch.Generator().manual_seed(seed))
        self.register_buffer("orders", orders)
        self.first = nn.Linear(2 * self.dimensions, widths[0])
        self.layers = nn.Sequential(nn.ReLU(), *hidden_layers(widths))
        self.out = nn.Linear(widths[-1], self.dimensions * self.free)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        flags = to_vector(known).to(x.dtype)
        inputs = torch.cat([to_inputs(x) * flags, flags], 1)
        free = self.out(self.layers(self.first(inputs)))
        return to_logits(free.unflatten(1, (-1, self.free)), self.shape)

    def along(self, x: Tensor, order: int) -> Tensor:
        places = self.orders[order]
        values = to_inputs(x)[:, places]
        numbers = torch.stack([values, torch.ones_like(values)], 2)
        rows = self.first.weight.T.unflatten(0, (2, -1))[:, places].transpose(0, 1)
        weight, bias = (part[places] for part in self.rows())
        blocks = [
            torch.einsum("bdh,dkh->bdk", self.layers(a), weight[block])
            for block, a in prefixes(numbers, rows, self.first.bias)
        ]
        free = torch.cat(blocks, 1) + bias
        return to_logits(free[:, places.argsort()], self.shape)

    def rows(self) -> tuple[Tensor, Tensor]:
        """Weight (D, levels - 1, width) and bias (D, levels - 1) of the last layer."""
        return self.out.weight.unflatten(0, (-1, self.free)), self.out.bias.view(-1, self.free)

    def begin_along(self, x: Tensor, order: Tensor) -> Places:
        return DeepNADEPlaces(self, x, order)


class DeepNADEPlaces(Places):
    """Each input is added to the first layer once; the others are computed at each place.

    Arguments:
        network: The network.
        x: Any tensor with as many rows as there are images, on their device and of their type.
        order: Which sub-pixel stands at each place, (D,).
    """

    def __init__(self, network: DeepNADENetwork, x: Tensor, order: Tensor) -> None:
        self.network, self.order = network, order.tolist()
        self.sum = network.first.bias.expand(len(x), -1)

    def numbers(self, place: int) -> Tensor:
        weight, bias = self.network.rows()
        at = self.order[place]
        return F.linear(self.network.layers(self.sum), weight[at], bias[at])

    def see(self, place: int, x: Tensor) -> None:
        of_value, of_flag = self.network.first.weight.T.unflatten(0, (2, -1))[:, self.order[place]]
        self.sum = torch.addr(self.sum, x, of_value) + of_flag
