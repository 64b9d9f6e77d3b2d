"""The Fréchet distance of samples to real images, the same number on any number of devices."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401

import math
from collections.abc import Iterator
from typing import cast

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn
from tqdm import tqdm

from lightning_gen.capabilities import Sampler
from lightning_gen.levels import to_levels
from lightning_gen.metrics import (
    BLOCK,
    Extractor,
    FrechetDistance,
    check_name,
    extractor,
    load_statistics,
    save_statistics,
)
from lightning_gen.randomness import Noise
from lightning_gen.tracking import publish, record

from .data import check_split, data_module
from .periodic import Periodic


class FID(Periodic):
    """Scores samples as `fid/<features>@<n>`, before training, at validations and at tests.

    The samples are the first `n` of one fixed sequence that does not depend on how they are shared
    out: block k has noise of its own, and process r of W makes the blocks k = r mod W. What is known
    of the real images is kept in the cache, by their fingerprint and the features' digest.

    Arguments:
        n: How many samples. Only distances with the same n compare: fewer give larger ones.
        extractor: The features: `inception-tf1`, `digits`, `seeded` or another name that
            `lightning_gen.metrics.extractor` knows, or an extractor.
        weights: A file with the features' weights, where they need one.
        reference_split: Which real images to compare with, all of them.
        batch_size: Samples made at once on each process. It does not change the distance.
        skip_missing: Whether to go on without the score, and say so, where the features' weights
            cannot be had, for example offline, or where they are not of images like the data's.
        kwargs: See `Periodic`.
    """

    needs = (Sampler,)

    def __init__(
        self,
        n: int = 10000,
        extractor: str | Extractor = "digits",
        weights: str | None = None,
        reference_split: str = "test",
        batch_size: int = BLOCK,
        skip_missing: bool = False,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = True,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if n < 2 or batch_size < 1:
            raise ValueError(f"n must be at least 2 and batch_size 1, got {n} and {batch_size}")
        if isinstance(extractor, str):
            check_name(extractor)
        self.n, self.extractor, self.weights = n, extractor, weights
        self.reference_split = check_split(reference_split)
        self.batch_size = min(batch_size, BLOCK)
        self.skip_missing = skip_missing
        self.distance: FrechetDistance | None = None
        self._reference = ""  # of which images the statistics are

    def setup(self, trainer: Trainer, model: LightningModule, stage: str) -> None:
        super().setup(trainer, model, stage)
        if not self._active:
            return
        data_module(trainer, self)
        if self.distance is None:
            features = self.features(trainer)
            self.distance = FrechetDistance(features) if features is not None else None
        self._active = self.distance is not None and self.fits(trainer, self.distance.extractor)

    def features(self, trainer: Trainer) -> Extractor | None:
        """The extractor, or None where it is missing and may be; all processes agree."""
        if not isinstance(self.extractor, str):
            return self.extractor
        found, error = None, FileNotFoundError(f"another process has no {self.extractor} features")
        for first in (True, False):  # one process of a machine fetches what the others then find
            if (trainer.local_rank == 0) is first:
                try:
                    found = extractor(self.extractor, self.weights)
                except (FileNotFoundError, ImportError) as missing:
                    error = missing  # type: ignore[assignment]
            trainer.strategy.barrier()
        if trainer.strategy.reduce_boolean_decision(found is not None, all=True):
            return found
        self._leave_out(trainer, error)
        return None

    def fits(self, trainer: Trainer, features: Extractor) -> bool:
        """Whether the features are of images with as many channels as the data's."""
        shape = getattr(data_module(trainer, self), "shape", None)
        if shape is None or shape[0] in features.channels:
            return True
        takes = " or ".join(map(str, features.channels))
        wrong = f"{features.name} features are of images with {takes} channels, not {shape[0]}"
        self._leave_out(trainer, ValueError(wrong))
        return False

    def _leave_out(self, trainer: Trainer, error: Exception) -> None:
        """Says that there will be no score, where that was allowed."""
        if not self.skip_missing:
            raise error
        if trainer.is_global_zero:
            print(f"{self.key} is left out: {error}", flush=True)

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        assert self.distance is not None
        self.distance.to(model.device)
        self.refer(trainer, model)
        self.distance.reset()
        for noise in self.shares(trainer, model):
            classes = getattr(model, "num_classes", None)
            labels = noise.spawn("labels").integers(classes) if classes else None
            samples = cast(Sampler, model).sample(len(noise), labels, noise)
            self.distance.update(to_levels(samples.float()), real=False)
            if not samples.isfinite().all():
                self.distance.spoil()
        self.score(trainer, model, self.distance.compute().item())

    def shares(self, trainer: Trainer, model: LightningModule) -> Iterator[Noise]:
        """The noise of the samples that this process makes."""
        blocks = range(trainer.global_rank, -(-self.n // BLOCK), trainer.world_size)
        silent = trainer.global_rank > 0 or None  # None: only where there is a terminal
        for k in tqdm(blocks, f"samples for {self.key}", delay=10, leave=False, disable=silent):
            count = min(BLOCK, self.n - k * BLOCK)
            for start in range(0, count, self.batch_size):
                size = min(self.batch_size, count - start)
                yield Noise(("metrics", k), size, BLOCK, start, model.device)

    @property
    def key(self) -> str:
        """The metric's name."""
        name = self.extractor if isinstance(self.extractor, str) else self.extractor.name
        return f"fid/{name if self.distance is None else self.distance.extractor.name}@{self.n}"

    def score(self, trainer: Trainer, model: LightningModule, value: float) -> None:
        """Publishes the value and, once training has begun, records it with its protocol."""
        publish(trainer, {self.key: value})
        if trainer.global_step == 0 and trainer.training:
            return
        seen = getattr(model, "images_seen", 0)
        score = {
            "value": value if math.isfinite(value) else None,
            "protocol": f"fid@{self.n}:{self._reference}",
            "n": self.n,
            "images_seen": seen,
        }
        record(trainer, {self.key: score})

    def refer(self, trainer: Trainer, model: LightningModule) -> None:
        """Sees to the statistics of the real images: from the cache, else each process its share.

        The first process alone reads the cache and holds what it finds; the sums add up anyway.
        """
        assert self.distance is not None
        data, features = data_module(trainer, self), self.distance.extractor
        fingerprint = str(data.fingerprint(self.reference_split))
        key = {"fingerprint": fingerprint, "split": self.reference_split, "features": features.name}
        key["digest"] = features.digest
        wanted = f"{features.name}-{features.digest}:{data.name}-{self.reference_split}"
        if self._reference.startswith(f"{wanted}-") and self._reference.endswith(f":{fingerprint}"):
            return
        found = _cached(key) if trainer.is_global_zero else None
        self.distance.load_real_statistics(found)
        if not trainer.strategy.broadcast(found is not None):
            self._see_real(trainer, model)
            with self.distance.sync_context():
                if trainer.is_global_zero:
                    save_statistics(self.distance.real_statistics(), key)
        count = trainer.strategy.reduce(
            self.distance.real_features_num_samples.clone(), reduce_op="sum"
        )
        self._reference = f"{wanted}-{int(count)}:{fingerprint}"

    def _see_real(self, trainer: Trainer, model: LightningModule) -> None:
        assert self.distance is not None
        silent = trainer.global_rank > 0 or None
        loader = data_module(trainer, self).loader(self.reference_split)
        for images, _ in tqdm(loader, "real images", delay=10, leave=False, disable=silent):
            self.distance.update(images.to(model.device), real=True)


def _cached(key: dict[str, str]) -> dict[str, torch.Tensor] | None:
    try:
        return load_statistics(key)
    except ValueError as error:
        rank_zero_warn(f"{error}; they are computed anew")
        return None
