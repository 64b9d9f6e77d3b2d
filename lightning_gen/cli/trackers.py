"""Where a run's values are logged: CSV, TensorBoard and W&B, with the same keys and steps."""

import csv
import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypedDict

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.utilities import rank_zero_only

from lightning_gen.files import append_text, write_text, writing

Tracker = Literal["csv", "tensorboard", "wandb"]


class Logged(TypedDict):
    """How much of a run's logs a checkpoint covers."""

    rows: int  # of metrics.csv
    events: dict[str, int]  # TensorBoard's files and their bytes
    seen: int  # the last step under which it has `images_seen`


def loggers(run_dir: Path, trackers: Sequence[Tracker], logged: Logged | None) -> list[Logger]:
    """Loggers that write into the run folder.

    Arguments:
        run_dir: The run folder.
        trackers: Which of them; what is not installed is left out.
        logged: What the checkpoint that the run goes on from knows to be logged, if it does go on.
    """
    chosen: list[Logger] = []
    if "csv" in trackers:
        chosen.append(RunLog(run_dir, logged["rows"] if logged else None))
    if "tensorboard" in trackers and find_spec("tensorboard"):
        threading.excepthook = _leave_to_the_main_thread
        chosen.append(EventLog(run_dir, logged))
    if "wandb" in trackers and find_spec("wandb") and os.environ.get("WANDB_MODE") != "disabled":
        chosen.append(_wandb_logger(run_dir))
    return chosen


class LogPositions(Callback):
    """Has a checkpoint say how much is logged, so that a run that goes on leaves no gaps or doubles.

    Arguments:
        known: What the checkpoint that the run goes on from says; it stays so of trackers that are
            left out this time.
    """

    def __init__(self, known: Logged | None = None) -> None:
        self.logged: Logged = known or {"rows": 0, "events": {}, "seen": -1}

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            if isinstance(logger, RunLog):
                self.logged["rows"] = logger.experiment.count
            elif isinstance(logger, EventLog):
                self.logged["events"], self.logged["seen"] = logger.sizes(), logger.seen
        checkpoint["logged"] = dict(self.logged)


def events(folder: Path) -> list[Path]:
    """TensorBoard's files."""
    return sorted(folder.glob("events.*"))


def cut_events(files: Sequence[Path], sizes: Mapping[str, int]) -> None:
    """Leaves of TensorBoard's files, which are only ever added to, what a checkpoint knows of."""
    for path in files:
        if path.name not in sizes:
            path.unlink()
        elif path.stat().st_size > sizes[path.name]:
            os.truncate(path, sizes[path.name])


class EventLog(TensorBoardLogger):
    """TensorBoard's files; where one cannot be written, a run stops and says so in one sentence.

    Arguments:
        run_dir: The run folder.
        logged: What is logged already, if the run goes on.
    """

    def __init__(self, run_dir: Path, logged: Logged | None = None) -> None:
        super().__init__(run_dir, name="", version="tensorboard")
        self.seen = logged.get("seen", -1) if logged else -1
        self._goes_on = bool(logged and logged["events"])
        self._kept = logged["events"] if logged else {}
        self._old = events(Path(self.log_dir)) if is_first() else []  # to be cut
        if logged is None:
            self._cut()

    def _cut(self) -> None:
        """Only once there is something to write: a run that is at its end already keeps its logs."""
        cut_events(self._old, self._kept)
        self._old = []

    def sizes(self) -> dict[str, int]:
        """The files and their bytes, once all is in them."""
        self._cut()
        with writing(Path(self.log_dir)):
            self.experiment.flush()
        return {path.name: path.stat().st_size for path in events(Path(self.log_dir))}

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """As Lightning's, but once for the life of the run."""
        if not self._goes_on:
            super().log_hyperparams(*args, **kwargs)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """As Lightning's, which takes any error for one of the value; `images_seen` once a step."""
        self._cut()
        values = {k: v for k, v in metrics.items() if k != "images_seen" or step != self.seen}
        if "images_seen" in values and step is not None:
            self.seen = step
        try:
            super().log_metrics(values, step)
        except ValueError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            with writing(Path(self.log_dir)):
                raise error.__cause__ from None

    def finalize(self, status: str) -> None:
        """As Lightning's, but says nothing of its own about a run that fails."""
        with suppress(*([OSError] if status == "failed" else [])):
            super().finalize(status)


