"""What scores of samples cost: memory at 50,000 features of each kind, and time next to the features."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from lightning_gen.metrics import (
    FrechetDistance,
    InceptionSums,
    SeededFeatures,
    Share,
    extractor,
    frechet_distance,
    intervals,
    kernel_distance,
    limit,
    manifolds,
)
from lightning_gen.metrics.frechet import moments, moments_of
from lightning_gen.metrics.frechet_limit import PARTS

from .timing import Ratio

FEATURES, CLASSES, IMAGES = 2048, 1008, 10_000
NETWORK = "resnet50"  # with as many features as Inception, and less to compute


def run() -> list[Ratio]:
    """Memory, and the times of the scores."""
    torch.set_num_threads(1)
    gib = peak(50_000)
    of_process = "all scores of 50,000 + 50,000 x 2,048 features, GiB at most"
    memory = Ratio(of_process, gib, gib, gib, 1, "<= 2", "torch included; 0.76 are the features")
    return [memory, *times()]


def peak(count: int) -> float:
    """The most memory, in GiB, of a process that takes all scores of so many features."""
    code = f"from benchmarks.quality import score_all; print(score_all({count}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return float(done.stdout.split()[-1])


def score_all(count: int) -> float:
    """Takes all scores and tells the peak of memory; of the chunks, which are alike, the first ones."""
    torch.set_num_threads(1)
    real, fake = features(0, count), features(1, count)
    share = Share(world=1 + count // 2000)  # the other processes' pieces are left out
    statistics = moments_of(real)
    limit(statistics, fake, Share(world=len(PARTS)))
    intervals(statistics, fake, 2, Share(rank=len(PARTS), world=1000))  # the first resample
    kernel_distance(real, fake, share=share)
    manifolds(real, fake, share=share)
    sums = InceptionSums(count, CLASSES)
    for places in torch.arange(count).split(250):
        sums.add(real[places, :CLASSES], places)
    sums.score()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def features(seed: int, count: int) -> Tensor:
    """Random features, made a part at a time."""
    generator, every = torch.Generator().manual_seed(seed), torch.empty(count, FEATURES)
    for part in every.split(1000):
        part.normal_(generator=generator)
    return every


def times(images: int = 24) -> list[Ratio]:
    """CPU seconds of the scores of 10,000 samples over those of their features."""
    network, batch = backbone(), torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8)
    network(batch[:2])
    forward = clocked(lambda: network(batch)) * IMAGES / images
    real, fake = features(0, IMAGES), features(1, IMAGES)
    sums = FrechetDistance(SeededFeatures())
    metric = clocked(lambda: add_all(sums, fake))
    statistics = moments_of(real)
    tenth = Share(world=10)
    every = {
        "sums and Fréchet distance": metric
        + clocked(lambda: frechet_distance(statistics, statistics)),
        "Fréchet distance without end": clocked(lambda: limit(statistics, fake)),
        "kernel distance": 10 * clocked(lambda: kernel_distance(real, fake, share=tenth)),
        "precision, recall, density, coverage": 10
        * clocked(lambda: manifolds(real, fake, share=tenth)),
    }
    goals = {"sums and Fréchet distance": "<= 0.01"}
    note = f"of {NETWORK}, {forward / IMAGES * 1000:.0f} ms an image"
    found = []
    for name, seconds in every.items():
        share, key = seconds / forward, f"{name} / features of 10,000"
        found.append(Ratio(key, share, share, share, 1, goals.get(name), note))
    return found


def add_all(metric: FrechetDistance, every: Tensor) -> Tensor:
    """Sums as a pass of samples has them."""
    for name in ("fake_features_sum", "fake_features_cov_sum"):
        size = (FEATURES,) * (1 + name.count("cov"))
        setattr(metric, name, torch.zeros(size, dtype=torch.float64))
    for part in every.split(250):
        metric.add(part, real=False)
    count = torch.tensor(len(every))
    return moments(count, metric.fake_features_sum, metric.fake_features_cov_sum)[1]


def backbone() -> torch.nn.Module:
    """A network of torchvision, whose weights do not matter to the clock."""
    from torchvision import models

    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save(models.get_model(NETWORK, weights=None).state_dict(), path)
        return extractor(f"torchvision/{NETWORK}", path)


def clocked(call: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    with torch.no_grad():
        call()
    return time.process_time() - start
