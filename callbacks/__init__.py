"""Callbacks: what is computed around training. They ask a model only for its capabilities."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

from .agreement import Agreement
from .best import BestCheckpoints
from .bits_per_dim import BitsPerDim
from .checkpoint import AtomicCheckpoints, LastCheckpoint
from .curves import Curves
from .environment import Environment
from .fid import FID
from .importance import ImportanceBound
from .interpolation import Interpolation
from .nan_guard import NaNGuard
from .progress import Progress
from .reconstructions import Reconstructions
from .sample_grid import SampleGrid
from .sample_quality import SampleQuality
from .speed import SamplingSpeed
from .throughput import Throughput

__all__ = [
    "FID",
    "Agreement",
    "AtomicCheckpoints",
    "BestCheckpoints",
    "BitsPerDim",
    "Curves",
    "Environment",
    "ImportanceBound",
    "Interpolation",
    "LastCheckpoint",
    "NaNGuard",
    "Progress",
    "Reconstructions",
    "SampleGrid",
    "SampleQuality",
    "SamplingSpeed",
    "Throughput",
]
