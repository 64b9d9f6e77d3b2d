r"""Deep Boltzmann machine: several hidden layers, with all connections undirected.

.. math:: E(v, h_1, h_2) = -b^T v - c_1^T h_1 - c_2^T h_2 - v^T W_1 h_1 - h_1^T W_2 h_2

The posterior is not known. Under independent hidden units with the probabilities that make it smallest,

.. math:: F(v) \le E_q[E(v, h)] - H(q),

which takes the place of the free energy of data. Chains need no such bound, as they have states of all
layers.

References:
    | Deep Boltzmann Machines (Salakhutdinov and Hinton, 2009)
    | http://proceedings.mlr.press/v5/salakhutdinov09a.html
"""

from typing import Any, Literal

import torch
from torch import Tensor

from ...nn.boltzmann import BoltzmannMachine, units_of
from ...randomness import Noise
from ..base import Batch, Terms
from .base import WholeMachine


class DBM(WholeMachine):
    """Deep Boltzmann machine, all layers of which are fitted together from the start.

    The paper first fits each layer on its own. A chain begins with states of every other layer, and
    data says nothing of the second hidden one, so `chains` cannot be 0.

    Arguments:
        network: The machine. Its `sweeps` are those of the mean field.
        chains: How many chains, over all processes, go on from step to step.
        kwargs: See `EnergyModel`.
    """

    unnormalised_kind: Literal["exact", "bound"] = "bound"

    def __init__(self, network: BoltzmannMachine, chains: int = 100, **kwargs: Any) -> None:
        if network.depth < 2:
            raise ValueError(
                "the network of a DBM has two hidden layers or more, got one; use RBM for that"
            )
        if chains < 1:
            raise ValueError(f"a DBM needs chains that go on, got chains {chains}")
        super().__init__(network, chains, **kwargs)

    def terms(self, batch: Batch) -> Terms:
        v = units_of(batch.images)
        with torch.no_grad():  # at the best means the bound's slope in them is zero
            means = self.network.mean_field(v)
        bound = self.network.variational_free_energy(v, means)
        return self.contrast(self.network, self.chains, v, bound, batch.noise)

    def unnormalised_nll(
        self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None
    ) -> Tensor:
        """The bound on the free energy, in nats, (B,)."""
        v = units_of(x)
        return self.machine.variational_free_energy(v, self.machine.mean_field(v))
