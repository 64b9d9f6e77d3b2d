r"""The network of NADE: hidden units that are shared by all sub-pixels, each time of those so far.

.. math:: h_i = \sigma(c + \sum_{j<i} x_j W_j), \quad
    \mathrm{logit}_i = b_i + V_i \cdot h_i

References:
    | The Neural Autoregressive Distribution Estimator (Larochelle and Murray, 2011)
    | http://proceedings.mlr.press/v15/larochelle11a.html
"""

import torch
from torch import Tensor, nn

from ..nn.places import Places
from ..nn.prefixes import prefixes
from ..nn.raster import Shape, VectorNetwork
from ..nn.sizes import check_sizes


class NADENetwork(VectorNetwork):
    """Maps images (B, C, H, W) to logits (B, levels, C, H, W), each from the sub-pixels before it.

    Arguments:
        shape: (C, H, W) of the images.
        levels: How many values a sub-pixel can have, from 2 to 256.
        hidden: Hidden units; the paper has 500.
    """

    def __init__(self, shape: Shape = (1, 28, 28), levels: int = 2, hidden: int = 500) -> None:
        super().__init__(shape, levels)
        check_sizes(hidden=hidden)
        self.weight_in = nn.Parameter(torch.empty(self.dimensions, hidden))  # W
        self.weight_out = nn.Parameter(torch.empty(self.dimensions, hidden, self.free))  # V
        for weight in (self.weight_in, self.weight_out):
            nn.init.normal_(weight, 0.0, 0.01)
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))  # c
        self.bias = nn.Parameter(torch.zeros(self.dimensions, self.free))  # b

    def logits(self, x: Tensor) -> Tensor:
        sums = prefixes(x, self.weight_in, self.hidden_bias)
        blocks = [per_place(a.sigmoid(), self.weight_out[places]) for places, a in sums]
        return torch.cat(blocks, 1) + self.bias

    def begin(self, x: Tensor) -> Places:
        return NADEPlaces(self, x)


def per_place(h: Tensor, weight: Tensor) -> Tensor:
    """A linear map of its own for each place: (B, D, H) and (D, H, K) give (B, D, K)."""
    if weight.shape[2] == 1:  # a sum is faster than a product with a vector, with its gradient too
        return (h * weight[..., 0]).sum(2, keepdim=True)
    return torch.einsum("bdh,dhk->bdk", h, weight)


class NADEPlaces(Places):
    """Each input is added to the hidden units once.

    Arguments:
        network: The network.
        x: Any tensor with as many rows as there are images, on their device and of their type.
    """

    def __init__(self, network: NADENetwork, x: Tensor) -> None:
        self.network = network
        self.sum = network.hidden_bias.expand(len(x), -1)

    def numbers(self, place: int) -> Tensor:
        network = self.network
        return self.sum.sigmoid() @ network.weight_out[place] + network.bias[place]

    def see(self, place: int, x: Tensor) -> None:
        self.sum = torch.addr(self.sum, x, self.network.weight_in[place])
