"""Reading checkpoints: data only, never code."""

import pickle
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


def load_model(path: str | Path) -> LightningModule:
    """The model of a checkpoint, with its weights, in evaluation mode on the CPU.

    Raises:
        ValueError: If the checkpoint does not fit the model that it names.
    """
    content = read_checkpoint(path)
    arguments = dict(content["hyper_parameters"])
    class_path = arguments.pop("_class_path")
    arguments.pop("_instantiator", None)
    if not class_path.startswith("lightning_gen.models."):
        raise ValueError(
            f"{path} names the class {class_path}, which is not a model of lightning_gen"
        )
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
