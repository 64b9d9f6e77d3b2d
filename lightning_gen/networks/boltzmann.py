"""Boltzmann machines whose neighbouring layers are fully connected, and stacks of them.

A Practical Guide to Training Restricted Boltzmann Machines (Hinton, 2012), Section 8, for the first
weights, https://www.cs.toronto.edu/~hinton/absps/guideTR.pdf
"""

from collections.abc import Sequence
from itertools import pairwise
from math import log

import torch
from torch import Tensor, nn

from ..nn.boltzmann import BeliefNetwork, BoltzmannMachine
from ..nn.sizes import check_sizes

Shape = tuple[int, int, int]


class DenseBoltzmannMachine(BoltzmannMachine):
    """Each unit of a layer is connected with each of the next.

    Arguments:
        shape: (C, H, W) of the images.
        hidden: Units of each hidden layer, from below: one layer makes a restricted machine.
        sweeps: Of the mean field over several hidden layers; see `BoltzmannMachine`.
        std: Of the first weights, which are normal.
        brightness: The share of white in the images. Each pixel begins as likely to be on; where that is
            far from even odds, a machine of several layers otherwise learns it first, by hidden units
            that are all on ever after.
    """

    def __init__(
        self,
        shape: Shape = (1, 28, 28),
        hidden: tuple[int, ...] = (500,),
        sweeps: int = 10,
        std: float = 0.01,
        brightness: float = 0.5,
    ) -> None:
        super().__init__(shape, hidden, sweeps)
        if not std >= 0:
            raise ValueError(f"std must not be negative, got {std}")
        if not 0 < brightness < 1:
            raise ValueError(f"brightness must be a share between 0 and 1, got {brightness}")
        nn.init.constant_(self.biases[0], log(brightness / (1 - brightness)))
        self.weights = nn.ParameterList(
            nn.Parameter(std * torch.randn(sizes)) for sizes in pairwise(self.sizes)
        )

    def up(self, k: int, states: Tensor) -> Tensor:
        return states @ self.weights[k]

    def down(self, k: int, states: Tensor) -> Tensor:
        return states @ self.weights[k].T


class DenseBeliefNetwork(BeliefNetwork):
    """A stack of restricted machines that are fully connected.

    Arguments:
        shape: (C, H, W) of the images.
        hidden: Hidden units of each machine, from below; the paper has 500, 500 and 2000.
        std: Of the first weights, which are normal.
    """

    def __init__(
        self,
        shape: Shape = (1, 28, 28),
        hidden: tuple[int, ...] = (500, 500, 2000),
        std: float = 0.01,
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, hidden=hidden)
        self.shape = shape
        shapes: Sequence[Shape] = [shape, *((size, 1, 1) for size in hidden[:-1])]
        self.machines = nn.ModuleList(
            DenseBoltzmannMachine(below, (size,), std=std)
            for below, size in zip(shapes, hidden, strict=True)
        )
