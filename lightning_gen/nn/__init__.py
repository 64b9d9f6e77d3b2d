"""Layers that networks are made of."""

from .ema import Average as Average
