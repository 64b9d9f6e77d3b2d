"""How many modes of the data a model reaches, the same number on any number of devices."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401

from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from lightning_gen.capabilities import Sampler
from lightning_gen.levels import to_levels
from lightning_gen.metrics import BLOCK, DigitClassifier
from lightning_gen.metrics.modes import (
    LEAST,
    covered,
    nearest_modes,
    stacked_classes,
    unevenness,
)
from lightning_gen.randomness import Noise
from lightning_gen.tracking import publish, record

from .data import data_module
from .periodic import Periodic
from .sampling import draw, share_of, watcher

DIGITS = ("mnist", "stacked_mnist", "digits")  # data of which the classifier knows the classes


class ModeCoverage(Periodic):
    """Counts the modes that samples reach; what a mode is depends on the data.

    Of points with centres, such as `Ring` and `Grid`: `modes/<k>sigma@<n>`, how many modes hold 1 % of
    the samples within k deviations of their centre, and `quality/<k>sigma@<n>`, which share of all
    samples lies there.

    Of digits, such as `StackedMNIST`: `modes/digits@<n>`, how many classes, one for each combination of
    digits in the channels, the pinned classifier finds.

    Both also have `mode_kl/...`, the divergence of the modes' shares from equal ones, in nats.

    Arguments:
        n: How many samples. Only scores with the same n compare.
        sigmas: Within how many deviations of its centre a sample is of a mode of points.
        kwargs: See `Periodic`.
    """

    needs = (Sampler,)

    def __init__(
        self,
        n: int = 10_000,
        sigmas: float = 3.0,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = False,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if n < 1 or not 0 < sigmas < torch.inf:
            raise ValueError(f"n must be at least 1 and sigmas positive, got {n} and {sigmas}")
        self.n, self.sigmas = n, sigmas
        self.classifier: DigitClassifier | None = None
        self.told: set[str] = set()  # passes whose length was said

    def setup(self, trainer: Trainer, model: LightningModule, stage: str) -> None:
        super().setup(trainer, model, stage)
        data = data_module(trainer, self)
        centres = getattr(data, "centres", None)
        if centres is None and data.name not in DIGITS:
            raise ValueError(
                f"ModeCoverage needs data whose modes are known, points with centres or one of "
                f"{', '.join(DIGITS)}, got {data.name}; leave it out"
            )
        if centres is not None:
            apart = torch.pdist(centres).min().item()
            if 2 * self.sigmas * data.deviation >= apart:
                raise ValueError(
                    f"{self.sigmas:g} sigmas of {data.name} reach into the next mode; set sigmas below "
                    f"{apart / 2 / data.deviation:.3g}"
                )
        elif self._active and self.classifier is None:
            self.classifier = DigitClassifier()

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        data = data_module(trainer, self)
        kind, least, count, mode_of = self._modes(data, model)
        counts = torch.zeros(count + 1, dtype=torch.int64)  # the last: of no mode
        share = share_of(trainer, model, watcher(trainer, self.told))
        for samples in self._samples(trainer, model):
            counts += torch.bincount(mode_of(samples).cpu(), minlength=count + 1)
        counts = share.total(counts)[:-1]
        values = {"modes": float(covered(counts, self.n, least)), "mode_kl": unevenness(counts)}
        if self.classifier is None:
            values["quality"] = counts.sum().item() / self.n
        made = f"{data.name}-test-{count}modes:{data.fingerprint('test')}"
        scores = {
            f"{name}/{kind}@{self.n}": {
                "value": value,
                "protocol": f"{name}@{self.n}-{kind}:{made}",
            }
            for name, value in values.items()
        }
        self.note(trainer, model, scores)

    def note(
        self, trainer: Trainer, model: LightningModule, scores: dict[str, dict[str, Any]]
    ) -> None:
        """Publishes scores and, once training has begun, records them with their protocols."""
        publish(trainer, {key: score["value"] for key, score in scores.items()})
        if trainer.global_step == 0 and trainer.training:
            return
        rest = {"n": self.n, "images_seen": getattr(model, "images_seen", 0)}
        for score in scores.values():
            score |= {**rest, "value": score["value"] if isfinite(score["value"]) else None}
        record(trainer, scores)

    def _modes(
        self, data: Any, model: LightningModule
    ) -> tuple[str, float, int, Callable[[Tensor], Tensor]]:
        """What modes are called, which share covers one, how many there are, and that of a sample."""
        if self.classifier is not None:
            classifier = self.classifier.to(model.device)
            return "digits", 0.0, 10 ** data.shape[0], lambda x: stacked_digits(classifier, x)
        centres, radius = data.centres, self.sigmas * data.deviation
        kind = f"{self.sigmas:g}sigma"
        return kind, LEAST, len(centres), lambda x: nearest_modes(x.flatten(1), centres, radius)

    def _samples(self, trainer: Trainer, model: LightningModule) -> Iterator[Tensor]:
        """This process's share of the first n samples of the sequence that all scores are of."""
        blocks = range(trainer.global_rank, -(-self.n // BLOCK), trainer.world_size)
        for k in watcher(trainer, self.told)("samples for modes", blocks):
            count = min(BLOCK, self.n - k * BLOCK)
            yield draw(model, Noise(("metrics", k), count, BLOCK, 0, model.device)).float()


def stacked_digits(classifier: DigitClassifier, x: Tensor) -> Tensor:
    """The modes of samples (B, C, H, W) in [-1, 1], (B,); 10^C where they are no numbers."""
    modes = stacked_classes(classifier, to_levels(x.nan_to_num(0)))
    finite = x.flatten(1).isfinite().all(1)
    return torch.where(finite, modes, 10 ** x.shape[1])
