"""When to look at a model, written once for all callbacks that sample from it or score it."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lightning_gen.tracking import has_finished

from .data import data_module


class Periodic(Callback, ABC):
    """Looks at the model before training, at each validation or every so many steps, and at the end.

    The model is in evaluation mode meanwhile, and training goes on as if nothing had happened. A
    model that lacks the capability that is asked for is left alone.

    Arguments:
        every_n_epochs: Of the validations in a fit, take those after every so many epochs.
        every_n_steps: Look every so many steps instead of at validations.
        at_start: Whether to look before the first step, so that curves begin where training does.
    """

    needs: ClassVar[tuple[type, ...]] = ()  # capabilities, all of them
    needs_data: ClassVar[bool] = False  # whether it looks at images of a DataModule

    def __init__(
        self, every_n_epochs: int = 1, every_n_steps: int | None = None, at_start: bool = True
    ) -> None:
        if every_n_epochs < 1 or (every_n_steps is not None and every_n_steps < 1):
            raise ValueError("every_n_epochs and every_n_steps must be at least 1")
        self.every_n_epochs, self.every_n_steps = every_n_epochs, every_n_steps
        self.at_start = at_start
        self.seconds = 0.0  # spent here so far, which is not training
        self._active = True
        self._trains = False
        self._last = -1

    @abstractmethod
    def look(self, trainer: Trainer, model: LightningModule) -> None:
        """What to do with the model. Called on all processes."""

    def setup(self, trainer: Trainer, model: LightningModule, stage: str) -> None:
        missing = [need.__name__ for need in self.needs if not isinstance(model, need)]
        self._active, self._trains, self._last = not missing, False, -1
        if missing and trainer.is_global_zero:
            print(f"no {type(self).__name__}: the model is no {' and no '.join(missing)}")
        if self._active and self.needs_data:
            data_module(trainer, self)

    def on_train_start(self, trainer: Trainer, model: LightningModule) -> None:
        self._trains = True
        if trainer.ckpt_path is not None:
            if self.every_n_steps and trainer.global_step % self.every_n_steps == 0:
                self._last = trainer.global_step  # looked at before it was saved
        elif self.at_start and trainer.global_step == 0:
            self._look(trainer, model)

    def on_train_batch_end(self, trainer: Trainer, model: LightningModule, *_: Any) -> None:
        step, every = trainer.global_step, self.every_n_steps
        if every is not None and step > 0 and step % every == 0 and step != self._last:
            self._look(trainer, model)

    def on_validation_end(self, trainer: Trainer, model: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        fits = trainer.state.fn == "fit"
        due = self.every_n_steps is None and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if due or not fits:
            self._look(trainer, model)

    def on_test_end(self, trainer: Trainer, model: LightningModule) -> None:
        self._look(trainer, model)

    def on_train_end(self, trainer: Trainer, model: LightningModule) -> None:
        if trainer.global_step != self._last:
            self._look(trainer, model)

    def on_fit_end(self, trainer: Trainer, model: LightningModule) -> None:
        """Looks where training was over already, but a kill had come before its last look."""
        saved = any(getattr(c, "ended", False) for c in trainer.checkpoint_callbacks)
        if trainer.ckpt_path is None or self._trains or saved:
            return
        if not trainer.strategy.broadcast(has_finished(trainer)):
            model.to(trainer.strategy.root_device)  # Lightning has put it away
            self._look(trainer, model)

    def _look(self, trainer: Trainer, model: LightningModule) -> None:
        if not self._active:
            return
        start = time.perf_counter()
        with undisturbed(model):
            self.look(trainer, model)
        self._last = trainer.global_step
        self.seconds += time.perf_counter() - start


@contextmanager
def undisturbed(model: LightningModule) -> Iterator[None]:
    """Evaluation mode and no gradients, with modes and random states put back afterwards.

    Lightning evaluates in inference mode, whose tensors cannot be used outside of it: so it is
    left here, since what a callback keeps is used in both.
    """
    modes = {module: module.training for module in model.modules()}
    devices = [model.device.index or 0] if model.device.type == "cuda" else []
    with torch.inference_mode(False), torch.no_grad(), torch.random.fork_rng(devices):
        model.eval()
        try:
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode
