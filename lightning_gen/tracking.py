"""Where values go: all loggers under one step, and the run folder's result.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer

from .files import write_text


def publish(trainer: Trainer, values: Mapping[str, float], step: int | None = None) -> None:
    """Gives values to all loggers, with `images_seen`, and to monitors.

    They stand under `step`, by default `trainer.global_step`.

    To be called on every process with the same values.
    """
    seen = float(getattr(trainer.lightning_module, "images_seen", 0))
    step = trainer.global_step if step is None else step
    for logger in trainer.loggers:
        logger.log_metrics({**values, "images_seen": seen}, step=step)
    trainer._logger_connector._callback_metrics.update(
        {name: torch.tensor(value) for name, value in values.items()}
    )


def run_folder(trainer: Trainer) -> Path:
    """The folder of the run, the same on every process."""
    return Path(trainer.default_root_dir)


def record(trainer: Trainer, scores: Mapping[str, Mapping[str, Any]]) -> None:
    """Adds scores, each `{"value": v, "protocol": p, ...}`, to the run's result.json, on rank 0.

    A score takes the place of an older one under the same protocol. One under another protocol is
    kept beside it, under `also`, as the two are different numbers.
    """
    if not trainer.is_global_zero:
        return
    path = run_folder(trainer) / "result.json"
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    kept = content.setdefault("scores", {})
    for key, score in scores.items():
        old = kept.pop(key, {})
        also = {**old.pop("also", {}), **({old["protocol"]: old} if old else {})}
        also.pop(score["protocol"], None)
        kept[key] = {**score, **({"also": also} if also else {})}
    if trainer.state.fn == "fit":
        model = trainer.lightning_module
        content["budget"] = {
            "images_seen": getattr(model, "images_seen", 0),
            "steps": trainer.global_step,
            "epochs": trainer.current_epoch,
            "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "processes": trainer.world_size,
        }
    write_text(path, json.dumps(content, indent=2) + "\n")
