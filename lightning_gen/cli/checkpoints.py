"""Reading checkpoints: data only, never code."""

import pickle
import re
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from pytorch_lightning import LightningModule

from .classes import class_error, import_classes


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint of `fit`.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it cannot be read, or was not written by `fit`.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise ValueError(
            f"{path} is not a readable checkpoint: it is damaged or of another kind"
        ) from error
    if not isinstance(content, dict) or "_class_path" not in content.get("hyper_parameters", {}):
        raise ValueError(f"{path} was not written by `run.py fit`, so it does not say its model")
    return content


OURS = ("lightning_gen.", "torch.optim.")


def refuse_foreign_classes(config: Any, path: str | Path) -> None:
    """Raises ValueError if a checkpoint names a class that is not ours: importing it runs its code."""
    if isinstance(config, dict):
        for key, value in config.items():
            # What a callable argument is, a function's path, may stand under any key.
            dotted = isinstance(value, str) and re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", value)
            if (key == "class_path" or dotted) and not str(value).startswith(OURS):
                raise ValueError(f"{path} names {value}, which is not a class of lightning_gen")
            refuse_foreign_classes(value, path)
    elif isinstance(config, list | tuple):
        for part in config:
            refuse_foreign_classes(part, path)


def load_model(path: str | Path) -> LightningModule:
    """The model of a checkpoint, with its weights, in evaluation mode on the CPU.

    Raises:
        ValueError: If the checkpoint does not fit the model that it names.
    """
    content = read_checkpoint(path)
    arguments = dict(content["hyper_parameters"])
    class_path = arguments.pop("_class_path")
    arguments.pop("_instantiator", None)
    refuse_foreign_classes({"class_path": class_path, "init_args": arguments}, path)
    import_classes()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningModule, "model", fail_untyped=False)
    try:
        config = parser.parse_object({"model": {"class_path": class_path, "init_args": arguments}})
        model = parser.instantiate(config).model
        model.load_state_dict(content["state_dict"])
    except Exception as error:
        raise class_error(error) from error
    model.on_load_checkpoint(content)
    return model.eval()
