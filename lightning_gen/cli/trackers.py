"""Where a run's values are logged: CSV, TensorBoard and W&B, with the same keys and steps."""

import csv
import os
import uuid
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.utilities import rank_zero_only

from lightning_gen.files import write_text

Tracker = Literal["csv", "tensorboard", "wandb"]


def loggers(run_dir: Path, trackers: Sequence[Tracker], resumed_at: int | None) -> list[Logger]:
    """Loggers that write into the run folder.

    Arguments:
        run_dir: The run folder.
        trackers: Which of them; what is not installed is left out.
        resumed_at: The step that the run goes on from, if it does.
    """
    chosen: list[Logger] = []
    if "csv" in trackers:
        chosen.append(RunLog(run_dir, resumed_at))
    if "tensorboard" in trackers and find_spec("tensorboard"):
        purge: dict[str, Any] = {} if resumed_at is None else {"purge_step": resumed_at + 1}
        chosen.append(TensorBoardLogger(run_dir, name="", version="tensorboard", **purge))
    if "wandb" in trackers and find_spec("wandb") and os.environ.get("WANDB_MODE") != "disabled":
        chosen.append(_wandb_logger(run_dir))
    return chosen


class RunLog(CSVLogger):
    """`metrics.csv` in the run folder; a run that goes on adds to it, where Lightning's deletes it.

    Arguments:
        run_dir: The run folder.
        resumed_at: The step that the run goes on from; later rows, of steps that were lost, go.
    """

    def __init__(self, run_dir: Path, resumed_at: int | None = None) -> None:
        super().__init__(run_dir, name="", version="", flush_logs_every_n_steps=1)
        self._resumed_at = resumed_at

    @property
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = _Rows(self.log_dir, self._resumed_at)
        return self._experiment

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Leaves them to config.yaml."""


class _Rows(ExperimentWriter):
    """The rows of `metrics.csv`."""

    def __init__(self, log_dir: str, resumed_at: int | None) -> None:
        self._resumed_at = resumed_at
        super().__init__(log_dir)

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if self._resumed_at is None or not path.exists():
            path.unlink(missing_ok=True)
            return
        with open(path, newline="") as file:
            reader = csv.DictReader(file)
            rows = [row for row in reader if int(row["step"]) <= self._resumed_at]
            self.metrics_keys = list(reader.fieldnames or [])
        with open(self.metrics_file_path, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)


def _wandb_logger(run_dir: Path) -> Logger:
    """W&B, offline unless asked for, under one id for the life of the run."""
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    mode, key = os.environ.get("WANDB_MODE"), os.environ.get("WANDB_API_KEY")
    path = run_dir / "wandb_id.txt"
    if not path.exists() and is_first():
        write_text(path, uuid.uuid4().hex[:8])
    logger = WandbLogger(
        project="lightning_gen",
        name=f"{run_dir.parent.name}/{run_dir.name}",
        save_dir=run_dir,
        id=path.read_text() if path.exists() else None,
        resume="allow",
        offline=mode == "offline" or (mode is None and not key),
        settings=wandb.Settings(silent=True, console="off"),
    )
    logger._wandb_init.pop("anonymous", None)  # which wandb warns of, whatever its value
    return logger


def is_first() -> bool:
    """Whether this is the first process of a run."""
    return getattr(rank_zero_only, "rank", 0) == 0
