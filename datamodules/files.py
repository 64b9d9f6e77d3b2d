"""Reading files that may be compressed, and saying in one sentence what is missing or broken."""

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import os
import socket
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor
from torchvision.datasets.utils import check_integrity, download_url

from lightning_gen.randomness import stream

from .errors import DataError

DECOMPRESSORS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}


def default_root() -> Path:
    """`$LIGHTNING_GEN_DATA`, else `./data`."""
    return Path(os.environ.get("LIGHTNING_GEN_DATA", "data"))


def cores() -> int:
    """The processor's cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def say(sentence: str) -> None:
    """One line for whoever looks at the run, from the first process."""
    if getattr(rank_zero_only, "rank", 0) == 0:  # Lightning's log would be silenced with its tips
        print(sentence, flush=True)


def found(*paths: Path) -> Path | None:
    """The first of the paths that exists."""
    return next((path for path in paths if path.exists()), None)


def require(name: str, *paths: Path) -> Path:
    """The first of the paths that exists, or a sentence about what is missing."""
    path = found(*paths)
    if path is None:
        raise FileNotFoundError(
            f"{name} needs {paths[0]}, which is missing; set root (or LIGHTNING_GEN_DATA) to the "
            "folder that has it, or download=True where there is a network"
        )
    return path


def fetch(name: str, folder: Path, download: Callable[[], object]) -> None:
    """Downloads; where that fails, says what is missing instead of how the network failed."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30.0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        download()
    except DataError:
        raise
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise FileNotFoundError(
            f"{name} is not in {folder} and could not be downloaded ({reason}); "
            "put its files there, or set root (or LIGHTNING_GEN_DATA) to the folder that has them"
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def download(path: Path, checksum: str, *addresses: str) -> None:
    """Fetches a file, whole or not at all, from the first of its addresses that has it."""
    if path.exists() and check_integrity(path, checksum):
        return
    for last, address in enumerate(addresses, 1 - len(addresses)):
        try:
            with whole(path) as part:
                download_url(address, part.parent, part.name, checksum)
            return
        except (OSError, RuntimeError):
            if last == 0:
                raise


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write, which takes its place once it is written to the end."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def content(path: Path, most: int = 2**30) -> bytes:
    """What is in a file, unpacked in memory if it is a .gz, .bz2 or .xz; at most so many bytes."""
    pieces, count = [], 0
    try:
        with DECOMPRESSORS.get(path.suffix, io.FileIO)(path) as file:
            while piece := file.read(2**20):
                pieces.append(piece)
                count += len(piece)
                if count > most:
                    raise DataError(
                        f"{path} has more than {most:,} bytes once it is unpacked, as a "
                        "decompression bomb does; get it from its publisher"
                    )
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise DataError(f"{path} is truncated or corrupt; replace it with a whole copy") from None
    return b"".join(pieces)


def md5(data: bytes) -> str:
    """The checksum by which the publishers of data sets name their files."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def read_idx(path: Path, dimensions: int) -> Tensor:
    """The uint8 array of an idx file, MNIST's own format, which may be a .gz."""
    data = content(path)
    header = 4 + 4 * dimensions
    if len(data) < header or data[:4] != bytes([0, 0, 8, dimensions]):
        raise DataError(
            f"{path} is not an idx file of bytes with {dimensions} dimensions; replace it"
        )
    shape = [int(size) for size in np.frombuffer(data, ">i4", dimensions, 4)]
    if len(data) - header != np.prod(shape):
        raise DataError(
            f"{path} should hold {np.prod(shape)} bytes after its header but holds "
            f"{len(data) - header}; replace it with a whole copy"
        )
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=header).copy().reshape(shape))


def hold_out(count: int, *sizes: int) -> list[Tensor]:
    """Cuts `count` images into parts of these sizes and the rest, which comes first.

    The cut depends on the count alone, never on the seed of a run. Each part keeps its order.
    """
    if min(sizes) < 0 or sum(sizes) >= count:
        wanted = " and ".join(f"{size:,}" for size in sizes)
        raise ValueError(
            f"cannot hold {wanted} images out of {count:,}, as at least one must be left to train "
            "on; hold out fewer (val_size, test_size), or add images"
        )
    order = torch.randperm(count, generator=stream("held out", count))
    parts = order.split([count - sum(sizes), *sizes])
    return [part.sort().values for part in parts]
