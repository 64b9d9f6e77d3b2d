"""A trained network without its model: weights and a description that torch and safetensors can read.

`NAME.safetensors` holds the weights. `NAME.json`, beside it, says which class they belong to, with
which arguments, and what else is known of them; its `sha256` is that of the file of weights.
"""

import importlib
import json
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from .files import write_bytes, write_text

ROOMS = ("lightning_gen.networks.", "lightning_gen.nn.")


def load_network(path: str | Path) -> nn.Module:
    """The network in a .safetensors file that was exported, in evaluation mode on the CPU.

    A description can name only classes of `lightning_gen.networks` and `lightning_gen.nn`, so that
    a file from a stranger runs no code of his.

    Raises:
        FileNotFoundError: If one of the two files is missing.
        ValueError: If they do not fit each other or this version of lightning_gen.
    """
    path = Path(path)
    description = read_description(path)
    content = path.read_bytes()
    if sha256(content).hexdigest() != description["sha256"]:
        raise ValueError(
            f"{path} is damaged, or {path.with_suffix('.json').name} is of another export: "
            "their sha256 differ; export the network again"
        )
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a file of safetensors ({error})") from error
    return rebuilt(description, tensors, path)


def save_network(
    network: nn.Module, path: str | Path, config: Mapping[str, Any], about: Mapping[str, Any]
) -> None:
    """Writes a network so that `load_network` gives it back.

    Arguments:
        network: The network.
        path: The file of weights, .safetensors; the description goes beside it.
        config: The network's `class_path` and `init_args`, in plain values.
        about: What else the description should say, in plain values.

    Raises:
        ValueError: If the network would not come back as it is. Nothing is written then.
    """
    path = named(path)
    tensors = {  # copies, as safetensors refuses tensors that share memory
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in network.state_dict().items()
    }
    kept = {"class_path": config["class_path"], "init_args": config.get("init_args", {})}
    rebuilt(json.loads(json.dumps(kept)), tensors, path)
    content = save(tensors, {"format": "pt"})
    description = {**kept, **about, "sha256": sha256(content).hexdigest()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
    # Last, so that an export that was cut short is refused: its digest is missing or another's.
    write_text(path.with_suffix(".json"), json.dumps(description, indent=2) + "\n")


def read_description(path: str | Path) -> dict[str, Any]:
    """What stands beside an exported network in its .json.

    Raises:
        FileNotFoundError: If one of the two files is missing.
        ValueError: If it cannot be read.
    """
    path = named(path)
    beside = path.with_suffix(".json")
    if not path.is_file():
        raise FileNotFoundError(f"there is no exported network {path}")
    if not beside.is_file():
        raise FileNotFoundError(f"{path} needs {beside.name} beside it, which says what it is")
    try:
        description = json.loads(beside.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{beside} is damaged: it is not readable as JSON") from error
    if not isinstance(description, dict) or not {"class_path", "sha256"} <= description.keys():
        raise ValueError(f"{beside} does not describe a network: it lacks class_path or sha256")
    return description


def named(path: str | Path) -> Path:
    """A path whose name is that of a file of weights."""
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"an exported network's name ends in .safetensors, got {path}")
    return Path(path)


def rebuilt(config: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path) -> nn.Module:
    """The network of a description and its weights, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):  # first weights are drawn in vain
        network = build(config, path)
    fill(network, tensors, path)
    return network.eval()


def build(config: Any, path: Path) -> Any:
    """A value of a description as constructors want it: networks built, and lists as tuples."""
    if isinstance(config, list):
        return tuple(build(part, path) for part in config)
    if not isinstance(config, dict):
        return config
    if "class_path" not in config:
        return {key: build(value, path) for key, value in config.items()}
    network = class_at(config["class_path"], path)
    arguments = build(config.get("init_args") or {}, path)
    try:
        return network(**arguments)
    except Exception as error:  # whatever a constructor makes of arguments that anyone wrote
        raise ValueError(
            f"{path} has arguments that {network.__name__} does not take ({error})"
        ) from error


def class_at(class_path: Any, path: Path) -> type[nn.Module]:
    """The class of a network, if it is ours: others are not even imported."""
    place = str(class_path)
    if not place.startswith(ROOMS) or not re.fullmatch(r"\w+(\.\w+)+", place):
        raise ValueError(f"{path} names {place}, which is not a network of lightning_gen")
    module, _, name = place.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(
            f"{path} names {place}, which this version of lightning_gen does not have"
        ) from error
    # A module of ours has names of others in it, of what it imports.
    ours = isinstance(found, type) and f"{found.__module__}.".startswith(ROOMS)
    if not ours or not issubclass(found, nn.Module):
        raise ValueError(f"{path} names {place}, which is not a network of lightning_gen")
    return found


def fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Gives a network its weights, which must be all there, of its shapes and types."""
    own, given = ({k: _kind(v) for k, v in d.items()} for d in (network.state_dict(), tensors))
    for name in {**own, **given}:
        if own.get(name) != given.get(name):
            raise ValueError(
                f"the weights of {path} do not fit {type(network).__name__}: {name} is "
                f"{given.get(name, 'missing')} but should be {own.get(name, 'absent')}"
            )
    network.load_state_dict(tensors)


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
