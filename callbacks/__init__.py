"""Callbacks: what is computed around training. They ask a model only for its capabilities."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

from .agreement import Agreement
from .annealed_likelihood import AnnealedLikelihood
from .attribute_grid import AttributeGrid
from .best import BestCheckpoints
from .bits_per_dim import BitsPerDim
from .checkpoint import AtomicCheckpoints, LastCheckpoint
from .codes import CodeTraversal, LabelAccuracy
from .collapse_guard import CollapseGuard
from .completions import Completions
from .curves import Curves
from .environment import Environment
from .explain_training import ExplainTraining
from .fid import FID
from .importance import ImportanceBound
from .interpolation import Interpolation
from .latent_space import LatentSpace
from .likelihood_map import LikelihoodMap
from .mode_coverage import ModeCoverage
from .nan_guard import NaNGuard
from .points_picture import PointsPicture
from .progress import Progress
from .receptive_field import ReceptiveField
from .reconstruction_error import ReconstructionError
from .reconstructions import Reconstructions
from .sample_grid import SampleGrid
from .sample_quality import SampleQuality
from .speed import SamplingSpeed
from .throughput import Throughput

__all__ = [
    "FID",
    "Agreement",
    "AnnealedLikelihood",
    "AtomicCheckpoints",
    "AttributeGrid",
    "BestCheckpoints",
    "BitsPerDim",
    "CodeTraversal",
    "CollapseGuard",
    "Completions",
    "Curves",
    "Environment",
    "ExplainTraining",
    "ImportanceBound",
    "Interpolation",
    "LabelAccuracy",
    "LastCheckpoint",
    "LatentSpace",
    "LikelihoodMap",
    "ModeCoverage",
    "NaNGuard",
    "PointsPicture",
    "Progress",
    "ReceptiveField",
    "ReconstructionError",
    "Reconstructions",
    "SampleGrid",
    "SampleQuality",
    "SamplingSpeed",
    "Throughput",
]
