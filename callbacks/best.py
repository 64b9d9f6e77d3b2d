"""The checkpoints with the best scores."""

import math
import re
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn

from lightning_gen.files import link
from lightning_gen.scores import direction

from .checkpoint import LastCheckpoint
from .periodic import Periodic


class BestCheckpoints(Checkpoint):
    """Keeps the checkpoints with the best scores, `best-<score>-<value>-step-<step>.ckpt`.

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
        self._key = monitor or ""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        if not any(isinstance(c, Periodic) and c.every_n_steps for c in callbacks):
            self.on_train_batch_end = None  # type: ignore[method-assign, assignment]
        self._key = self._key or main_score(trainer.callback_metrics)
        self._seen = trainer.callback_metrics.get(self._key)  # of weights that are not trained

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._look(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._look(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer)  # after a last look that was taken again

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer)
        scores = trainer.callback_metrics
        if self.keep and self.monitor and self.monitor not in scores and trainer.is_global_zero:
            print(f"no best checkpoint: {self.monitor} is none of {', '.join(sorted(scores))}")

    def _look(self, trainer: Trainer) -> None:
        """Keeps the present weights if their score is new and among the best."""
        scores = trainer.callback_metrics
        self._key = key = self._key or main_score(scores)
        if not self.keep or key not in scores or scores[key] is self._seen:
            return
        self._seen, value = scores[key], scores[key].item()
        stem = f"best-{re.sub(r'[^A-Za-z0-9@.]+', '-', key)}-"
        path = self.folder / f"{stem}{value:.6g}-step-{trainer.global_step}.ckpt"
        kept: dict[Path, float] = {}
        if trainer.is_global_zero:
            kept = {each: value_of(each) for each in self.folder.glob(f"{stem}*.ckpt")}
        sign = 1 if direction(key) > 0 else -1
        worst = sorted((sign * each for each in kept.values()), reverse=True)[self.keep - 1 :][:1]
        better = not worst or sign * value >= worst[0]
        wanted = not math.isnan(value) and path not in kept and better
        if trainer.strategy.broadcast(wanted):  # others may see another folder than the first does
            keep_state(trainer, path)
            kept[path] = value
        if trainer.is_global_zero:  # a kill may have left one more as well
            for each in sorted(kept, key=lambda each: -sign * kept[each])[self.keep :]:
                each.unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        return {"key": self._key}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._key = self.monitor or state_dict["key"]

    @property
    def state_key(self) -> str:
        return type(self).__name__  # a run may go on with other arguments


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
        link(last[0].path, path)
