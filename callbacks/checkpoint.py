"""Checkpoints that are whole or not there at all: the newest, the one before it, and the best."""

import math
import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loops.evaluation_loop import RestartStage
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn

from lightning_gen.checkpoints import read_checkpoint, sweep, write_checkpoint
from lightning_gen.stopping import Stopped

from .periodic import Periodic
from .signals import Signals

LAST = "last.ckpt"


class LastCheckpoint(Checkpoint):
    """Keeps `last.ckpt` the newest state of the run, and `previous.ckpt` the one before it.

    It writes at the end of a step or an epoch, before each validation, which may take long, and
    when SIGTERM, SIGINT or SIGUSR1 asks the run to stop. A run that goes on from a checkpoint that
    was written before a validation begins with that validation.

    Arguments:
        folder: Where to write.
        every: How many global steps lie between two; by default an epoch.
    """

    on_train_batch_start = None  # type: ignore[assignment]  # left out of a step

    def __init__(self, folder: str | Path, every: int | None = None) -> None:
        if every is not None and every < 1:
            raise ValueError(f"checkpoint_every must be at least 1 step, got {every}")
        self.folder, self.every = Path(folder), every
        self.signals = Signals()
        self._at = (0, 0)  # the step and the batch of the newest checkpoint
        self._validates = False  # whether a validation comes next
        self._stale = False  # whether anything but training has happened since
        self._wrote = False

    @property
    def path(self) -> Path:
        """The newest checkpoint."""
        return self.folder / LAST

    def holds(self, trainer: Trainer) -> bool:
        """Whether the newest checkpoint has the weights as they are."""
        return self.path.exists() and self._at == _place(trainer)

    # Lightning's hooks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            if trainer.is_global_zero and self.folder.is_dir():
                sweep(self.folder)
            # Lightning's would take the signals, to exit with 0 or to hang.
            trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.signals = Signals()
        self.signals.install(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._validates:
            # Lightning takes a checkpoint of before a validation for one of after it.
            loop = trainer.fit_loop.epoch_loop.val_loop
            loop._restart_stage = RestartStage.RESTARTED_MID_EVALUATION
            self._validates = False

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        loop = trainer.fit_loop
        if loop._should_accumulate():
            return  # gradients are in no checkpoint
        self.signals.working()
        if not _validation_is_due(trainer):
            step = trainer.global_step
            due = self.every and step % self.every == 0 and step != self._at[0]
            # The end may cut an epoch, which Lightning then takes for a whole one.
            ends = loop.epoch_loop._is_training_done or trainer.should_stop
            self._end_step(trainer, due or (ends and _epoch_is_cut(trainer)))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._validates = _validation_is_due(trainer)  # and not only for training to end
            self._end_step(trainer, due=True)
            self._validates = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stale = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every is None and self._at != _place(trainer):
            self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not _epoch_is_cut(trainer) and (self._stale or self._at != _place(trainer)):
            self.save(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self.signals.restore()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.signals.restore()

    def state_dict(self) -> dict[str, Any]:
        return {"at": list(self._at), "validates": self._validates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._at = (state_dict["at"][0], state_dict["at"][1])
        self._validates = state_dict["validates"]

    @property
    def state_key(self) -> str:
        return type(self).__name__  # a run may go on with another interval

    def save(self, trainer: Trainer) -> None:
        """Writes the newest checkpoint now. To be called on all processes."""
        if self._wrote and trainer.is_global_zero and not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder} was removed while the run went on")
        self._at, self._stale = _place(trainer), False
        trainer.save_checkpoint(self.path)
        self._wrote = True

    def _end_step(self, trainer: Trainer, due: Any) -> None:
        number = self.signals.due()
        if (due or number) and not self.holds(trainer):
            self.save(trainer)
        if number:
            raise Stopped(number, trainer.global_step)
        if self.holds(trainer):
            self.signals.saved(trainer.global_step)


class BestCheckpoints(Checkpoint):
    """Keeps the checkpoints with the lowest scores, `best-<score>-<value>-step-<step>.ckpt`.

    The names are all that it goes by, so a run that goes on knows them.

    Arguments:
        folder: Where to write.
        keep: How many; 0 keeps none.
        monitor: The score, such as `fid/digits@2000`; by default the first Frechet distance that is
            published, else the first likelihood.
    """

    on_train_batch_start = None  # type: ignore[assignment]  # left out of a step

    def __init__(self, folder: str | Path, keep: int = 1, monitor: str | None = None) -> None:
        if keep < 0:
            raise ValueError(f"keep_best must not be negative, got {keep}")
        self.folder, self.keep, self.monitor = Path(folder), keep, monitor
        self._seen: object = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        if not any(isinstance(c, Periodic) and c.every_n_steps for c in callbacks):
            self.on_train_batch_end = None  # type: ignore[method-assign, assignment]
        self._seen = trainer.callback_metrics.get(self._key(trainer))  # of other weights

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._look(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._look(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer)
        scores = trainer.callback_metrics
        if self.keep and self.monitor and self.monitor not in scores and trainer.is_global_zero:
            print(f"no best checkpoint: {self.monitor} is none of {', '.join(sorted(scores))}")

    def _look(self, trainer: Trainer) -> None:
        """Keeps the present weights if their score is new and among the best."""
        scores = trainer.callback_metrics
        key = self._key(trainer)
        if not self.keep or key not in scores or scores[key] is self._seen:
            return
        self._seen, value = scores[key], scores[key].item()
        stem = f"best-{re.sub(r'[^A-Za-z0-9@.]+', '-', key)}-"
        kept = {path: value_of(path) for path in self.folder.glob(f"{stem}*.ckpt")}
        path = self.folder / f"{stem}{value:.6g}-step-{trainer.global_step}.ckpt"
        worst = sorted(kept.values())[self.keep - 1 :][:1]
        if not math.isnan(value) and path not in kept and (not worst or value <= worst[0]):
            keep_state(trainer, path)
            kept[path] = value
        if trainer.is_global_zero:  # a kill may have left one more as well
            for each in sorted(kept, key=lambda each: kept[each])[self.keep :]:
                each.unlink(missing_ok=True)

    def _key(self, trainer: Trainer) -> str:
        return self.monitor or main_score(trainer.callback_metrics)


class AtomicCheckpoints(TorchCheckpointIO):
    """Reads and writes checkpoints as `lightning_gen.checkpoints` does.

    Lightning stages one in TMPDIR, from where a move may be a copy that a kill can cut short.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        write_checkpoint(checkpoint, Path(path), keep_previous=Path(path).name == LAST)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path))


def main_score(scores: dict[str, torch.Tensor]) -> str:
    """The score by which a model is judged where nobody says: its samples', else its likelihood."""
    return next((key for kind in ("fid/", "nll/") for key in scores if key.startswith(kind)), "")


def value_of(path: Path) -> float:
    """The score in the name of one of the best checkpoints."""
    found = re.search(r"-(-?[\d.]+(?:e[+-]?\d+)?|-?inf)-step-\d+\.ckpt$", path.name)
    return float(found[1]) if found else math.inf


def keep_state(trainer: Trainer, path: Path) -> None:
    """A checkpoint of the present weights under another name: a link, where there is one already."""
    last = [c for c in trainer.checkpoint_callbacks if isinstance(c, LastCheckpoint)]
    if not last or not last[0].holds(trainer):
        trainer.save_checkpoint(path)
    elif trainer.is_global_zero:
        part = path.with_name(f".{path.name}.part")
        part.unlink(missing_ok=True)
        try:
            os.link(last[0].path, part)
        except OSError:  # a file system without links
            shutil.copyfile(last[0].path, part)
        os.replace(part, path)


def _validation_is_due(trainer: Trainer) -> bool:
    """Whether the schedule has a validation after this batch."""
    loop, stops = trainer.fit_loop, trainer.should_stop
    assert loop._data_fetcher is not None
    trainer.should_stop = False  # for which Lightning validates once more
    try:
        return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
    finally:
        trainer.should_stop = stops


def _epoch_is_cut(trainer: Trainer) -> bool:
    """Whether the batch was not the last of its epoch."""
    return not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def _place(trainer: Trainer) -> tuple[int, int]:
    """Where training is: the global step, and the batch, of which a step may take several."""
    return trainer.global_step, trainer.fit_loop.epoch_loop.batch_progress.total.processed  # type: ignore[attr-defined]
