"""Runs of several processes: what Lightning leaves to the user, and what went wrong when one dies."""

import os
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from pytorch_lightning.plugins.environments import SLURMEnvironment
from torch.distributed import PrefixStore, TCPStore

import callbacks as parts

LOST_PEER = re.compile(
    r"Connection (closed|reset) by peer|Connection reset|Broken pipe|NCCL|unhandled system error"
    r"|Timed out waiting|wait timeout|Socket Timeout",
    re.IGNORECASE,
)
LOST_WORKER = re.compile(
    r"DataLoader worker \(pid\(?s?\)? ?[\d, ]+\) (is killed|exited)", re.IGNORECASE
)


def agreed(what: str, choose: Callable[[], str]) -> str:
    """A choice that all processes which torchrun launched have in common; elsewhere each its own.

    They meet in the store of torchrun's agent, which outlives a restart of its processes.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return choose()
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(address, port, is_master=False, timeout=timedelta(minutes=5))
    store = PrefixStore("lightning_gen", store)
    if os.environ["RANK"] == "0" and not store.check([what]):
        store.set(what, choose())
    return store.get(what).decode()


def plugins() -> list[Any]:
    """What a trainer needs to save well and to leave requeueing on SLURM to the batch script."""
    found: list[Any] = [parts.AtomicCheckpoints()]
    if SLURMEnvironment.detect():
        found.append(SLURMEnvironment(auto_requeue=False))  # it would save from within a handler
    return found


def fault(error: Exception) -> Exception | None:
    """What a process of the run met when another died, in one sentence; None for other errors."""
    message = str(error) if isinstance(error, RuntimeError) else ""
    if LOST_WORKER.search(message):
        return ChildProcessError(
            "a process that loads data was killed, which is mostly for want of memory: use fewer "
            "--data.num_workers"
        )
    if LOST_PEER.search(message):
        rank = (
            os.environ.get("RANK")
            or os.environ.get("SLURM_PROCID")
            or os.environ.get("LOCAL_RANK", "0")
        )
        return ConnectionError(
            f"process {rank} lost another process of the run, which was killed or failed"
        )
    return None


def first_to_say(sentence: str) -> bool:
    """Whether no other process of the run has said the same: all may have met one error."""
    if not dist.is_initialized():
        return True
    try:
        store = PrefixStore("lightning_gen/said", dist.distributed_c10d._get_default_store())
        return store.add(sentence, 1) == 1
    except RuntimeError:  # the process that keeps the store is gone
        return True
