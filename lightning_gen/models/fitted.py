"""The base of all models that minimise one loss with one optimizer."""

from abc import abstractmethod
from typing import Any

from torch import Tensor

from ..optimizers import FusedAdam
from .base import Batch, GenerativeModel, OptimizerCallable, SchedulerCallable, Terms
from .processes import average


class FittedModel(GenerativeModel):
    """A model that is fitted by one loss. A subclass states its `terms`.

    Arguments:
        optimizer: Moves all parameters. Default: Adam with learning rate 1e-3.
        scheduler: Makes the learning rate's schedule, stepped with the optimizer.
        kwargs: See `GenerativeModel`.
    """

    def __init__(
        self,
        optimizer: OptimizerCallable = FusedAdam,
        scheduler: SchedulerCallable | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.optimizer, self.scheduler = optimizer, scheduler
        self.last_terms: Terms = {}
        self.scores_images = True  # or only samples are looked at, and any images will do
        self._checked = False

    @abstractmethod
    def terms(self, batch: Batch) -> Terms:
        """What training minimises, under "loss", with further scalars to log."""

    def check(self, images: Tensor) -> None:
        """Raises ValueError for images that the model cannot be fitted to. Called once a run."""

    # Lightning's hooks

    on_train_batch_end = None  # type: ignore[assignment]

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer([p for p in self.parameters() if p.requires_grad])
        if self.scheduler is None:
            return optimizer
        schedule = {"scheduler": self.scheduler(optimizer), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def training_step(self, raw: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        batch = self.to_batch(raw)
        self._check_once(raw[0])
        terms = self.terms(batch)
        self.count_images(batch)
        self.last_terms = {name: value.detach() for name, value in terms.items()}
        return terms["loss"]

    def on_after_backward(self) -> None:
        if self._averages_gradients and not self.trainer.fit_loop._should_accumulate():
            gradients = (p.grad for p in self.parameters() if p.grad is not None)
            average([*gradients, *self._statistics])

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        # Here, not at the end of the batch: by then callbacks may have saved a checkpoint, which
        # has to hold the averages and the log line of its step.
        self.update_averages()
        step = self.trainer.global_step + 1  # Lightning counts this one a moment later
        if step % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.report({f"train/{name}": value for name, value in self.last_terms.items()}, step)

    def validation_step(self, raw: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Checks the first images, and keeps the loop in which callbacks score the model."""
        self._check_once(raw[0])

    def test_step(self, raw: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """As `validation_step`."""
        self.validation_step(raw, batch_idx)

    def _check_once(self, images: Tensor) -> None:
        if self.scores_images and not self._checked:
            self.check(self.to_floats(images))
            self._checked = True
