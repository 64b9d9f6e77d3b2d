"""A progress bar that costs next to nothing."""

import sys
import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar

INTERVAL = 10.0  # seconds between two lines at least


class Progress(TQDMProgressBar):
    """Shows the values last logged and the images seen.

    Lightning's own bar converts each value on each refresh, which waits for the device; these are
    plain numbers already. Where the output is no terminal, a plain line now and then takes the place
    of the bars.

    Arguments:
        refresh_rate: In batches.
        leave: Whether to leave the bar of an epoch on the screen.
    """

    on_train_batch_start = None  # type: ignore[assignment]  # left out of a step

    def __init__(self, refresh_rate: int = 20, leave: bool = False) -> None:
        super().__init__(refresh_rate, leave=leave)
        self._due: float | None = None  # when to print the next line; None: there are bars

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self.is_enabled and not sys.stdout.isatty():
            self.disable()  # the bars
            self._due = 0.0
            self.on_train_batch_end = self._after_batch  # type: ignore[method-assign, assignment]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        self._print(trainer, pl_module)

    def get_metrics(self, trainer: Trainer, model: LightningModule) -> dict[str, Any]:
        shown = {name: f"{value:.4g}" for name, value in getattr(model, "latest", {}).items()}
        return {**shown, "images": f"{getattr(model, 'images_seen', 0):,}"}

    def _after_batch(
        self, trainer: Trainer, model: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % self._refresh_rate == 0:
            self._print(trainer, model)

    def _print(self, trainer: Trainer, model: LightningModule) -> None:
        if self._due is not None and time.monotonic() >= self._due:
            self._due = time.monotonic() + INTERVAL
            shown = self.get_metrics(trainer, model)
            values = {"step": f"{trainer.global_step:,}", "images": shown.pop("images"), **shown}
            print("  ".join(f"{name} {value}" for name, value in values.items()), flush=True)
