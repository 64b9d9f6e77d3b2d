"""Normalising flows over images."""

from .nice import NICE as NICE
