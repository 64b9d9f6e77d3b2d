"""Tiny causal networks of every kind, far from even odds, in float64."""

from itertools import product

import torch

from lightning_gen.networks.causal import GatedCausalStack, MaskedStack
from lightning_gen.networks.pixel_rnn import DiagonalBiLSTMStack, RowLSTMStack

WIDTHS = {MaskedStack: 4, GatedCausalStack: 4, RowLSTMStack: 2, DiagonalBiLSTMStack: 2}
NETWORKS = tuple(WIDTHS)


def network(kind, channels=1, levels=2, depth=2, first_kernel=3, width=1, **kwargs):
    """A network of that class, `width` times as wide as it must be."""
    torch.manual_seed(0)
    size = "hidden" if kind in (RowLSTMStack, DiagonalBiLSTMStack) else "width"
    kwargs = {size: width * WIDTHS[kind] * channels, "head": 4 * width * channels, **kwargs}
    made = kind(channels, levels, depth=depth, first_kernel=first_kernel, **kwargs).double()
    for parameter in made.parameters():  # classes included, which begin at zero
        parameter.data.uniform_(-1, 1)
    return made


def every_image(*shape):
    """All images of two levels, in float64."""
    size = torch.Size(shape).numel()
    every = torch.tensor(list(product([-1.0, 1.0], repeat=size)), dtype=torch.double)
    return every.view(-1, *shape)


def order(shape):
    """(channel, row, column) of each sub-pixel in the order of the model."""
    channels, height, width = shape
    return [(c, i, j) for i, j, c in product(range(height), range(width), range(channels))]


def bars_and_stripes():
    """The 30 images 4x4 in which all rows, or all columns, are equal. Their entropy is ln 30."""
    lines = torch.tensor(list(product([-1.0, 1.0], repeat=4)))
    rows = lines[:, None, :, None].expand(-1, 1, 4, 4)
    return torch.cat([rows, rows.transpose(2, 3)]).unique(dim=0)
