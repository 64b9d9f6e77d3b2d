"""Stops a run whose losses or weights are no numbers any more, before it eats its checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_gen.tracking import record_stop, run_folder


class NaNGuard(Callback):
    """Raises FloatingPointError when a loss term or a weight is not finite.

    The error names the step, the term and the last good checkpoint, which no bad weights ever
    replace: they are looked at before each checkpoint too.

    Arguments:
        every: Ask the device once in so many steps, and at log lines, for all terms and weights
            together.
    """

    on_train_batch_start = None  # type: ignore[assignment]  # left out of a step

    def __init__(self, every: int = 100) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        self.every = every
        self._checked = 0
        self._logged: object = None

    def on_train_start(self, trainer: Trainer, model: LightningModule) -> None:
        self._checked, self._logged = trainer.global_step, getattr(model, "latest", {})

    def on_train_batch_end(self, trainer: Trainer, model: LightningModule, *_: Any) -> None:
        logged = getattr(model, "latest", {})  # a new dict for each log line, on all processes
        if logged is self._logged and trainer.global_step - self._checked < self.every:
            return
        self._checked, self._logged = trainer.global_step, logged
        terms = {f"the term {k}": v for k, v in getattr(model, "last_terms", {}).items()}
        weights = {f"the weight {k}": p for k, p in model.named_parameters() if p.requires_grad}
        terms = terms or {f"the term {k}": v for k, v in logged.items()}
        # A process may be alone with its NaN: all add up what they found, and stop together.
        found = not_finite({**terms, **weights}, trainer)
        if found is not None:
            record_stop(trainer, f"{found} is not finite")
            raise FloatingPointError(self._sentence(trainer, found))

    def on_save_checkpoint(
        self, trainer: Trainer, model: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        weights: dict[str, Tensor] = {f"the weight {k}": p for k, p in model.named_parameters()}
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):  # masks may well hold infinities
                weights[f"the statistic {name}"] = buffer
        found = not_finite(weights)  # no collective here: other processes may be gone
        if found is not None:
            record_stop(trainer, f"{found} is not finite")
            raise FloatingPointError(self._sentence(trainer, found))

    def _sentence(self, trainer: Trainer, what: str) -> str:
        last = last_checkpoint(trainer)
        kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
        return (
            f"{what} is not finite at step {trainer.global_step}; {kept}; "
            "take a smaller learning rate or clip gradients"
        )


def not_finite(values: Mapping[str, Tensor | float], trainer: Trainer | None = None) -> str | None:
    """The name of the first value that is not finite, here or on any process; one transfer.

    Arguments:
        values: Tensors of any shape, or numbers.
        trainer: If given, what its processes find is added up; all must call, with the same names.
    """
    tensors = {
        k: v.detach() for k, v in values.items() if isinstance(v, Tensor) and v.is_floating_point()
    }
    numbers = {k: v for k, v in values.items() if not isinstance(v, Tensor)}
    devices = {tensor.device for tensor in tensors.values()}
    device = max(devices, key=lambda d: d.type != "cpu", default=torch.device("cpu"))
    # The largest magnitude is finite if and only if all entries are; the kernels take lists.
    largest = torch._foreach_norm(list(tensors.values()), torch.inf) if tensors else ()
    every = [norm.to(device, torch.float32) for norm in largest]
    every.append(torch.tensor(list(numbers.values()), device=device, dtype=torch.float32))
    bad = torch.cat([part.reshape(-1) for part in every]).isfinite().logical_not().float()
    if trainer is not None:
        bad = trainer.strategy.reduce(bad, reduce_op="sum")
    flags = zip((*tensors, *numbers), bad.tolist(), strict=True)
    return next((name for name, flag in flags if flag), None)


def last_checkpoint(trainer: Trainer) -> Path | None:
    """The newest checkpoint of the run."""
    last = run_folder(trainer) / "checkpoints" / "last.ckpt"
    if last.exists():
        return last
    fields = ("last_model_path", "best_model_path")
    paths = [getattr(each, field, "") for each in trainer.checkpoint_callbacks for field in fields]
    found = [Path(path) for path in paths if path and Path(path).exists()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)
