"""What is costly to make or to fetch, kept in a folder, with a proof that it is what it claims.

The folder is `$LIGHTNING_GEN_CACHE`, else `$XDG_CACHE_HOME/lightning_gen`, else
`~/.cache/lightning_gen`. Files are replaced in one move, so several processes may write the same one.
"""

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..files import cache_folder

Key = Mapping[str, str | int]


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names, types, shapes and bytes; the same on every device."""
    total = sha256()
    for name, tensor in sorted(tensors.items()):
        plain = tensor.detach().cpu().contiguous()
        total.update(f"{name}:{plain.dtype}:{tuple(plain.shape)};".encode())
        total.update(plain.flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def digest_of_file(path: Path) -> str:
    """sha256 of a file's bytes."""
    with open(path, "rb") as file:
        total = sha256()
        while piece := file.read(1 << 20):
            total.update(piece)
    return total.hexdigest()


def statistics_path(key: Key) -> Path:
    """The file that belongs to a key."""
    return (
        cache_folder()
        / "statistics"
        / f"{sha256(_text(key).encode()).hexdigest()[:24]}.safetensors"
    )


def save_statistics(tensors: Mapping[str, Tensor], key: Key) -> Path:
    """Writes tensors with the key that they were made for."""
    path = statistics_path(key)
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"key": _text(key), "digest": digest_of(content)}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    save_file(content, part, metadata)
    with open(part, "rb") as file:
        os.fsync(file.fileno())
    os.replace(part, path)
    return path


def load_statistics(key: Key) -> dict[str, Tensor] | None:
    """The tensors saved for a key, or None if there are none.

    Raises ValueError if the file was made for another key or its contents changed.
    """
    path = statistics_path(key)
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"the cached statistics in {path} cannot be read ({error})") from error
    if metadata.get("key") != _text(key):
        raise ValueError(f"the cached statistics in {path} were made for other data or features")
    if metadata.get("digest") != digest_of(tensors):
        raise ValueError(f"the cached statistics in {path} are not what was written there")
    return tensors


def _text(key: Key) -> str:
    return json.dumps(dict(key), sort_keys=True)
