"""What averaged weights cost."""

from copy import deepcopy

import torch
from torch import nn

from lightning_gen.networks.dcgan import DCGANGenerator
from lightning_gen.nn.ema import Average

from .timing import Ratio, ratio, timed

CALLS = 50


def run(rounds: int = 15) -> list[Ratio]:
    """A ratio for the generator of DCGAN at 32x32 in colour, width 64."""
    network = DCGANGenerator(32, 3)
    average, copy = Average(network), deepcopy(network)

    def ours() -> None:
        for _ in range(CALLS):
            average.update(network, 0.999)

    def loop() -> None:
        for _ in range(CALLS):
            state_dict_average(copy, network, 0.999)

    torch.set_num_threads(1)
    seconds = timed({"loop over state_dict": loop, "our averaging": ours}, rounds)
    return [ratio(seconds, "loop over state_dict", "our averaging", ">= 10")]


def state_dict_average(target: nn.Module, source: nn.Module, decay: float) -> None:
    """Averaging as most repositories have it."""
    mean, new = target.state_dict(), source.state_dict()
    for key in new:
        mean[key].data.copy_(mean[key].data * decay + new[key].data * (1 - decay))
