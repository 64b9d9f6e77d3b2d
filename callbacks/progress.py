"""A progress bar that costs next to nothing."""

from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar


class Progress(TQDMProgressBar):
    """Shows the values last logged and the images seen.

    Lightning's own bar converts each value on each refresh, which waits for the device; these are
    plain numbers already.

    Arguments:
        refresh_rate: In batches.
        leave: Whether to leave the bar of an epoch on the screen.
    """

    on_train_batch_start = None  # type: ignore[assignment]  # left out of a step

    def __init__(self, refresh_rate: int = 20, leave: bool = False) -> None:
        super().__init__(refresh_rate, leave=leave)

    def get_metrics(self, trainer: Trainer, model: LightningModule) -> dict[str, Any]:
        shown = {name: f"{value:.4g}" for name, value in getattr(model, "latest", {}).items()}
        return {**shown, "images": f"{getattr(model, 'images_seen', 0):,}"}
