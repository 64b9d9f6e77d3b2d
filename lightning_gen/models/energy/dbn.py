r"""Deep belief network: a restricted Boltzmann machine on top of directed layers.

.. math:: p(v, h_1, \dots, h_L) = p(v|h_1) \cdots p(h_{L-2}|h_{L-1}) \, p(h_{L-1}, h_L)

Each level is fitted as a machine of its own, to what the levels below make of data. With
:math:`q(h_l|h_{l-1})`, which each has as a machine, and F the free energy of the last,

.. math:: -\log p(v) \le E_q \Big[ \sum_{l<L} \log \frac{q(h_l|h_{l-1})}{p(h_{l-1}|h_l)} + F(h_{L-1}) \Big]
    + \log Z

References:
    | A Fast Learning Algorithm for Deep Belief Nets (Hinton et al., 2006)
    | https://doi.org/10.1162/neco.2006.18.7.1527
    | On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008), Section 4
    | https://dl.acm.org/doi/10.1145/1390156.1390266
"""

from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from ... import losses
from ...nn.boltzmann import EVEN, ODD, BeliefNetwork, BoltzmannMachine, units_of
from ...randomness import Noise
from ..base import Batch, Terms
from .base import EnergyModel
from .gibbs import Chains, draw


class DBN(EnergyModel):
    """Deep belief network, fitted greedily: one level after the other, from the image up.

    Samples and bounds are those of the levels that were begun. Between levels units are drawn, in
    training as in the bound. The paper's fine-tuning of all levels by wake and sleep is not here.

    Arguments:
        network: The machines, one for each level.
        level_images: Images by which each level is fitted; the last goes on for as long as it may.
        chains: How many chains of each level, over all processes, go on from step to step; with 0
            each step begins new ones at the data, as the paper does.
        kwargs: See `EnergyModel`.
    """

    unnormalised_kind: Literal["exact", "bound"] = "bound"

    def __init__(
        self, network: BeliefNetwork, level_images: int, chains: int = 100, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if any(machine.depth != 1 for machine in network.levels):
            raise ValueError("each machine of a DBN has one hidden layer, but one has more")
        if level_images < 1 or chains < 0:
            raise ValueError(
                "level_images must be at least 1 and chains must not be negative, got "
                f"{level_images} and {chains}"
            )
        self.network, self.level_images = network, level_images
        self.chains = nn.ModuleList(Chains(machine, chains) for machine in network.levels)
        self.average("network")

    @property
    def level(self) -> int:
        """The level that is fitted next."""
        return min(self.images_seen // self.level_images, len(self.network.levels) - 1)

    @property
    def begun(self) -> int:
        """The last level that was fitted to any image, with which samples and bounds end."""
        return min(max(self.images_before, 0) // self.level_images, self.level)

    @property
    def directed(self) -> Sequence[BoltzmannMachine]:
        return self._machines()[: self.begun]

    @property
    def machine(self) -> BoltzmannMachine:
        return self._machines()[self.begun]

    @property
    def memory(self) -> Chains:
        return cast(Chains, self.chains[self.begun])

    def terms(self, batch: Batch) -> Terms:
        machines = self.network.levels
        states, noise = units_of(batch.images), batch.noise.spawn("levels")
        with torch.no_grad():
            for below in machines[: self.level]:
                states = draw(below.logits(ODD, states), noise)
        machine = machines[self.level]
        free_energy = machine.free_energy(states)
        chains = cast(Chains, self.chains[self.level])
        return self.contrast(machine, chains, states, free_energy, batch.noise)

    def unnormalised_nll(
        self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None
    ) -> Tensor:
        """The bound less ln Z, with one draw of each layer, in nats, (B,)."""
        noise, states = self.noise_for(len(x), noise), units_of(x)
        cost = states.new_zeros(len(x))
        for machine in self.directed:
            logits = machine.logits(ODD, states)
            hidden = draw(logits, noise)
            cost = cost - losses.bernoulli_nll(logits, hidden)
            cost = cost + losses.bernoulli_nll(machine.logits(EVEN, hidden), states)
            states = hidden
        return cost + self.machine.free_energy(states)

    def encode(self, x: Tensor) -> Tensor:
        """The probabilities of the last hidden units that were fitted to anything, (B, D)."""
        states = units_of(x)
        for machine in (*self.directed, self.machine):
            states = machine.logits(ODD, states).sigmoid()
        return states

    def _machines(self) -> Sequence[BoltzmannMachine]:
        return cast(BeliefNetwork, self.averaged("network")).levels
