"""Fully connected layers whose connections follow an order, so that outputs see only what is before.

Each unit has a degree: it may see the inputs at the places below its degree in the order. Inputs
and outputs have their place plus one, and hidden units any of 1, ..., D - 1. A hidden unit sees
units of its own degree or less, an output units of a strictly lesser one.

References:
    | MADE: Masked Autoencoder for Distribution Estimation (Germain et al., 2015), Section 3
    | https://arxiv.org/abs/1502.03509
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .places import Places


class MaskedLinear(nn.Linear):
    """A linear layer in which a unit sees only units of lesser degree, for one or several orders.

    Arguments:
        seen: Degrees of the inputs, (K, in), for each of K orders.
        own: Degrees of the outputs, (K, out).
        strict: Hide units of the same degree too, as the layer that gives the outputs must.
    """

    seen: Tensor
    own: Tensor
    mask: Tensor | None

    def __init__(self, seen: Tensor, own: Tensor, strict: bool = False) -> None:
        super().__init__(seen.shape[1], own.shape[1])
        self.strict = strict
        # Kept in checkpoints: shuffled ones are a function of torch's generator, which other
        # releases may change, and the weights mean nothing under others.
        self.register_buffer("seen", seen)
        self.register_buffer("own", own)
        # Masks of many orders are large and made when used; that of one order is made once.
        once = self._mask(0) if len(seen) == 1 else None
        self.register_buffer("mask", once, persistent=False)

    def forward(self, x: Tensor, order: int = 0) -> Tensor:
        """Maps (..., in) to (..., out), with the connections of one of the orders."""
        return F.linear(x, self.masked(order), self.bias)

    def masked(self, order: int = 0) -> Tensor:
        """The weight (out, in), with zeros where there is no connection."""
        return self.weight * (self._mask(order) if self.mask is None else self.mask)

    def _mask(self, order: int) -> Tensor:
        seen, own = self.seen[order], self.own[order, :, None]
        return (seen < own if self.strict else seen <= own).to(self.weight.dtype)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        if self.mask is not None:
            self.mask.copy_(self._mask(0))


class MaskedMLP(nn.Module):
    """Maps vectors (B, D) to numbers (B, D, outputs), those of a place from the places before it.

    Arguments:
        places: For each of K orders, at which place each input stands, (K, D): a permutation of
            0, ..., D - 1.
        outputs: Numbers for each place.
        widths: Units of the hidden layers. Without any it is linear. If one has less than D - 1,
            some outputs do not see the input just before them, unless there are direct links.
        direct: Links from the inputs to the outputs, beside the hidden layers.
        activation: Follows each hidden layer.
        generator: Shuffles the degrees of the hidden units, as several orders need that differ in
            their connections too; by default they ascend.
    """

    def __init__(
        self,
        places: Tensor,
        outputs: int = 1,
        widths: Sequence[int] = (),
        direct: bool = False,
        activation: type[nn.Module] = nn.ReLU,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        count, dimensions = places.shape
        self.dimensions, self.outputs, first = dimensions, outputs, places + 1
        degrees = [first, *(_hidden(count, width, dimensions, generator) for width in widths)]
        last = first.repeat_interleave(outputs, 1)
        self.hidden = nn.ModuleList(MaskedLinear(a, b) for a, b in pairwise(degrees))
        self.activation = activation()
        self.out = MaskedLinear(degrees[-1], last, strict=True)
        self.direct = MaskedLinear(first, last, strict=True) if direct and widths else None

    def forward(self, x: Tensor, order: int = 0) -> Tensor:
        """See the class."""
        h = x
        for layer in self.hidden:
            h = self.activation(layer(h, order))
        out = self.out(h, order)
        if self.direct is not None:
            out = out + self.direct(x, order)
        return out.unflatten(1, (-1, self.outputs))

    def begin(self, x: Tensor, order: int = 0) -> "MaskedPlaces":
        """Its way along one of the orders, for as many vectors as there are in `x`."""
        return MaskedPlaces(self, x, order)


class MaskedPlaces(Places):
    """Each hidden unit is computed once, as soon as all that it sees is known.

    So all places together cost about as much as `forward` does once. Units are sorted by their
    degrees, so that those which become known together lie together.

    Arguments:
        mlp: The network.
        x: Any tensor with as many rows as there are vectors, on their device and of their type.
        order: Which of the orders of `mlp` is followed.
    """

    def __init__(self, mlp: MaskedMLP, x: Tensor, order: int = 0) -> None:
        self.outputs, self.activation = mlp.outputs, mlp.activation
        columns = mlp.out.own[order].view(-1, mlp.outputs)[:, 0].argsort()
        self.values = [x.new_zeros(len(x), mlp.dimensions)]
        self.layers: list[tuple[Tensor, Tensor, list[int]]] = []  # weight, bias, ends of degrees
        inputs = columns
        for layer in cast(Iterable[MaskedLinear], mlp.hidden):
            degrees, rows = layer.own[order].sort()
            ends = torch.arange(mlp.dimensions + 1, device=degrees.device)
            bounds = torch.searchsorted(degrees, ends, right=True).tolist()
            weight = layer.masked(order)[rows][:, inputs]
            self.layers.append((weight, layer.bias[rows], bounds))
            self.values.append(x.new_zeros(len(x), len(rows)))
            inputs = rows
        rows = (columns[:, None] * mlp.outputs + torch.arange(mlp.outputs).to(columns)).flatten()
        self.out = mlp.out.masked(order)[rows][:, inputs], mlp.out.bias[rows]
        self.direct: tuple[Tensor, Tensor] | None = None
        if mlp.direct is not None:
            direct = mlp.direct
            self.direct = direct.masked(order)[rows][:, columns], direct.bias[rows]

    def numbers(self, place: int) -> Tensor:
        rows = slice(place * self.outputs, (place + 1) * self.outputs)
        out = F.linear(self.values[-1], self.out[0][rows], self.out[1][rows])
        if self.direct is not None:
            out = out + F.linear(self.values[0], self.direct[0][rows], self.direct[1][rows])
        return out

    def see(self, place: int, x: Tensor) -> None:
        self.values[0][:, place] = x
        for i, (weight, bias, ends) in enumerate(self.layers):
            new = slice(ends[place], ends[place + 1])  # of degree place + 1
            if new.start < new.stop:
                h = F.linear(self.values[i], weight[new], bias[new])
                self.values[i + 1][:, new] = self.activation(h)


def _hidden(count: int, width: int, dimensions: int, generator: torch.Generator | None) -> Tensor:
    """Degrees of hidden units for each order, (count, width), spread evenly over 1, ..., D - 1.

    Of degree 0 a unit would see nothing, and of degree D no output would see it. The paper draws
    them one by one, which leaves out some: of 1000 units for 784 inputs, every fourth degree.
    """
    highest = max(dimensions - 1, 1)
    degrees = 1 + torch.arange(width) * highest // width
    if generator is None:
        return degrees.repeat(count, 1)
    shuffles = [torch.randperm(width, generator=generator) for _ in range(count)]
    return degrees[torch.stack(shuffles)]
