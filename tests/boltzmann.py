"""Boltzmann machines that are small enough for all of their states to be listed."""

from itertools import product

import torch

from lightning_gen.networks.boltzmann import DenseBeliefNetwork, DenseBoltzmannMachine
from lightning_gen.randomness import Noise

EVERY_3X3 = torch.tensor(list(product([-1.0, 1.0], repeat=9)), dtype=torch.double).view(-1, 1, 3, 3)


def states(size: int) -> torch.Tensor:
    """All states (2^size, size) of so many units."""
    return torch.tensor(list(product([0.0, 1.0], repeat=size)), dtype=torch.double)


def randomised(network, scale=1.0):
    """The network with weights and biases that differ from all others, in float64."""
    generator = torch.Generator().manual_seed(3)
    for parameter in network.double().parameters():
        parameter.data = scale * torch.randn(
            parameter.shape, generator=generator, dtype=torch.double
        )
    return network


def machine(*hidden: int, shape=(1, 3, 3), scale=1.0, **kwargs) -> DenseBoltzmannMachine:
    """A machine whose weights are normal."""
    return randomised(DenseBoltzmannMachine(shape, hidden, **kwargs), scale)


def stack(*hidden: int, shape=(1, 3, 3), scale=1.0) -> DenseBeliefNetwork:
    """A belief network whose weights are normal."""
    return randomised(DenseBeliefNetwork(shape, hidden), scale)


def bars_and_stripes(side=3) -> torch.Tensor:
    """All images (N, 1, side, side) in [-1, 1] of which each row, or each column, is of one colour."""
    lines = 2 * states(side) - 1
    rows = lines[:, None, :, None].expand(-1, 1, side, side)
    return torch.cat([rows, rows.transpose(2, 3)[1:-1]])


def noise(count, *key, **kwargs):
    return Noise(("test", *key), count, dtype=torch.double, **kwargs)


def joint(network, layers=None) -> torch.Tensor:
    """-E of all states of all layers, with one axis for each layer. By sums over single pairs.

    Arguments:
        network: The machine.
        layers: States of some layers, (n, size), which stand for all of them.
    """
    every = [
        states(size) if layers is None or k not in layers else layers[k]
        for k, size in enumerate(network.sizes)
    ]
    count = len(every)
    total = torch.zeros([len(s) for s in every], dtype=torch.double)
    for k, (s, bias) in enumerate(zip(every, network.biases)):
        own = sum(bias[i] * s[:, i] for i in range(s.shape[1]))
        total = total + own.view([-1 if j == k else 1 for j in range(count)])
    for k, weight in enumerate(network.weights):
        pair = torch.einsum("ai,ij,bj->ab", every[k], weight, every[k + 1])
        total = total + pair.view([len(every[j]) if j in (k, k + 1) else 1 for j in range(count)])
    return total
