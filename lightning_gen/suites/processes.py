"""Runs of `run.py` as processes of their own, which save their state when this one is stopped."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import yaml

RUN = "import sys; from lightning_gen.cli import main; sys.exit(main())"
STOPPED = (130, 138, 143)  # the exit codes of a run that was asked to stop
POLL = 1.0  # seconds between two looks
Caller = Callable[[Sequence[str]], int | None]  # runs a command; see `call`


def call(arguments: Sequence[str], hopeless: Callable[[], bool] | None = None) -> int | None:
    """Runs a command; its exit code, or None if it was stopped for being hopeless.

    Arguments:
        arguments: What `run.py` is given.
        hopeless: Asked about every second whether to stop.
    """
    process = subprocess.Popen([sys.executable, "-c", RUN, *arguments])
    try:
        while True:
            try:
                return process.wait(POLL if hopeless else None)
            except subprocess.TimeoutExpired:
                if hopeless is not None and hopeless():
                    process.terminate()
                    process.wait()
                    return None
    except BaseException:  # a signal: the run saves its state, and then ends
        process.terminate()
        process.wait()
        raise


class Several:
    """Commands that run at the same time, from several threads, and that stop together.

    Arguments:
        count: How many at a time; they share the processor's cores.
    """

    def __init__(self, count: int) -> None:
        # Threads of two runs that wait for the same core make steps several times slower.
        threads = str(max(1, len(os.sched_getaffinity(0)) // count))
        self._environment = {"OMP_NUM_THREADS": threads, **os.environ}
        self._running: set[subprocess.Popen] = set()
        self._lock, self._stopped = Lock(), False

    def call(self, arguments: Sequence[str], log: Path) -> int:
        """Runs a command, whose words go to the end of a file; its exit code."""
        with open(log, "a") as words:
            with self._lock:
                if self._stopped:
                    return STOPPED[0]
                process = subprocess.Popen(
                    [sys.executable, "-c", RUN, *arguments],
                    stdout=words,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                )
                self._running.add(process)
            try:
                return process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)

    def stop(self) -> None:
        """Has all commands save their state and end, and none begin."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


def options(settings: dict[str, Any]) -> list[str]:
    """Settings by their dotted names, as the command line has them."""
    return [f"--{key}={plain(value)}" for key, value in settings.items()]


def plain(value: Any) -> str:
    """A value as an option of the command line has it."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()


@contextmanager
def interruptible() -> Iterator[None]:
    """Has SIGTERM end this process as Ctrl-C does: the run that is under way saves its state first."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
