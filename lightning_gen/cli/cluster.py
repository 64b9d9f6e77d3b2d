"""Runs of several processes: what Lightning leaves to the user, and what went wrong when one dies."""

import contextlib
import logging
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from lightning_fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from pytorch_lightning.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from pytorch_lightning.strategies.launchers import subprocess_script
from torch.distributed import DistNetworkError, PrefixStore, TCPStore

import callbacks as parts

LOST = "lost another process of the run, which was killed or failed"
LOST_PEER = re.compile(
    r"Connection (closed|reset) by peer|Connection reset|Broken pipe|remote process exited"
    r"|ncclRemoteError|Timed out waiting|wait timeout|Socket Timeout|collective operation timeout",
    re.IGNORECASE,
)
LOST_WORKER = re.compile(
    r"DataLoader worker \(pid\(?s?\)? ?[\d, ]+\) (is killed|exited)", re.IGNORECASE
)

MEETING = timedelta(minutes=5)  # for the processes of a run to find each other
PARTING = timedelta(seconds=20)  # torchrun kills 30 seconds after it was asked to stop
WAITING = 5.0  # seconds for other processes to come to the same error
_stores: list[TCPStore] = []


def by_torchrun() -> bool:
    """Whether torchrun launched this process."""
    return TorchElasticEnvironment.detect()


def by_srun() -> bool:
    """Whether SLURM's srun started this process, as one of a run's."""
    return SLURMEnvironment.detect() and not by_torchrun()


def starts_again() -> bool:
    """Whether the same command may start again in the same folder though none is named.

    torchrun restarts processes that fail, and SLURM queues jobs again.
    """
    return by_torchrun() or by_srun()


def agreed(what: str, choose: Callable[[], str]) -> str:
    """A choice that all processes which torchrun launched have in common; elsewhere each its own.

    They meet in the store of torchrun's agent, which outlives a restart of its processes.
    """
    if not by_torchrun():
        return choose()
    first, kept = os.environ["RANK"] == "0", _agent_keeps_store()
    store = _store(int(os.environ["MASTER_PORT"]), first and not kept)
    said = PrefixStore("lightning_gen", store)
    if first and not said.check([what]):
        said.set(what, choose())
    return said.get(what).decode()


def meet() -> None:
    """Has the processes that torchrun launched find each other in a store of the first of them.

    Otherwise they use the agent's, and after a restart torch 2.13 reads the addresses of dead
    processes there. The port of an earlier store may be there too, but nobody listens to it.
    """
    if not by_torchrun() or not _agent_keeps_store():
        return
    agent = PrefixStore("lightning_gen", _store(int(os.environ["MASTER_PORT"])))
    if os.environ["RANK"] == "0":
        store = _store(0, keeps=True)
        agent.set("port", str(store.port))
    else:
        store = _first_of(agent)
    os.environ |= {"MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "False"}


def _first_of(agent: PrefixStore) -> TCPStore:
    """The store of the first process, which says its port in the agent's."""
    end = time.monotonic() + MEETING.total_seconds()
    while True:
        try:
            return _store(int(agent.get("port")), timeout=timedelta(seconds=5))
        except DistNetworkError:
            if time.monotonic() > end:
                raise


def _store(port: int, keeps: bool = False, timeout: timedelta = MEETING) -> TCPStore:
    """The key-value store at a port of the first machine, which lives as long as this process."""
    address = os.environ["MASTER_ADDR"]
    _stores.append(
        TCPStore(address, port, None, keeps, timeout, wait_for_workers=False, multi_tenant=True)
    )
    return _stores[-1]


def _agent_keeps_store() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def leave_together() -> None:
    """Waits for the first process to be through with its logs.

    A launcher kills what is left as soon as one process ends with a code that is not 0.
    """
    if not dist.is_initialized():
        return
    if dist.get_rank() == 0 and "wandb" in sys.modules:
        sys.modules["wandb"].finish(exit_code=1)
    with contextlib.suppress(RuntimeError):  # the first is gone, and its store with it
        store = PrefixStore("lightning_gen", dist.distributed_c10d._get_default_store())
        if dist.get_rank() == 0:
            store.set("through", "")
        else:
            store.wait(["through"], PARTING)


def plugins() -> list[Any]:
    """What a trainer needs to save well and to leave requeueing on SLURM to the batch script."""
    meet()
    found: list[Any] = [parts.AtomicCheckpoints()]
    if by_srun():
        found.append(SLURMEnvironment(auto_requeue=False))  # it would save from within a handler
    return found


def fault(error: Exception) -> Exception | None:
    """What a process of the run met when another died, in one sentence; None for other errors."""
    message = str(error) if isinstance(error, RuntimeError) else ""
    # A worker that dies while it hands a batch over is met as a pipe without another end.
    cut = isinstance(error, ConnectionError | EOFError) and _is_of(error, "dataloader.py")
    if cut or LOST_WORKER.search(message):
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
        return ConnectionError(f"process {rank} {LOST}")
    return None


def _is_of(error: Exception, file: str) -> bool:
    """Whether an error came up in calls from a file of torch's data loading."""
    return any(
        frame.f_code.co_filename.endswith(f"torch/utils/data/{file}")
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def first_to_say(sentence: str, alone: bool = False) -> bool:
    """Whether no other process of the run has said the same: all may have met one error.

    Arguments:
        sentence: What is to be said.
        alone: Whether one process is to blame. Else the first, which keeps the store, waits for the
            others, as they could not ask when it is gone.
    """
    if not dist.is_initialized():
        return True
    try:
        store = PrefixStore("lightning_gen/said", dist.distributed_c10d._get_default_store())
        first = store.add(sentence, 1) == 1
        end = time.monotonic() + (0.0 if alone or dist.get_rank() else WAITING)
        while store.add(sentence, 0) < dist.get_world_size() and time.monotonic() < end:
            time.sleep(0.01)
    except RuntimeError:  # the first is gone
        return True
    return first


def say_who_is_lost(how_to_go_on: Callable[[], str]) -> None:
    """Has Lightning's watch over the processes that it launched say so before it ends the others.

    The first process may notice later than the watch, in an evaluation of its own for example.
    """

    class Watch(_ChildProcessObserver):
        def _terminate_all(self) -> None:
            if first_to_say(ConnectionError.__name__, alone=True):
                print(f"error: process 0 {LOST}; {how_to_go_on()}", file=sys.stderr, flush=True)
            else:
                time.sleep(WAITING)  # for who says so to end
            for process in self._child_processes:
                process.send_signal(signal.SIGKILL)
            os._exit(2)

    def watch(child_processes: list[Any]) -> None:
        Watch(os.getpid(), child_processes).start()

    logging.getLogger(_ChildProcessObserver.__module__).setLevel(logging.WARNING)
    subprocess_script._launch_process_observer = watch
