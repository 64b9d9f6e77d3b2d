"""How long a Fréchet distance takes once the features are there."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before torchmetrics

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.linalg
import torch
from torch import Tensor
from torchmetrics.image.fid import _compute_fid

from lightning_gen.metrics.frechet import (
    Moments,
    distance_to,
    frechet_distance,
    moments,
    moments_of,
)

from .timing import Ratio, ratio

FEATURES, IMAGES, FEW = 2048, 10_000, 1000


def run(rounds: int = 3) -> list[Ratio]:
    """Ratios for 2,048 features, as many as Inception has."""
    torch.set_num_threads(1)
    return [*of_many(rounds), *of_few(rounds)]


def of_many(rounds: int) -> list[Ratio]:
    """Once the moments of many images are there. scipy's sqrtm was four times slower before 1.17."""
    real, fake = random_moments(0), random_moments(1)
    every: dict[str, Callable[[Moments, Moments], float]] = {
        "scipy's sqrtm": by_sqrtm,
        "torchmetrics": by_torchmetrics,
        "our distance": lambda a, b: float(frechet_distance(a, b)),
    }
    seconds, values = measured(every, real, fake, rounds)
    return [
        ratio(seconds, name, "our distance", goal, agreement(values, name, "our distance"))
        for name, goal in (("scipy's sqrtm", ">= 20"), ("torchmetrics", ">= 3"))
    ]


def of_few(rounds: int) -> list[Ratio]:
    """From the features of fewer images than features."""
    real, fake = random_features(0, FEW), random_features(1, FEW)
    ours = f"ours, of {FEW} images"
    every: dict[str, Callable[[Tensor, Tensor], float]] = {
        f"torchmetrics, of {FEW} images": lambda a, b: by_torchmetrics(
            moments_of(a), moments_of(b)
        ),
        "ours by the covariances": lambda a, b: float(
            frechet_distance(moments_of(a), moments_of(b))
        ),
        ours: lambda a, b: float(distance_to(moments_of(a), b)),
    }
    seconds, values = measured(every, real, fake, rounds)
    return [
        ratio(seconds, name, ours, goal, agreement(values, name, ours))
        for name, goal in zip(every, (">= 6", None), strict=False)
    ]


def measured(
    every: Mapping[str, Callable[[Any, Any], float]], real: object, fake: object, rounds: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """CPU seconds and values of distances that take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in every}
    values: dict[str, float] = {}
    for _ in range(rounds):
        for name, distance in every.items():
            start = time.process_time()
            values[name] = distance(real, fake)
            seconds[name].append(time.process_time() - start)
    return seconds, values


def random_features(seed: int, count: int) -> Tensor:
    """Correlated features with a spectrum that falls, as those of networks do."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, FEATURES, generator=generator)
    x = x * torch.arange(1, FEATURES + 1).pow(-0.5)
    return x @ torch.linalg.qr(torch.randn(FEATURES, FEATURES, generator=generator))[0]


def random_moments(seed: int) -> Moments:
    """Of many such features."""
    features = random_features(seed, IMAGES).double()
    return moments(torch.tensor(IMAGES), features.sum(0), features.T @ features)


def by_sqrtm(real: Moments, fake: Moments) -> float:
    """As pytorch-fid and clean-fid compute it."""
    (mean1, cov1), (mean2, cov2) = ([part.numpy() for part in each] for each in (real, fake))
    root = np.real(scipy.linalg.sqrtm(cov1 @ cov2))
    return float(((mean1 - mean2) ** 2).sum() + np.trace(cov1 + cov2 - 2 * root))


def by_torchmetrics(real: Moments, fake: Moments) -> float:
    """As `FrechetInceptionDistance` computes it."""
    value: Tensor = _compute_fid(real[0], real[1], fake[0], fake[1])
    return float(value)


def agreement(values: Mapping[str, float], name: str, ours: str) -> str:
    """How far two distances are apart."""
    gap = abs(values[name] / values[ours] - 1)
    return f"the distances differ by {gap:.0e} of their value"
