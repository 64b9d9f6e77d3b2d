"""Two processes of this machine that share work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_gen.metrics import Share


def on_two_processes(folder: Path, work: Callable[[Share], Any]) -> list[Any]:
    """What each of two gloo processes makes of its share."""
    torch.multiprocessing.start_processes(_one, (str(folder), work), nprocs=2, start_method="fork")
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def _one(rank: int, folder: str, work: Callable[[Share], Any]) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    torch.save(work(Share(rank, 2, _total)), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def _total(tensor: Tensor) -> Tensor:
    torch.distributed.all_reduce(tensor)
    return tensor
