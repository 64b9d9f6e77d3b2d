"""Reading checkpoints: data only, never code."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from pytorch_lightning import LightningModule
from torch import Tensor

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
    arguments = content.get("hyper_parameters")
    named = arguments.get("_class_path") if isinstance(arguments, dict) else None
    if not isinstance(named, str):
        raise ValueError(
            f"{path} was not written by `run.py fit`, so it does not say its model; name one of a "
            "run, such as RUN/checkpoints/last.ckpt"
        )
    require(content, {"state_dict": dict, "global_step": int}, path)
    if not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in content["state_dict"].items()
    ):
        raise ValueError(
            f"the state_dict of {path} is not of tensors, so it was changed; take another"
        )
    return named


def require_progress(content: dict[str, Any], path: str | Path) -> None:
    """Raises ValueError for a checkpoint that does not say all that a run needs to go on."""
    kinds = {
        "loops": dict,
        "optimizer_states": list,
        "callbacks": dict,
        "pytorch-lightning_version": str,
    }
    require(content, kinds, path)
    require(content["loops"], {"fit_loop": dict}, path)
    loop = content["loops"]["fit_loop"]
    require(loop, {"epoch_loop.batch_progress": dict, "epoch_progress": dict}, path)
    for state in content["optimizer_states"]:
        require(state, {"state": dict, "param_groups": list}, path)
    optional = {name: dict for name in ("recipe", "logged") if content.get(name) is not None}
    require(content, optional, path)
    if not isinstance(content.get("lr_schedulers"), list):  # which may be empty
        require(content, {"lr_schedulers": list}, path)


def unrestored(error: Exception, path: object) -> Exception | None:
    """What a checkpoint lacks that has the right entries, if that is where an error comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, ValueError) or not any(
        frame.filename.endswith("checkpoint_connector.py") and "restore" in frame.name
        for frame in frames
    ):
        return None
    what = f"{type(error).__name__}: {error}"
    return ValueError(f"{path} was changed and cannot be gone on from ({what}); take another")


def require(content: dict[str, Any], kinds: Mapping[str, type], path: str | Path) -> None:
    """Raises ValueError for a checkpoint that has not all of some entries."""
    wrong = [
        name
        for name, kind in kinds.items()
        if not isinstance(content.get(name), kind) or content[name] == []
    ]
    if wrong:
        raise ValueError(f"{path} has no {' and no '.join(wrong)}, so it was changed; take another")


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
        found = class_error(error)
        failure = ValueError(f"{path}: {found}") if isinstance(found, ValueError) else found
        if "allocate memory" in str(found):  # which is told in other words, without the path
            failure.add_note(f"it is what {path} asks for")
        raise failure from error
    model.on_load_checkpoint(content)
    return model.eval()
