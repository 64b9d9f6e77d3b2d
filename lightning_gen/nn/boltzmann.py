r"""Machines of binary units, whose energy is a sum over units and over pairs that are connected.

.. math:: E(s) = -\sum_k b_k^T s_k - \sum_k s_k^T W_k s_{k+1}, \qquad p(s) = e^{-E(s)} / Z

Layer 0 is the image. As layers are connected with their neighbours alone, a machine of any depth has
two sides, the layers of even and those of odd number: given one, the units of the other are
independent. So both sides can be drawn in turns, and either can be summed out. The state of a side is
that of its layers, one beside the other.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .precision import wide
from .sizes import check_sizes

EVEN, ODD = 0, 1  # sides; the image is on the even one


class BoltzmannMachine(nn.Module, ABC):
    """Layers of binary units in {0, 1}, each connected with the next. A subclass states how.

    Arguments:
        shape: (C, H, W) of the images, which are layer 0.
        hidden: Units of the layers above.
        sweeps: How often `mean_field` goes over all hidden layers. One layer needs none.
    """

    def __init__(self, shape: tuple[int, int, int], hidden: Sequence[int], sweeps: int) -> None:
        super().__init__()
        check_sizes(shape=shape, hidden=hidden, sweeps=sweeps)
        channels, height, width = shape
        self.shape, self.sweeps = (channels, height, width), sweeps
        self.sizes = (prod(shape), *hidden)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(size)) for size in self.sizes)

    @abstractmethod
    def up(self, k: int, states: Tensor) -> Tensor:
        """What layer k (B, sizes[k]) adds to the logits of layer k + 1."""

    @abstractmethod
    def down(self, k: int, states: Tensor) -> Tensor:
        """What layer k + 1 (B, sizes[k + 1]) adds to the logits of layer k."""

    @property
    def depth(self) -> int:
        """How many hidden layers there are."""
        return len(self.sizes) - 1

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (B, C, H, W) in [-1, 1] to the probabilities of their hidden units, (B, D)."""
        return torch.cat(self.mean_field(units_of(x)), 1)

    # The two sides

    def size(self, side: int) -> int:
        """How many units a side has."""
        return sum(self.sizes[side::2])

    def bias(self, side: int) -> Tensor:
        """The biases of a side's units, (size,)."""
        return torch.cat(list(self.biases)[side::2])

    def logits(self, side: int, others: Tensor) -> Tensor:
        """Of the units of a side being on, (B, size), given the states of the other side."""
        parts = others.split(self.sizes[1 - side :: 2], 1)
        layers = dict(zip(range(1 - side, len(self.sizes), 2), parts, strict=True))
        found = []
        for k in range(side, len(self.sizes), 2):
            logits = self.biases[k]
            if k - 1 in layers:
                logits = logits + self.up(k - 1, layers[k - 1])
            if k + 1 in layers:
                logits = logits + self.down(k, layers[k + 1])
            found.append(logits)
        return found[0] if len(found) == 1 else torch.cat(found, 1)

    def free_energy(self, states: Tensor, side: int = EVEN) -> Tensor:
        r"""Of a side's states, with the other side summed out: :math:`-\log \sum e^{-E}`, (B,)."""
        summed = F.softplus(wide(self.logits(1 - side, states)))
        return -wide(states @ self.bias(side)) - summed.sum(1)

    # All layers at once

    def energy(self, layers: Sequence[Tensor]) -> Tensor:
        """Of states (B, size) of every layer, (B,). It is linear in each: means give its mean."""
        own = [wide(s @ bias) for s, bias in zip(layers, self.biases, strict=True)]
        pairs = [wide(self.up(k, s) * layers[k + 1]).sum(1) for k, s in enumerate(layers[:-1])]
        return -torch.stack(own + pairs).sum(0)

    def mean_field(self, v: Tensor) -> list[Tensor]:
        """Probabilities (B, size) of each hidden layer, as if its units were independent given v.

        One layer after the other is set to what is best given its neighbours, so that no step makes
        the bound worse. With one hidden layer they are the posterior. The way up to begin with counts
        what comes from below twice where a layer above will say about as much (Deep Boltzmann Machines,
        Salakhutdinov and Hinton, 2009, Section 3).
        """
        means, first = [v], self.up(0, v)
        for k in range(1, len(self.sizes)):
            below = first if k == 1 else self.up(k - 1, means[-1])
            means.append((self.biases[k] + (2 if k < self.depth else 1) * below).sigmoid())
        for _ in range(self.sweeps if self.depth > 1 else 0):
            means = self.sweep(means, first)
        return means[1:]

    def sweep(self, means: Sequence[Tensor], first: Tensor | None = None) -> list[Tensor]:
        """Means of all layers after each hidden one was set anew; `first` is up(0, v), if at hand."""
        means = list(means)
        first = self.up(0, means[0]) if first is None else first
        for k in range(1, len(means)):
            logits = self.biases[k] + (first if k == 1 else self.up(k - 1, means[k - 1]))
            means[k] = (logits + self.down(k, means[k + 1]) if k < self.depth else logits).sigmoid()
        return means

    def variational_free_energy(self, v: Tensor, means: Sequence[Tensor]) -> Tensor:
        r"""The upper bound :math:`E_q[E(v, h)] - H(q)` on the free energy of v, (B,).

        Arguments:
            v: States of the image, (B, sizes[0]).
            means: Probabilities of each hidden layer under q, in which units are independent.
        """
        every = torch.cat(list(means), 1)
        entropy = torch.special.entr(wide(every)) + torch.special.entr(1 - wide(every))
        return self.energy([v, *means]) - entropy.sum(1)


class BeliefNetwork(nn.Module, ABC):
    """Machines with one hidden layer each; what is hidden in one is the image of the next.

    All but the last are of use in one direction: as p(v|h) downwards, as q(h|v) upwards.
    """

    shape: tuple[int, int, int]
    machines: nn.ModuleList

    @property
    def levels(self) -> list[BoltzmannMachine]:
        """The machines, from the image up."""
        return [cast(BoltzmannMachine, machine) for machine in self.machines]

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (B, C, H, W) in [-1, 1] to the probabilities of the last hidden units, (B, D).

        On the way, units are as much on as they are likely to be.
        """
        states = units_of(x)
        for machine in self.levels:
            states = machine.logits(ODD, states).sigmoid()
        return states


def units_of(x: Tensor) -> Tensor:
    """Images (B, C, H, W) in [-1, 1] as states (B, D) in [0, 1]."""
    return (x.flatten(1) + 1) / 2
