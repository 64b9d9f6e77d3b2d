"""A network of its own for each sub-pixel.

References:
    | Modeling High-Dimensional Discrete Data with Multi-Layer Neural Networks
    | (Bengio and Bengio, 2000)
    | https://papers.nips.cc/paper/1679-modeling-high-dimensional-discrete-data-with-multi-layer-neural-networks
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..nn.masked import MaskedLinear
from ..nn.places import Places
from ..nn.raster import Shape, VectorNetwork
from ..nn.sizes import check_sizes


class PrivateUnitsNetwork(VectorNetwork):
    """Maps images (B, C, H, W) to logits (B, levels, C, H, W), each by hidden tanh units of its own.

    All that the units of one sub-pixel share with those of another are their inputs. The paper's
    pruning of links is left out.

    Arguments:
        shape: (C, H, W) of the images.
        levels: How many values a sub-pixel can have, from 2 to 256.
        hidden: Units of each sub-pixel. Their weights are hidden * D ** 2, half of them in use.
        direct: Links from the sub-pixels to the logits, beside the hidden units.
    """

    def __init__(
        self,
        shape: Shape = (1, 28, 28),
        levels: int = 2,
        hidden: int = 8,
        direct: bool = False,
    ) -> None:
        super().__init__(shape, levels)
        check_sizes(hidden=hidden)
        places = torch.arange(self.dimensions)[None]
        self.hidden = hidden
        self.units = MaskedLinear(places, places.repeat_interleave(hidden, 1), strict=True)
        self.weight = nn.Parameter(torch.empty(self.dimensions, hidden, self.free))
        nn.init.uniform_(self.weight, -(hidden**-0.5), hidden**-0.5)
        self.bias = nn.Parameter(torch.zeros(self.dimensions, self.free))
        self.direct = None
        if direct:
            outputs = places.repeat_interleave(self.free, 1)
            self.direct = MaskedLinear(places, outputs, strict=True)

    def logits(self, x: Tensor) -> Tensor:
        h = self.units(x).tanh().unflatten(1, (self.dimensions, self.hidden))
        out = torch.einsum("bdh,dhk->bdk", h, self.weight) + self.bias
        return out if self.direct is None else out + self.direct(x).view_as(out)

    def begin(self, x: Tensor) -> Places:
        return PrivatePlaces(self, x)


class PrivatePlaces(Places):
    """At each place its own units are computed, of the inputs before it.

    Arguments:
        network: The network.
        x: Any tensor with as many rows as there are images, on their device and of their type.
    """

    def __init__(self, network: PrivateUnitsNetwork, x: Tensor) -> None:
        self.network = network
        self.values = x.new_zeros(len(x), network.dimensions)

    def numbers(self, place: int) -> Tensor:
        network, before = self.network, self.values[:, :place]
        out = (
            network.bias[place]
            + self._linear(network.units, place, before).tanh() @ (network.weight[place])
        )
        if network.direct is None:
            return out
        return out + self._linear(network.direct, place, before)

    def see(self, place: int, x: Tensor) -> None:
        self.values[:, place] = x

    def _linear(self, layer: MaskedLinear, place: int, before: Tensor) -> Tensor:
        """What a layer gives to one place, whose weights on later inputs do not count."""
        size = layer.out_features // self.network.dimensions
        rows = slice(place * size, (place + 1) * size)
        return F.linear(before, layer.weight[rows, :place], layer.bias[rows])
