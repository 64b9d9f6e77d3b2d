"""Where values go: all loggers under one step, and the run folder's result.json."""

from __future__ import annotations  # results are read without Lightning

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .files import write_text

if TYPE_CHECKING:
    from pytorch_lightning import Trainer


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


def read_results(path: Path) -> dict[str, Any]:
    """What a result.json holds, nothing if there is none; ValueError if it is no such file."""
    try:
        content = json.loads(path.read_text()) if path.exists() else {}
        if isinstance(content.get("scores", {}), dict):
            return content
    except (ValueError, AttributeError):  # another kind of JSON
        pass
    raise ValueError(f"{path} does not hold the results of a run; move it away")


def has_finished(trainer: Trainer) -> bool:
    """Whether result.json says that a fit came to its end at this very step."""
    return read_results(run_folder(trainer) / "result.json").get("finished") == trainer.global_step


def record(
    trainer: Trainer, scores: Mapping[str, Mapping[str, Any]], finished: bool = False
) -> None:
    """Adds scores, each `{"value": v, "protocol": p, ...}`, to the run's result.json, on rank 0.

    A score takes the place of an older one under the same protocol. One under another protocol is
    kept beside it, under `also`, as the two are different numbers.
    """
    if not trainer.is_global_zero:
        return
    path = run_folder(trainer) / "result.json"
    content = read_results(path)
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
            "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "processes": trainer.world_size,
        }
    if finished:
        content["finished"] = trainer.global_step
        content.pop("stopped", None)
    write_text(path, json.dumps(content, indent=2) + "\n")


def record_stop(trainer: Trainer, reason: str) -> None:
    """Says in the run's result.json why a run was given up, on rank 0, until it comes to its end."""
    if trainer.is_global_zero:
        path = run_folder(trainer) / "result.json"
        content = {**read_results(path), "stopped": {"step": trainer.global_step, "reason": reason}}
        write_text(path, json.dumps(content, indent=2) + "\n")
