"""The floor of a distance: that of real images that no run has trained on, by the run's own scorers."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from callbacks import SampleQuality
from datamodules import ImageData
from lightning_gen.levels import from_levels
from lightning_gen.randomness import Noise
from lightning_gen.tracking import read_results

from .evaluation import data_of, distance_of, run
from .quiet import quieten


class RealImages(LightningModule):
    """A sampler that gives real images, each once.

    Arguments:
        images: uint8, (N, C, H, W).
    """

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images, self.given = images, 0

    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """The next `n` of the images, in [-1, 1]."""
        start, self.given = self.given, self.given + n
        return from_levels(self.images[start : self.given])

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Computes nothing; the callback looks at the samples."""


def measure_floor(config: Path, root: str | None, folder: Path) -> dict[str, Any]:
    """Scores real images as a run scores its samples; the scores, by name.

    The images are those that are held out of training to validate, or training images if there
    are too few of them; the references are others, those of the run.

    Arguments:
        config: The config.yaml of the run.
        root: Where data sets lie, by default as in the run.
        folder: Where the result.json goes.
    """
    quieten()
    settings = distance_of(config, None)
    scorer = SampleQuality(**settings, scores=["fid", "is"])
    data = data_of(config, None, root)
    assert isinstance(data, ImageData)
    data.prepare_data()
    folder.mkdir(parents=True, exist_ok=True)
    run(RealImages(held_out(data, scorer.n)), data, [scorer], folder)
    return read_results(folder / "result.json").get("scores", {})


def held_out(data: ImageData, count: int) -> Tensor:
    """The first images that are held out to validate, or of training where there are too few."""
    split = "val" if len(data.images("val")) >= count else "train"
    images: list[Tensor] = []
    for batch, _ in data.loader(split):
        images.append(batch)
        if sum(map(len, images)) >= count:
            break
    found = torch.cat(images)[:count]
    if len(found) < count:
        raise ValueError(f"{data.name} has {len(found)} images, too few for a floor of {count}")
    return found
