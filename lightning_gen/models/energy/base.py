r"""The base of Boltzmann machines, which know the likelihood of an image up to one constant.

.. math:: -\log p(v) = F(v) + \log Z, \qquad F(v) = -\log \sum_h e^{-E(v, h)}

The gradient of their mean over data is that of a difference between data and the machine itself,

.. math:: \nabla \big( E_{data}[F(v)] - E_{p}[F(v)] \big),

of which the second part, whose states are held fixed, is taken over chains that go on from step to
step, or over those that made a few steps from the data.

References:
    | Training Products of Experts by Minimizing Contrastive Divergence (Hinton, 2002)
    | https://doi.org/10.1162/089976602760128018
    | Training Restricted Boltzmann Machines using Approximations to the Likelihood Gradient
    | (Tieleman, 2008), https://doi.org/10.1145/1390156.1390290
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor

from ...nn.boltzmann import EVEN, ODD, BoltzmannMachine, units_of
from ...randomness import Noise
from ..base import Terms, evaluating
from ..fitted import FittedModel
from .annealing import annealed_log_weights, exact_log_partition, is_enumerable
from .gibbs import Chains, draw, gibbs


class EnergyModel(FittedModel):
    """A Boltzmann machine of binary images, below which there may be directed layers.

    Arguments:
        gibbs_steps: How many steps chains go for each step of the optimizer.
        sample_steps: How many steps they go for a sample.
        sample_pixels: Let `sample` draw pixels, not give the means that papers print.
        kwargs: See `FittedModel`.
    """

    unnormalised_kind: Literal["exact", "bound"]
    compilable = False  # its networks are called for energies, not as a whole

    def __init__(
        self,
        gibbs_steps: int = 1,
        sample_steps: int = 1000,
        sample_pixels: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if gibbs_steps < 1 or sample_steps < 1:
            raise ValueError(
                f"gibbs_steps and sample_steps must be at least 1, got {gibbs_steps} and "
                f"{sample_steps}"
            )
        self.gibbs_steps, self.sample_steps = gibbs_steps, sample_steps
        self.sample_pixels = sample_pixels

    @property
    def directed(self) -> Sequence[BoltzmannMachine]:
        """The machines below, from the image up, of which each makes the next one's image."""
        return ()

    @property
    @abstractmethod
    def machine(self) -> BoltzmannMachine:
        """The undirected machine, which is on top, with averaged weights where they are kept."""

    @property
    @abstractmethod
    def memory(self) -> Chains:
        """The chains of `machine`."""

    @abstractmethod
    def unnormalised_nll(
        self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None
    ) -> Tensor:
        """Nats per image, (B,): -ln p(x), or an upper bound on it, less ln Z."""

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.directed[0].shape if self.directed else self.machine.shape

    def check(self, images: Tensor) -> None:
        if not (images.abs() == 1).all():
            raise ValueError(
                "the units are binary but the data has grays; use binarised data, such as "
                "BinarizedMNIST"
            )

    def contrast(
        self, machine: BoltzmannMachine, chains: Chains, v: Tensor, data: Tensor, noise: Noise
    ) -> Terms:
        """The loss, whose gradient is that of the likelihood, or of a bound, for chains in equilibrium.

        Arguments:
            machine: What is fitted.
            chains: Its own.
            v: States of its images, (B, sizes[0]).
            data: Their free energies, or upper bounds, (B,), through which gradients flow.
            noise: Of the batch.
        """
        chains.see(v, noise)
        if len(chains):
            states = chains.advance(machine, self.gibbs_steps, noise)
            weight = noise.total / len(noise) / len(chains)  # processes may have unequal shares
        else:
            states = gibbs(machine, v, self.gibbs_steps, noise.spawn("chains"))
            weight = 1 / len(v)
        free, dreamt = data.mean(), weight * machine.free_energy(states).sum()
        return {"loss": free - dreamt, "data": free, "chains": dreamt}

    # Capabilities

    def log_partition(self) -> Tensor | None:
        """ln Z in float64, where a side is small enough to be added up; else nobody knows it."""
        return exact_log_partition(self.machine) if is_enumerable(self.machine) else None

    def log_weights(self, temperatures: int, noise: Noise) -> Tensor:
        """Logarithms, (n,) in float64, of independent numbers of which each has the mean Z."""
        base = self.memory.brightness()
        return annealed_log_weights(self.machine, base, temperatures, noise)

    def encode(self, x: Tensor) -> Tensor:
        """The probabilities of the hidden units, (B, D)."""
        with evaluating(self.averaged("network")) as network:
            return network(x)

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """The means of `n` images in chains that have gone so many steps; or draws from these."""
        noise, machine = self.noise_for(n, noise), self.machine
        even = self.memory.begin(n, machine, noise)
        even = gibbs(machine, even, self.sample_steps - 1, noise)
        logits = machine.logits(EVEN, draw(machine.logits(ODD, even), noise))
        return self._image(logits[:, : machine.sizes[0]], noise)

    @torch.no_grad()
    def fill(self, x: Tensor, known: Tensor, noise: Noise | None) -> Tensor:
        """Images (B, C, H, W) of chains in which what the mask (H, W) keeps is never drawn."""
        noise, machine = self.noise_for(len(x), noise), self.machine
        kept = known.to(x.device).expand(x.shape[1:]).flatten()
        even = self.memory.begin(len(x), machine, noise)
        even[:, : len(kept)] = torch.where(kept, units_of(x), even[:, : len(kept)])
        fixed = torch.cat([kept, kept.new_zeros(even.shape[1] - len(kept))])
        even = gibbs(machine, even, self.sample_steps - 1, noise, fixed)
        logits = machine.logits(EVEN, draw(machine.logits(ODD, even), noise))
        return torch.where(known.to(x.device), x, self._image(logits[:, : len(kept)], noise))

    def _image(self, logits: Tensor, noise: Noise) -> Tensor:
        """Images (n, *shape) from logits of the machine's own ones."""
        for machine in reversed(self.directed):
            logits = machine.logits(EVEN, draw(logits, noise))
        units = draw(logits, noise) if self.sample_pixels else logits.sigmoid()
        return 2 * units.view(-1, *self.shape) - 1


class WholeMachine(EnergyModel):
    """A machine without directed layers below, all of which is fitted at once.

    Arguments:
        network: The machine.
        chains: How many chains, over all processes, go on from step to step.
        kwargs: See `EnergyModel`.
    """

    def __init__(self, network: BoltzmannMachine, chains: int = 100, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.network = network
        self.chains = Chains(network, chains)
        self.average("network")

    @property
    def machine(self) -> BoltzmannMachine:
        return cast(BoltzmannMachine, self.averaged("network"))

    @property
    def memory(self) -> Chains:
        return self.chains

    def complete(
        self, x: Tensor, known: Tensor, labels: Tensor | None = None, noise: Noise | None = None
    ) -> Tensor:
        """Goes `sample_steps` steps in which what is `known` is never drawn."""
        return self.fill(x, known, noise)
