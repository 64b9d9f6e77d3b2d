"""How fast training goes, and what it waits for."""

import resource
import sys
import time
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lightning_gen.tracking import publish

from .periodic import Periodic


class Throughput(Callback):
    """Publishes images per second, the share of time spent waiting for data, and peak memory.

    Over the steps between two log lines, by the clock of the host and without asking the device:
    a step costs two looks at the clock. Validation, sampling and checkpoints do not count.
    """

    def __init__(self) -> None:
        self._ended = self._training = self._waiting = self._other = 0.0
        self._images = self._logged = 0
        self._lookers: list[Periodic] = []
        self._interrupted = True

    def on_train_start(self, trainer: Trainer, model: LightningModule) -> None:
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        self._lookers = [each for each in callbacks if isinstance(each, Periodic)]
        self._open(trainer, model)

    def on_train_batch_start(self, trainer: Trainer, model: LightningModule, *_: Any) -> None:
        now, other = time.perf_counter(), self._elsewhere()
        if not self._interrupted:
            self._waiting += now - self._ended - (other - self._other)
        self._started, self._other, self._interrupted = now, other, False

    def on_train_batch_end(self, trainer: Trainer, model: LightningModule, *_: Any) -> None:
        self._ended = time.perf_counter()
        self._training += self._ended - self._started - (self._elsewhere() - self._other)
        self._other = self._elsewhere()
        window = trainer.global_step // trainer.log_every_n_steps  # type: ignore[attr-defined]
        if window != self._logged:
            self._publish(trainer, model)
            self._open(trainer, model)

    def on_validation_end(self, trainer: Trainer, model: LightningModule) -> None:
        self._interrupted = True

    def on_train_epoch_end(self, trainer: Trainer, model: LightningModule) -> None:
        self._interrupted = True

    def on_save_checkpoint(
        self, trainer: Trainer, model: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._interrupted = True

    def _open(self, trainer: Trainer, model: LightningModule) -> None:
        self._training = self._waiting = 0.0
        self._images = getattr(model, "images_seen", 0)
        self._logged = trainer.global_step // trainer.log_every_n_steps  # type: ignore[attr-defined]

    def _publish(self, trainer: Trainer, model: LightningModule) -> None:
        total = self._training + self._waiting
        if total > 0:
            values = {
                "images_per_second": (getattr(model, "images_seen", 0) - self._images) / total,
                "waiting_share": self._waiting / total,
                "peak_memory_gb": peak_memory(model.device) / 1e9,
            }
            publish(trainer, values)

    def _elsewhere(self) -> float:
        """Seconds that other callbacks spent on looking at the model."""
        return sum(each.seconds for each in self._lookers)


def peak_memory(device: torch.device) -> int:
    """Bytes: of tensors on a GPU, of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere
