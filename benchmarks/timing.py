"""Timing loops against each other.

The loops take turns, a block of steps each, in one process: what else the machine does meets all of
them alike, and each block is compared with the blocks of the same round. CPU time is counted, by
one thread each.
"""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

import contextlib
import ctypes
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import torch

Seconds = Mapping[str, Sequence[float]]  # of each variant, one number for each round


@dataclass(frozen=True)
class Ratio:
    """A measured ratio and what it should be.

    Arguments:
        name: What is divided by what.
        value: The median over rounds.
        low: The lower quartile.
        high: The upper quartile.
        rounds: How many there were.
        goal: The comparison that should hold, such as "<= 1.03".
        note: What one must know about this measurement.
    """

    name: str
    value: float
    low: float
    high: float
    rounds: int
    goal: str | None = None
    note: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether the goal holds, if there is one."""
        if self.goal is None:
            return None
        sign, bound = self.goal.split()
        return self.value <= float(bound) if sign == "<=" else self.value >= float(bound)

    def as_dict(self) -> dict[str, Any]:
        """What --json prints."""
        return {**vars(self), "ok": self.ok}

    def __str__(self) -> str:
        text = f"{self.name:58} {self.value:8.3f}  [{self.low:.3f}, {self.high:.3f}]"
        text += f"  {self.rounds} round{'s' * (self.rounds > 1)}"
        if self.goal is not None:
            text += f"  goal {self.goal} {'ok' if self.ok else 'miss'}"
        return f"{text}  ({self.note})" if self.note else text


def ratio(
    seconds: Seconds, over: str, under: str, goal: str | None = None, note: str = ""
) -> Ratio:
    """The median of the paired ratios of two variants."""
    pairs = [a / b for a, b in zip(seconds[over], seconds[under], strict=True)]
    low, _, high = quantiles(pairs, n=4, method="inclusive") if len(pairs) > 1 else pairs * 3
    return Ratio(f"{over} / {under}", median(pairs), low, high, len(pairs), goal, note)


class Variant:
    """One of the loops that take turns.

    Arguments:
        loop: Goes once through the loader that it is given, a step for each batch.
        batches: What the loader gives, over and over.
    """

    def __init__(self, loop: Callable[["Loader"], object], batches: Sequence[Any]) -> None:
        self.loop, self.batches = loop, batches


class Loader:
    """Gives blocks of batches and waits for its turn before each.

    Arguments:
        batches: The batches.
        block: Steps in a block.
        blocks: How many blocks. One more batch follows, which no clock sees.
    """

    def __init__(self, batches: Sequence[Any], block: int, blocks: int) -> None:
        self.batches, self.block, self.blocks = batches, block, blocks
        self.go, self.waits = threading.Semaphore(0), threading.Semaphore(0)
        self.seconds: list[float] = []

    def __len__(self) -> int:
        return self.block * self.blocks + 1

    def __iter__(self) -> Iterator[Any]:
        for k in range(self.blocks):
            start = time.thread_time()
            for step in range(k * self.block, (k + 1) * self.block):
                yield self.batches[step % len(self.batches)]
            self.seconds.append(time.thread_time() - start)
            self.waits.release()
            self.go.acquire()
        yield self.batches[0]


class _Runner(threading.Thread):
    """A loop in a thread of its own, which runs while nobody else does."""

    def __init__(self, variant: Variant, block: int, blocks: int) -> None:
        super().__init__(daemon=True)
        self.variant, self.loader = variant, Loader(variant.batches, block, blocks)
        self.error: BaseException | None = None

    def run(self) -> None:
        self.loader.go.acquire()
        torch.set_num_threads(1)
        try:
            self.variant.loop(self.loader)
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            self.error = error
        self.loader.waits.release()

    def turn(self) -> None:
        """Lets the loop run for a block; the first turn includes its start, the last its end."""
        self.loader.go.release()
        self.loader.waits.acquire()
        if self.error is not None:
            raise self.error


def interleave(
    variants: Mapping[str, Variant], block: int, rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """CPU seconds of each block of each variant.

    Arguments:
        variants: The loops by name.
        block: Steps in a block.
        rounds: How many blocks of each are measured, one a round, in random order.
        warmup: How many blocks of each go before.
    """
    runners = {name: _Runner(each, block, warmup + rounds) for name, each in variants.items()}
    order = list(runners.values())
    for runner in order:
        runner.start()
    with silence():
        for _ in range(warmup + rounds + 1):
            random.shuffle(order)
            for runner in order:
                runner.turn()
    return {name: runner.loader.seconds[warmup:] for name, runner in runners.items()}


def repeated(measure: Callable[[], Mapping[str, list[float]]], times: int = 3) -> Seconds:
    """Measures with new networks and new threads each time, as where they lie in memory matters."""
    every = [measure() for _ in range(times)]
    return {name: [second for each in every for second in each[name]] for name in every[0]}


def timed(
    variants: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Seconds of calls, one of each a round, after one of each that does not count.

    Arguments:
        variants: The calls by name.
        rounds: How many of each are measured, in random order.
        clock: What says the seconds, by default those of CPUs.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for call in variants.values():
        call()
    for _ in range(rounds):
        for name in random.sample(list(variants), len(variants)):
            start = clock()
            variants[name]()
            seconds[name].append(clock() - start)
    return seconds


def keep_memory() -> None:
    """Tells glibc to share one heap among threads and to give no pages back.

    Otherwise a loop of large tensors is up to 1.4 times slower in the thread whose heap happens to
    end at them, as it takes their pages anew in each step. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((-8, 1), (-1, 2**31 - 1), (-3, 2**31 - 1)):  # arenas, trim, mmap
            mallopt(option, value)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Sends what is printed, progress bars too, to nowhere."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield
