"""Checkpoints that are whole or not there at all, under one name that is always the newest."""

import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO


class LastCheckpoint(ModelCheckpoint):
    """Keeps `last.ckpt` the newest state of the run.

    Arguments:
        folder: Where to write it.
        every: How many global steps lie between two; by default an epoch.
    """

    on_train_batch_start = None  # type: ignore[assignment]  # left out of a step

    def __init__(self, folder: str | Path, every: int | None = None) -> None:
        if every is not None and every < 1:
            raise ValueError(f"checkpoint_every must be at least 1 step, got {every}")
        super().__init__(
            dirpath=folder,
            filename="last",
            every_n_train_steps=every,
            every_n_epochs=None if every else 1,
            save_on_train_epoch_end=None if every else True,
            enable_version_counter=False,
        )
        if every is None:  # nothing to do within an epoch
            self.on_train_batch_end = None  # type: ignore[method-assign, assignment]

    @property
    def state_key(self) -> str:
        return type(self).__name__  # a run may go on with another interval

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        if self._last_global_step_saved != trainer.global_step:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place, flushes it to the disk and moves it there in one step.

    Lightning stages it in TMPDIR, from where a move may be a copy that a kill can cut short.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with open(part, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
