"""Networks of a checkpoint, each written with what is known of it."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from lightning_gen import __version__
from lightning_gen.export import ROOMS, save_network
from lightning_gen.files import make_folder
from lightning_gen.models.base import GenerativeModel
from lightning_gen.nn.roles import Decoder, OrderedNetwork, OrderlessNetwork

from .catalogue import read_catalogue
from .checkpoints import load_model, read_model_checkpoint
from .classes import nearest

PRIORS = {"normal": "N(0, 1)", "uniform": "U(-1, 1)"}


def export(checkpoint: Path, names: Sequence[str], output: Path, averaged: bool) -> None:
    """Writes networks of a checkpoint into a folder.

    Arguments:
        checkpoint: A checkpoint of `fit`.
        names: Which networks; all that the model has if none is named.
        output: The folder.
        averaged: Take averaged weights where the model keeps them.

    Raises:
        ValueError: If the model has no such network or none at all, or the folder cannot be made.
    """
    content = read_model_checkpoint(checkpoint)
    arguments, step = content["hyper_parameters"], content["global_step"]
    del content  # its tensors, which are read once more for the model
    model = cast(GenerativeModel, load_model(checkpoint))
    configs = network_configs(model, arguments)
    if not configs:
        raise ValueError(f"{type(model).__name__} has no network that could be exported")
    for name in names:
        if name not in configs:
            hint = nearest(name, list(configs))
            raise ValueError(f"{type(model).__name__} has no network {name}; {hint}")
    make_folder(output)
    for name in names or configs:
        taken = averaged and name in model.averages
        network = model.averaged(name) if taken else getattr(model, name)
        about = {
            "network": name,
            "weights": "averaged" if taken else "last",
            "step": step,
            "images_seen": model.images_seen,
            **describe(model, network, arguments["_class_path"]),
        }
        path = output / f"{name}.safetensors"
        save_network(network, path, configs[name], about)
        print(f"{name:12} {path} ({about['weights']} weights)")


def network_configs(model: GenerativeModel, arguments: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The class paths and arguments of the networks that a model was given."""
    return {
        name: arguments[name]
        for name, _ in model.named_children()
        if isinstance(arguments.get(name), dict)
        and str(arguments[name].get("class_path")).startswith(ROOMS)
    }


def describe(model: GenerativeModel, network: nn.Module, class_path: str) -> dict[str, Any]:
    """What one must know to use a network without its model."""
    rows = [row for row in read_catalogue() if row["class_path"] == class_path]
    known = next((row for row in rows if row["status"] != "config"), {})
    orders = isinstance(network, OrderedNetwork) and not isinstance(network, OrderlessNetwork)
    call = type(network).along if orders else type(network).forward  # type: ignore[attr-defined]
    facts: dict[str, Any] = {
        "model": {"class_path": class_path, "name": known.get("name"), "paper": known.get("paper")},
        "maps": inspect.getdoc(call),
        "shape": list(model.shape),
        "pixel_range": [-1, 1],
    }
    if hasattr(network, "latent_size"):
        prior = getattr(model, "prior", "normal")
        facts["latent"] = {"size": network.latent_size, "distribution": PRIORS.get(prior, prior)}
    if isinstance(network, Decoder):  # its outputs mean nothing without the distribution
        facts["likelihood"] = type(getattr(model, "likelihood", None)).__name__
    return {**facts, "versions": {"lightning_gen": __version__, "torch": str(torch.__version__)}}
