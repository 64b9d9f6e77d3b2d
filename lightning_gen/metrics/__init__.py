"""Distances between sets of images, the features that they are taken in, and noise to score with."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before torchmetrics

from .cache import digest_of, load_statistics, save_statistics
from .extractors import (
    DigitClassifier,
    ModuleFeatures,
    SeededFeatures,
    check_name,
    extractor,
)
from .features import Extractor, features_of
from .frechet import (
    FrechetDistance,
    distance_to,
    frechet_distance,
    moments,
)
from .frechet_limit import Interval, enough, intervals, limit
from .inception import Inception
from .inception_score import SPLITS, InceptionSums
from .kernel import kernel_distance
from .manifolds import manifolds
from .neighbours import radii
from .noise import BLOCK, PlacedNoise
from .shares import Pieces, Share, Watch, slices

__all__ = [
    "BLOCK",
    "SPLITS",
    "DigitClassifier",
    "Extractor",
    "FrechetDistance",
    "Inception",
    "InceptionSums",
    "Interval",
    "ModuleFeatures",
    "Pieces",
    "PlacedNoise",
    "SeededFeatures",
    "Share",
    "Watch",
    "check_name",
    "digest_of",
    "distance_to",
    "enough",
    "extractor",
    "features_of",
    "frechet_distance",
    "intervals",
    "kernel_distance",
    "limit",
    "load_statistics",
    "manifolds",
    "moments",
    "radii",
    "save_statistics",
    "slices",
]
