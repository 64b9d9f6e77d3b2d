"""Sampling networks of pixels: keeping what was computed against computing it again.

The naive sampler runs the whole network on the whole image for each sub-pixel. All of these runs
cost the same, so a few are measured and multiplied. Each network is timed twice: by the CPU time of
one thread, which does not depend on what else runs, and by the clock with as many threads as asked.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from lightning_gen.models.autoregressive import PixelModel
from lightning_gen.networks.causal import GatedCausalStack, MaskedStack
from lightning_gen.networks.made import MADENetwork
from lightning_gen.networks.nade import NADENetwork
from lightning_gen.networks.pixel_rnn import DiagonalBiLSTMStack, RowLSTMStack
from lightning_gen.nn.roles import PixelNetwork

from .timing import Ratio, ratio, timed

BATCH = 16


@dataclass(frozen=True)
class Case:
    """What is sampled.

    Arguments:
        network: Makes the network.
        shape: (C, H, W) of the images.
        goals: Of naive over cached, and of cached over one forward pass.
    """

    network: Callable[[], PixelNetwork]
    shape: tuple[int, int, int]
    goals: tuple[str | None, str | None] = (None, None)


CASES = {
    "Gated PixelCNN 5 x 64, 28x28": Case(
        lambda: GatedCausalStack(1, 2, 64, 4, 3, 3, 64), (1, 28, 28), (">= 100", "<= 6")
    ),
    "Gated PixelCNN 5 x 63, 32x32x3": Case(
        lambda: GatedCausalStack(3, 256, 63, 4, 3, 3, 63), (3, 32, 32)
    ),
    "PixelCNN 5 x 64, 28x28": Case(
        lambda: MaskedStack(1, 2, 128, 5, 3, 7, 64), (1, 28, 28), (">= 100", "<= 6")
    ),
    "Row LSTM 2 x 16, 28x28": Case(lambda: RowLSTMStack(1, 2, 16, 2, 7, 32), (1, 28, 28)),
    "Diagonal BiLSTM 2 x 16, 28x28": Case(
        lambda: DiagonalBiLSTMStack(1, 2, 16, 2, 7, 32), (1, 28, 28)
    ),
    "NADE 500, 28x28": Case(lambda: NADENetwork((1, 28, 28), 2, 500), (1, 28, 28)),
    "MADE 2 x 1000, 28x28": Case(lambda: MADENetwork((1, 28, 28), 2, (1000, 1000)), (1, 28, 28)),
}


def run(rounds: int = 5, threads: int = 2) -> list[Ratio]:
    """Ratios for a batch of 16 of each network.

    Arguments:
        rounds: How many samples, and forward passes, of each are measured.
        threads: How many there are where the clock is looked at.
    """
    clocks = {"1 thread, CPU time": (1, time.process_time)}
    clocks[f"{threads} threads, clock"] = (threads, time.perf_counter)
    found, before = [], torch.get_num_threads()
    for name, case in CASES.items():
        for how, (count, clock) in clocks.items():
            torch.set_num_threads(count)
            found += compare(name, case, rounds, how, clock)
    torch.set_num_threads(before)
    return found


def compare(
    name: str, case: Case, rounds: int, how: str, clock: Callable[[], float]
) -> list[Ratio]:
    """Naive over cached, and cached over one forward pass."""
    torch.manual_seed(0)
    model = PixelModel(case.network(), case.shape)
    x = torch.randn(BATCH, *case.shape).sign()
    variants = {
        name: lambda: model.sample(BATCH),
        "one forward": torch.no_grad()(lambda: model.network(x)),
    }
    seconds = timed(variants, rounds, clock)
    forwards = torch.Size(case.shape).numel()
    seconds["naive"] = [forwards * second for second in seconds["one forward"]]
    faster = ratio(seconds, "naive", name, case.goals[0], how)
    return [
        replace(faster, name=f"naive ({forwards} forwards) / {name}"),
        ratio(seconds, name, "one forward", case.goals[1], how),
    ]