def _leave_to_the_main_thread(failure: threading.ExceptHookArgs) -> None:
    """Prints what ends a thread, but TensorBoard's, which hands its error to the next who writes."""
    if type(failure.thread).__name__ != "_AsyncWriterThread":
        threading.__excepthook__(failure)


class RunLog(CSVLogger):
    """`metrics.csv` in the run folder; a run that goes on adds to it, where Lightning's deletes it.

    Arguments:
        run_dir: The run folder.
        rows: How many rows to keep, once there are more to write; later ones are of steps that were
            lost, and are made again. A new run keeps none.
    """

    def __init__(self, run_dir: Path, rows: int | None = None) -> None:
        super().__init__(run_dir, name="", version="", flush_logs_every_n_steps=1)
        self._rows = rows

    @property
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = _Rows(self.log_dir, self._rows)
        return self._experiment

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Leaves them to config.yaml."""


class _Rows(ExperimentWriter):
    """The rows of `metrics.csv`."""

    def __init__(self, log_dir: str, rows: int | None) -> None:
        self.count, self._cut = rows or 0, rows is None
        super().__init__(log_dir)

    def log_metrics(self, metrics_dict: dict[str, float], step: int | None = None) -> None:
        if not self._cut:  # not before: a run that is at its end already keeps its rows
            self._cut_rows()
        super().log_metrics(metrics_dict, step)
        self.count += 1

    def save(self) -> None:
        """As Lightning's, but rows are added as a whole or not at all, and tried only once."""
        if not self.metrics:
            return
        path, text = Path(self.metrics_file_path), StringIO(newline="")
        new_keys, rows = self._record_new_keys(), self.metrics
        self.metrics = []
        if new_keys and path.exists():
            self._rewrite_with_new_header(self.metrics_keys)
        writer = csv.DictWriter(text, fieldnames=self.metrics_keys)
        if not path.exists():
            writer.writeheader()
        writer.writerows(rows)
        append_text(path, text.getvalue())

    def _check_log_dir_exists(self) -> None:
        if self._cut:
            Path(self.metrics_file_path).unlink(missing_ok=True)

    def _cut_rows(self) -> None:
        path, self._cut = Path(self.metrics_file_path), True
        if not path.exists() or self.count == 0:
            path.unlink(missing_ok=True)
            self.count = 0
            return
        with open(path, newline="") as file:
            self.metrics_keys = list(csv.DictReader(file).fieldnames or [])
        self._rewrite_with_new_header(self.metrics_keys, self.count)

    def _rewrite_with_new_header(self, fieldnames: list[str], rows: int | None = None) -> None:
        """As Lightning's, but a kill leaves the old file or the new one."""
        path, text = Path(self.metrics_file_path), StringIO(newline="")
        with open(path, newline="") as file:
            kept = list(islice(csv.DictReader(file), rows))
        writer = csv.DictWriter(text, fieldnames=fieldnames)
        writer.writeheader()
        writer.writerows(kept)
        write_text(path, text.getvalue())
        self.count = len(kept) if rows is not None else self.count


def _wandb_logger(run_dir: Path) -> Logger:
    """W&B, offline unless asked for, under one id for the life of the run."""
    import wandb

    from .wandb_run import TrackedRun

    mode, key = os.environ.get("WANDB_MODE"), os.environ.get("WANDB_API_KEY")
    path = run_dir / "wandb_id.txt"
    if not path.exists() and is_first():
        write_text(path, uuid.uuid4().hex[:8])
    logger = TrackedRun(
        run_dir,
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
