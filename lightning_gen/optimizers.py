"""Optimizers as configs name them."""

from math import inf
from typing import Any

import torch


class FusedAdam(torch.optim.Adam):
    """Adam in one kernel for all parameters, which on small networks is up to 1.2 times faster.

    Arguments:
        params: The parameters.
        lr: Learning rate.
        betas: Decays of the two moments; integers, which torch refuses, are taken as floats.
        eps: Added to the denominator.
        weight_decay: Weight of an L2 penalty.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        for name, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            if not 0 <= value < inf:
                raise ValueError(f"{name} must be finite and not negative, got {value}")
        first, second = map(float, betas)
        if not (0 <= first < 1 and 0 <= second < 1):
            raise ValueError(f"betas must be in [0, 1), got {first} and {second}")
        super().__init__(params, lr, (first, second), eps, weight_decay, fused=True)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As Adam's, with the moments in the weights' memory format, at which the kernel never looks."""
        super().load_state_dict(state_dict)
        for parameter, moments in self.state.items():
            for name, moment in moments.items():
                if moment.shape == parameter.shape and moment.stride() != parameter.stride():
                    moments[name] = torch.empty_like(parameter, dtype=moment.dtype).copy_(moment)


def gan_adam(params: Any) -> FusedAdam:
    """Adam as DCGAN uses it (Radford et al., 2015, Section 4)."""
    return FusedAdam(params, lr=2e-4, betas=(0.5, 0.999))
