"""The scores of samples again, plainly, in numpy and float64."""

import numpy as np
import torch
from torch import Tensor

from lightning_gen.randomness import stream


def gaussians(
    count: int, dimensions: int, name: str, mean: float = 0.0, scale: float = 1.0
) -> Tensor:
    """float32 features with a spectrum that falls, far from the origin as those of networks are."""
    x = torch.randn(count, dimensions, generator=stream(name)) * scale
    return x * torch.arange(1, dimensions + 1) ** -0.5 + 3 + mean


def kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate by a loop over pairs."""
    m, d = x.shape

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (a @ b / d + 1) ** 3

    same = sum(k(z[i], z[j]) for z in (x, y) for i in range(m) for j in range(m) if i != j)
    cross = sum(k(a, b) for a in x for b in y)
    return same / (m * (m - 1)) - 2 * cross / m**2


def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1))


def ball_radii(x: np.ndarray, k: int) -> np.ndarray:
    """The first place of a sorted row is the point itself."""
    return np.sort(distances(x, x), axis=1)[:, k]


def manifolds(real: np.ndarray, fake: np.ndarray, k: int, k_density: int) -> list[float]:
    d = distances(real, fake)
    precision = (d <= ball_radii(real, k)[:, None]).any(0).mean()
    recall = (d <= ball_radii(fake, k)[None]).any(1).mean()
    within = d < ball_radii(real, k_density)[:, None]
    return [precision, recall, within.sum() / (k_density * len(fake)), within.any(1).mean()]


def inception_score(logits: np.ndarray, splits: int) -> list[float]:
    scores = []
    for i in range(splits):
        part = logits[i * len(logits) // splits : (i + 1) * len(logits) // splits]
        p = np.exp(part) / np.exp(part).sum(1, keepdims=True)
        scores.append(np.exp((p * np.log(p / p.mean(0))).sum(1).mean()))
    return scores
