"""On what and from what a run was made."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lightning_gen.files import write_text
from lightning_gen.secrets import redact
from lightning_gen.tracking import run_folder

PACKAGES = (
    *("lightning-gen", "torch", "torchvision", "pytorch-lightning", "torchmetrics"),
    *("numpy", "torch-fidelity", "safetensors"),
)


class Environment(Callback):
    """Writes `environment.json` when a fit starts: versions, hardware, git commit and command.

    The command is written without keys and tokens. A run that goes on keeps what it was made on
    before, under `earlier`.
    """

    on_train_batch_start = None  # type: ignore[assignment]  # left out of a step
    on_train_batch_end = None  # type: ignore[assignment]

    def on_fit_start(self, trainer: Trainer, model: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        path = run_folder(trainer) / "environment.json"
        now: dict[str, Any] = {
            "command": redact(sys.argv),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "git": git_state(Path(__file__).parent),
            "versions": versions(),
            "hardware": hardware(trainer),
        }
        before = read_environment(path)
        if before:
            now["earlier"] = [*before.pop("earlier", []), before]
        write_text(path, json.dumps(now, indent=2) + "\n")


def read_environment(path: Path) -> dict[str, Any]:
    """What an environment.json holds, nothing if there is none; ValueError if it is no such file."""
    try:
        content = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); move it away") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} does not hold what a run was made on; move it away")
    return content


def versions() -> dict[str, str | None]:
    """The versions of Python and of the packages that numbers depend on."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return {**found, "cuda": torch.version.cuda}


def hardware(trainer: Trainer) -> dict[str, Any]:
    """The machine of the first process, and how many processes there are."""
    gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return {
        "system": platform.platform(),
        "cpu": platform.processor() or platform.machine(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "device": str(trainer.strategy.root_device),
        "processes": trainer.world_size,
        "precision": str(trainer.precision),
    }


def git_state(folder: Path) -> dict[str, Any]:
    """The commit that the code is at, and whether it has changes; None where it is in no repository."""
    commit, changes = (
        _git(folder, *what) for what in (("rev-parse", "HEAD"), ("status", "--porcelain"))
    )
    return {"commit": commit, "dirty": None if commit is None else bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
