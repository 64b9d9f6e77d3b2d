"""Runs of `run.py` as processes of their own, which save their state when this one is stopped."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import yaml

RUN = "import sys; from lightning_gen.cli import main; sys.exit(main())"
STOPPED = (130, 138, 143)  # the exit codes of a run that was asked to stop
POLL = 1.0  # seconds between two looks


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
