"""How long a Fréchet distance takes once the features are there."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before torchmetrics

import time
from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch
from torch import Tensor
from torchmetrics.image.fid import _compute_fid

from lightning_gen.metrics.frechet import Moments, frechet_distance, moments

from .timing import Ratio, ratio

FEATURES, IMAGES = 2048, 10_000


def run(rounds: int = 1) -> list[Ratio]:
    """Ratios for 2,048 features, as many as Inception has. scipy takes a minute."""
    torch.set_num_threads(1)
    real, fake = random_moments(0), random_moments(1)
    every: dict[str, Callable[[Moments, Moments], float]] = {
        "scipy's sqrtm": by_sqrtm,
        "torchmetrics": by_torchmetrics,
        "our distance": lambda a, b: float(frechet_distance(a, b)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in every}
    values: dict[str, float] = {}
    for _ in range(rounds):
        for name, distance in every.items():
            start = time.process_time()
            values[name] = distance(real, fake)
            seconds[name].append(time.process_time() - start)
    return [
        ratio(seconds, name, "our distance", goal, agreement(values, name))
        for name, goal in (("scipy's sqrtm", ">= 20"), ("torchmetrics", ">= 3"))
    ]


def random_moments(seed: int) -> Moments:
    """Of correlated features with a spectrum that falls, as those of networks do."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(IMAGES, FEATURES, generator=generator)
    x = x * torch.arange(1, FEATURES + 1).pow(-0.5)
    mixed = x @ torch.linalg.qr(torch.randn(FEATURES, FEATURES, generator=generator))[0]
    features = mixed.double()
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


def agreement(values: dict[str, float], name: str) -> str:
    """How far two distances are apart."""
    gap = abs(values[name] / values["our distance"] - 1)
    return f"the distances differ by {gap:.0e} of their value"
