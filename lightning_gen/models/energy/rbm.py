r"""Restricted Boltzmann machine.

.. math:: E(v, h) = -b^T v - c^T h - v^T W h, \qquad F(v) = -b^T v - \sum_j \log(1 + e^{c_j + (W^T v)_j})

It is fitted by the difference of F between data and chains; see `base`.

References:
    | A Fast Learning Algorithm for Deep Belief Nets (Hinton et al., 2006), Sections 3 and 4
    | https://doi.org/10.1162/neco.2006.18.7.1527
    | On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008)
    | https://dl.acm.org/doi/10.1145/1390156.1390266
"""

from typing import Any, Literal

from torch import Tensor

from ...nn.boltzmann import BoltzmannMachine, units_of
from ...randomness import Noise
from ..base import Batch, Terms
from .base import WholeMachine


class RBM(WholeMachine):
    """Restricted Boltzmann machine: one hidden layer, so free energies are exact.

    Arguments:
        network: The machine.
        chains: How many chains, over all processes, go on from step to step (persistent contrastive
            divergence); with 0 each step begins new ones at the data (contrastive divergence).
        kwargs: See `EnergyModel`.
    """

    unnormalised_kind: Literal["exact", "bound"] = "exact"

    def __init__(self, network: BoltzmannMachine, chains: int = 100, **kwargs: Any) -> None:
        if network.depth != 1:
            raise ValueError(
                f"the network of an RBM has one hidden layer, got {network.depth}; use DBM for more"
            )
        if chains < 0:
            raise ValueError(f"chains must not be negative, got {chains}")
        super().__init__(network, chains, **kwargs)

    def terms(self, batch: Batch) -> Terms:
        v = units_of(batch.images)
        free_energy = self.network.free_energy(v)
        return self.contrast(self.network, self.chains, v, free_energy, batch.noise)

    def unnormalised_nll(
        self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None
    ) -> Tensor:
        """The free energy, in nats, (B,)."""
        return self.machine.free_energy(units_of(x))
