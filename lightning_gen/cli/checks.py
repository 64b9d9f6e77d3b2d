"""What a run is refused for before it begins, where Lightning takes it silently or fails much later."""

import inspect
import os
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

import torch
from pytorch_lightning import LightningModule, Trainer

from .classes import class_at, own_arguments

AT_LEAST_ONE = (
    "accumulate_grad_batches",
    "check_val_every_n_epoch",
    "log_every_n_steps",
    "limit_train_batches",
    "val_check_interval",
)
OF_THE_MODEL = {  # for models that step their optimizers themselves
    "accumulate_grad_batches": "model.micro_batches",
    "gradient_clip_val": "model.gradient_clip",
}


def refuse_nulls(config: Any, place: str = "") -> None:
    """Raises ValueError for a null where an argument of a class must have a value, which parsers pass."""
    if isinstance(config, list):
        for each in config:
            refuse_nulls(each, place)
    if not isinstance(config, Mapping):
        return
    named = config.get("class_path")
    arguments = config.get("init_args", {}) if named else config
    for name, value in (arguments or {}).items():
        here = f"{place}.{name}" if place else name
        if value is None and named and not takes_null(named, name):
            raise ValueError(f"{here} must have a value, got null; leave it out for its default")
        refuse_nulls(value, here)


def takes_null(class_path: str, name: str) -> bool:
    """Whether an argument of a class, or of one of its bases, may be null, as far as annotations say."""
    owner = class_at(class_path)
    for base in inspect.getmro(owner) if inspect.isclass(owner) else ():
        if name in own_arguments(base):
            hint = get_type_hints(base.__init__).get(name, Any)  # type: ignore[misc]
            return hint in (Any, type(None)) or type(None) in get_args(hint)
    return True


def check_trainer(config: Mapping[str, Any], model: LightningModule) -> None:
    """Raises ValueError for settings of the trainer with which no run can be."""
    for name in AT_LEAST_ONE:
        value = config.get(name)
        if value is not None and not isinstance(value, int | float):
            raise ValueError(f"trainer.{name} must be a number, more than 0, got {value}")
        if value is not None and value <= 0:
            raise ValueError(f"trainer.{name} must be more than 0, got {value}")
    value = config.get("gradient_clip_val")
    if value is not None and not value >= 0:  # NaN is neither
        raise ValueError(f"trainer.gradient_clip_val must not be negative, got {value}")
    for name, instead in OF_THE_MODEL.items() if not model.automatic_optimization else ():
        if config.get(name) not in (None, 1 if name == "accumulate_grad_batches" else None):
            raise ValueError(
                f"trainer.{name} is not for {type(model).__name__}, which steps its optimizers "
                f"itself; set {instead} instead"
            )
    _check_devices(config)
    _check_schedules(model)


def _check_schedules(model: LightningModule) -> None:
    """Raises ValueError for a schedule that could not be stepped, long after the first steps."""
    for name, make in vars(model).items():
        if not name.endswith("scheduler") or make is None:
            continue
        adam = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
        try:
            schedule = make(adam)
            adam.step()
            schedule.step()
        except ZeroDivisionError as error:
            raise ValueError(
                f"model.{name} divides by one of its arguments, which is 0; set it to 1 or more"
            ) from error
        except (ValueError, TypeError, KeyError):  # for another optimizer than Adam
            continue


def _check_devices(config: Mapping[str, Any]) -> None:
    """Raises ValueError for devices that are not there, and for ways to launch that fail later."""
    kind, devices = config.get("accelerator", "auto"), config.get("devices", "auto")
    if kind in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"trainer.accelerator {kind}: torch finds no GPU here; use cpu, or auto for what there is"
        )
    if kind in ("tpu", "mps"):
        raise ValueError(f"trainer.accelerator {kind} is not supported; use cpu, gpu or auto")
    on_cpu = kind == "cpu" or (kind == "auto" and not torch.cuda.is_available())
    if on_cpu and devices != "auto" and not (str(devices).isdecimal() and int(devices) > 0):
        raise ValueError(
            f"trainer.devices must be a number of processes, 1 or more, on a CPU, got {devices}"
        )
    most = 16 * (os.cpu_count() or 1)
    if on_cpu and devices != "auto" and int(devices) > most:
        raise ValueError(
            f"trainer.devices {devices} are more processes than these CPUs can serve; give {most} or "
            "fewer"
        )
    strategy = config.get("strategy")
    if isinstance(strategy, str) and strategy.endswith(("_spawn", "_fork", "_notebook")):
        raise ValueError(f"trainer.strategy {strategy} is not for a command line; use ddp")


def check_shares(trainer: Trainer, data: Any) -> None:
    """Raises ValueError, before further processes start, for a batch that they could not share."""
    size, world = getattr(data, "batch_size", None), trainer.world_size
    if isinstance(size, int) and size % world:
        raise ValueError(
            f"batch_size {size} is over all devices and must be divisible by the {world} processes"
        )
