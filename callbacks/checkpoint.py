"""Checkpoints that are whole or not there at all: the newest, and the one before it."""

from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loops.evaluation_loop import RestartStage
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn

from lightning_gen.checkpoints import LAST, read_checkpoint, sweep, write_checkpoint
from lightning_gen.files import link
from lightning_gen.stopping import Stopped

from .signals import Signals


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
        self._reset()

    def _reset(self) -> None:
        self.signals = Signals()
        self._at = (-1, -1)  # the step and the batch of the newest checkpoint
        self._ours = False  # whether that is `last.ckpt`
        self._validates = False  # whether a validation comes next
        self._wrote = False
        self.ended = False  # whether it has what was found when training was over
        self._stops = False  # whether training is to stop once gradients have accumulated

    @property
    def path(self) -> Path:
        """The newest checkpoint."""
        return self.folder / LAST

    def holds(self, trainer: Trainer) -> bool:
        """Whether the newest checkpoint has the weights as they are."""
        return self._ours and self._at == _place(trainer)  # the same on all processes

    # Lightning's hooks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self._reset()
            self._begin(trainer)
            # Lightning's would take the signals, to exit with 0 or to hang.
            trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.signals.install(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._validates:
            # Lightning takes a checkpoint of before a validation for one of after it.
            loop = trainer.fit_loop.epoch_loop.val_loop
            loop._restart_stage = RestartStage.RESTARTED_MID_EVALUATION
            self._validates = False
        self.ended = False

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        loop = trainer.fit_loop
        if loop._should_accumulate():  # these gradients are in no checkpoint
            self._stops, trainer.should_stop = self._stops or trainer.should_stop, False
            return
        trainer.should_stop = trainer.should_stop or self._stops
        self.signals.working()
        if not _validation_is_due(trainer):
            step = trainer.global_step
            due = self.every and step % self.every == 0 and step != self._at[0]
            # The end may cut an epoch, which Lightning then takes for a whole one.
            ends = loop.epoch_loop._is_training_done or trainer.should_stop
            self._end_step(trainer, due or (ends and _epoch_is_cut(trainer)))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        fits = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if fits and not trainer.fit_loop._should_accumulate():
            self._validates = _validation_is_due(trainer)  # and not only for training to end
            self._end_step(trainer, due=True)
            self._validates = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if (self.every is None or _is_last(trainer)) and self._at != _place(trainer):
            self.save(trainer)
        if self.holds(trainer):  # a last look at the model may take long
            self.signals.saved(trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # An epoch that is cut was saved in its middle: now Lightning takes it for a whole one.
        cut = _epoch_is_cut(trainer) and not trainer.fit_loop._should_accumulate()
        if not cut:
            self.ended = True
            self.save(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self.signals.restore()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.signals.restore()

    def state_dict(self) -> dict[str, Any]:
        return {"at": list(self._at), "validates": self._validates, "ended": self.ended}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._at = (state_dict["at"][0], state_dict["at"][1])
        self._validates = state_dict["validates"]
        self.ended = state_dict["ended"]

    @property
    def state_key(self) -> str:
        return type(self).__name__  # a run may go on with another interval

    def save(self, trainer: Trainer) -> None:
        """Writes the newest checkpoint now. To be called on all processes."""
        if self._wrote and trainer.is_global_zero and not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder} was removed while the run went on")
        self._at = _place(trainer)
        trainer.save_checkpoint(self.path)
        self._wrote = self._ours = True

    def _begin(self, trainer: Trainer) -> None:
        """Makes what the run goes on from the newest, and sweeps what killed processes left."""
        source = trainer.ckpt_path
        self._ours = source is not None and Path(source).resolve().parent == self.folder.resolve()
        if trainer.is_global_zero and self.folder.is_dir():
            sweep(self.folder)
            if self._ours and Path(str(source)).name != LAST:
                link(Path(str(source)), self.path)  # newer ones are damaged, or not wanted

    def _end_step(self, trainer: Trainer, due: Any) -> None:
        number = self.signals.due()
        if (due or number) and not self.holds(trainer):
            self.save(trainer)
        if number:
            raise Stopped(number, trainer.global_step, self.signals.quiet)
        if self.holds(trainer):
            self.signals.saved(trainer.global_step)


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


def _validation_is_due(trainer: Trainer) -> bool:
    """Whether the schedule has a validation after this batch, and there are images for it."""
    loop, stops = trainer.fit_loop, trainer.should_stop
    assert loop._data_fetcher is not None
    trainer.should_stop = False  # for which Lightning validates once more
    try:
        if not loop.epoch_loop._should_check_val_fx(loop._data_fetcher):
            return False
    finally:
        trainer.should_stop = stops
    stage, trainer.validating = trainer.state.stage, True
    loop.epoch_loop.val_loop.setup_data()
    trainer.state.stage = stage  # which may be that of a validation
    return not loop.epoch_loop.val_loop.skip


def _epoch_is_cut(trainer: Trainer) -> bool:
    """Whether the batch was not the last of its epoch."""
    return not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def _is_last(trainer: Trainer) -> bool:
    """Whether the epoch that ends is the last one."""
    loop = trainer.fit_loop
    epochs = loop.epoch_progress.current.processed  # type: ignore[attr-defined]
    done = loop.max_epochs is not None and 0 <= loop.max_epochs <= epochs
    return done or loop.epoch_loop._is_training_done or trainer.should_stop


def _place(trainer: Trainer) -> tuple[int, int]:
    """Where training is: the global step, and the batch, of which a step may take several."""
    return trainer.global_step, trainer.fit_loop.epoch_loop.batch_progress.total.processed  # type: ignore[attr-defined]
