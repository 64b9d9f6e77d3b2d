"""Reading checkpoints: data only, never code."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from pytorch_lightning import LightningModule

from lightning_gen.checkpoints import read_checkpoint

from .allowed import classes_of_the_platform, refusal
from .classes import class_error, import_classes


def read_model_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint of `fit`, which says its model.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it cannot be read, or was not written by `fit`.
    """
    content = read_checkpoint(Path(path))
    require_model(content, path)
    return content


def require_model(content: dict[str, Any], path: str | Path) -> str:
    """The class of a checkpoint's model; ValueError if it does not say."""
    if "_class_path" not in content.get("hyper_parameters", {}):
        raise ValueError(f"{path} was not written by `run.py fit`, so it does not say its model")
    return content["hyper_parameters"]["_class_path"]


def load_model(path: str | Path) -> LightningModule:
    """The model of a checkpoint, with its weights, in evaluation mode on the CPU.

    Raises:
        ValueError: If the checkpoint does not fit the model that it names, or names a class that is
            not of the platform; that is refused whatever a config may name.
    """
    content = read_model_checkpoint(path)
    arguments = dict(content["hyper_parameters"])
    class_path = arguments.pop("_class_path")
    arguments.pop("_instantiator", None)
    import_classes()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningModule, "model", fail_untyped=False)
    try:
        named = {"model": {"class_path": class_path, "init_args": arguments}}
        with classes_of_the_platform():
            model = parser.instantiate(parser.parse_object(named)).model
        model.load_state_dict(content["state_dict"])
    except Exception as error:
        refused = refusal(str(error))
        if refused:
            raise ValueError(f"{path}: {refused}; a checkpoint can name no other") from error
        raise class_error(error) from error
    model.on_load_checkpoint(content)
    return model.eval()
