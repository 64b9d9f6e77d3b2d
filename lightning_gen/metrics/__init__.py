"""Distances between sets of images, the features that they are taken in, and noise to score with."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before torchmetrics

from .cache import load_statistics, save_statistics
from .extractors import (
    DigitClassifier,
    ModuleFeatures,
    SeededFeatures,
    check_name,
    extractor,
)
from .features import Extractor
from .frechet import FrechetDistance, frechet_distance
from .inception import Inception
from .noise import BLOCK, PlacedNoise

__all__ = [
    "BLOCK",
    "DigitClassifier",
    "Extractor",
    "FrechetDistance",
    "Inception",
    "ModuleFeatures",
    "PlacedNoise",
    "SeededFeatures",
    "check_name",
    "extractor",
    "frechet_distance",
    "load_statistics",
    "save_statistics",
]
