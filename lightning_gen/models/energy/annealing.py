r"""The partition function of a Boltzmann machine: exact for a few units, else by annealed importance.

A chain of states goes from a distribution that is known to the machine's, through

.. math:: p_\beta(s) \propto e^{-\beta E(s) - (1 - \beta) E_A(s)}, \quad 0 = \beta_0 < \dots < \beta_K = 1,

with :math:`E_A = -a^T s_0`, the image's units on their own. Its weight,

.. math:: w = Z_A \prod_{k=1}^K \frac{p^*_{\beta_k}(s_{k-1})}{p^*_{\beta_{k-1}}(s_{k-1})},

has the mean Z. So its logarithm is too small on average, and likelihoods come out too high, the less so
the more temperatures and chains there are.

References:
    | On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008)
    | https://dl.acm.org/doi/10.1145/1390156.1390266
"""

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

from ...nn.boltzmann import EVEN, ODD, BoltzmannMachine
from ...randomness import Noise
from .gibbs import draw

MOST_UNITS = 20  # of the smaller side, for Z to be added up
CHUNK = 1 << 12  # states at once


def is_enumerable(machine: BoltzmannMachine) -> bool:
    """Whether a side is small enough for all of its states to be added up."""
    return min(machine.size(EVEN), machine.size(ODD)) <= MOST_UNITS


@torch.no_grad()
def exact_log_partition(machine: BoltzmannMachine) -> Tensor:
    """ln Z, a scalar in float64, by adding up the smaller side; for at most 2^20 states of it."""
    side = min(EVEN, ODD, key=machine.size)
    size = machine.size(side)
    if size > MOST_UNITS:
        raise ValueError(
            f"ln Z can be added up for {MOST_UNITS} units of a side at most, got {size}; "
            "estimate it with annealed_log_weights"
        )
    bias = machine.bias(side)
    numbers, places = torch.arange(2**size, device=bias.device), torch.arange(size).to(bias.device)
    parts = [
        (-machine.free_energy((chunk[:, None] >> places & 1).to(bias), side)).double().logsumexp(0)
        for chunk in numbers.split(CHUNK)
    ]
    return torch.stack(parts).logsumexp(0)


@torch.no_grad()
def annealed_log_weights(
    machine: BoltzmannMachine, base: Tensor, temperatures: int, noise: Noise
) -> Tensor:
    """Logarithms, (n,) in float64, of independent numbers of which each has the mean Z.

    The states are those of the odd side, as the even one, on which the image is, is summed out.

    Arguments:
        machine: The machine.
        base: Logits a of the image's units where the chains begin, (sizes[0],).
        temperatures: How many steps K there are, all of one size.
        noise: Of the n chains.
    """
    bias = machine.bias(ODD)
    base = F.pad(base.to(bias), (0, machine.size(EVEN) - len(base)))
    known = F.softplus(base.double()).sum() + machine.size(ODD) * log(2)
    log_w = known.expand(len(noise)).clone()
    odd = draw(bias.new_zeros(len(noise), machine.size(ODD)), noise)
    for k in range(temperatures):
        before, now = k / temperatures, (k + 1) / temperatures
        logits = machine.logits(EVEN, odd)
        cold, warm = now * logits + (1 - now) * base, before * logits + (1 - before) * base
        # Units' differences, as their sums have too few digits.
        log_w += (F.softplus(cold) - F.softplus(warm)).double().sum(1)
        log_w += (now - before) * (odd @ bias).double()
        if k < temperatures - 1:
            odd = draw(now * machine.logits(ODD, draw(cold, noise)), noise)
    return log_w
