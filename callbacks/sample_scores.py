"""The base of all that scores samples in the features of a network."""

from abc import ABC
from collections.abc import Mapping
from math import isfinite
from typing import Any

from pytorch_lightning import LightningModule, Trainer

from lightning_gen.capabilities import Sampler
from lightning_gen.metrics import BLOCK, Extractor, FrechetDistance, check_name, extractor
from lightning_gen.tracking import publish, record

from .data import check_split, data_module
from .periodic import Periodic
from .reference import Reference


class SampleScores(Periodic, ABC):
    """Scores samples before training, at validations and at tests.

    The samples are the first `n` of one fixed sequence that does not depend on how they are shared
    out. What is known of the real images is kept in the cache, by their fingerprint and the
    features' digest.

    Arguments:
        n: How many samples. Only scores with the same n compare.
        extractor: The features: `inception-tf1`, `digits`, `seeded` or another name that
            `lightning_gen.metrics.extractor` knows, or an extractor.
        weights: A file with the features' weights, where they need one.
        reference_split: Which real images to compare with.
        batch_size: Samples made at once on each process. It does not change the scores.
        skip_missing: Whether to go on without the scores, and say so, where the features' weights
            cannot be had, for example offline, or where they are not of images like the data's.
        kwargs: See `Periodic`.
    """

    needs = (Sampler,)
    keeps_features = False  # of real images

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
        self.reference: Reference | None = None
        self.told: set[str] = set()  # passes whose length was said

    def setup(self, trainer: Trainer, model: LightningModule, stage: str) -> None:
        super().setup(trainer, model, stage)
        if not self._active:
            return
        data_module(trainer, self)
        if self.distance is None:
            features = self.features(trainer)
            self.distance = FrechetDistance(features) if features is not None else None
        self._active = self.distance is not None and self.fits(trainer, self.distance.extractor)
        if self.distance is not None and self.reference is None:
            self.reference = Reference(self.distance, self.reference_split, self.keeps_features)

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
        """Says that there will be no scores, where that was allowed."""
        if not self.skip_missing:
            raise error
        if trainer.is_global_zero:
            print(f"{self.key} is left out: {error}", flush=True)

    @property
    def key(self) -> str:
        """The metric's name."""
        return self.key_of("fid")

    def key_of(self, metric: str) -> str:
        """The key of one of the scores."""
        name = self.extractor if isinstance(self.extractor, str) else self.extractor.name
        name = name if self.distance is None else self.distance.extractor.name
        return f"{metric}/{name}@{self.n}"

    def note(
        self, trainer: Trainer, model: LightningModule, scores: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Publishes scores and, once training has begun, records them with their protocols."""
        publish(trainer, {key: score["value"] for key, score in scores.items()})
        if trainer.global_step == 0 and trainer.training:
            return
        rest = {"n": self.n, "images_seen": getattr(model, "images_seen", 0)}
        record(trainer, {key: {**_plain(score), **rest} for key, score in scores.items()})


def _plain(score: Mapping[str, Any]) -> dict[str, Any]:
    """A score as JSON has it: no number where there is none."""
    return {
        name: None if isinstance(value, float) and not isfinite(value) else value
        for name, value in score.items()
    }
