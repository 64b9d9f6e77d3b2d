"""Tiny mixtures of orders, far from even odds, in float64."""

import torch

from lightning_gen.models.autoregressive import MADE, DeepNADE
from lightning_gen.networks.deep_nade import DeepNADENetwork
from lightning_gen.networks.made import ManyOrdersMADE
from lightning_gen.randomness import Noise

MODELS = {
    "MADE": lambda *size, **kwargs: MADE(ManyOrdersMADE(*size, widths=(80, 80), **kwargs)),
    "MADE, direct": lambda *size, **kwargs: MADE(
        ManyOrdersMADE(*size, widths=(40,), direct=True, **kwargs)
    ),
    "Deep NADE": lambda *size, **kwargs: DeepNADE(
        DeepNADENetwork(*size, widths=(20, 20), **kwargs)
    ),
}


def make(kind, shape=(1, 3, 3), levels=2, count=3, seed=0):
    torch.manual_seed(0)
    model = MODELS[kind](shape, levels, count=count, seed=seed).double()
    for parameter in model.parameters():  # far from even odds
        parameter.data.uniform_(-1, 1)
    return model


def noise(count, *key):
    return Noise(("test", *key), count, dtype=torch.double)


def place(shape, index):
    """(channel, row, column) of a sub-pixel, counted by rows and by colours within a pixel."""
    pixel, channel = divmod(index, shape[0])
    return channel, *divmod(pixel, shape[2])
