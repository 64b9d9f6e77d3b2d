r"""Games that bound an f-divergence from below.

For a convex :math:`f` with :math:`f(1) = 0` and its conjugate :math:`f^*`, any function :math:`T` has

.. math:: D_f(P \| Q) = \int q \, f(p / q) \ge E_P[T(x)] - E_Q[f^*(T(x))]

with equality at :math:`T = f'(p / q)`. The discriminator maximises the right side over
:math:`T = g(a)`, where :math:`g` maps logits onto the domain of :math:`f^*`:

| divergence | :math:`f(u)` | :math:`g(a)` | :math:`f^*(t)` | :math:`f^*(g(a))` |
| --- | --- | --- | --- | --- |
| kl | u log u | a | exp(t - 1) | exp(a - 1) |
| reverse_kl | -log u | -exp(-a) | -1 - log(-t) | a - 1 |
| pearson | (u - 1)² | a | t²/4 + t | a²/4 + a |
| neyman | (1 - u)²/u | 1 - exp(-a) | 2 - 2 √(1 - t) | 2 - 2 exp(-a/2) |
| squared_hellinger | (√u - 1)² | 1 - exp(-a) | t / (1 - t) | exp(a) - 1 |
| total_variation | abs(u - 1) / 2 | tanh(a) / 2 | t | tanh(a) / 2 |
| jensen_shannon | u log u - (u + 1) log((u + 1)/2) | log 2 - s(-a) | -log(2 - exp t) | s(a) - log 2 |
| gan | u log u - (u + 1) log(u + 1) | -s(-a) | -log(1 - exp t) | s(a) |

with :math:`s(a) = \log(1 + e^a)`. The row jensen_shannon is twice the Jensen-Shannon divergence,
and gan, where :math:`f(1) = -\log 4`, that less log 4: the game `minimax` itself.

References:
    | f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization
    | (Nowozin et al., 2016), Tables 2 and 6
    | https://arxiv.org/abs/1606.00709
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from .objectives import Losses, straight_exp
from .precision import wide

Divergence = Literal[
    "kl",
    "reverse_kl",
    "pearson",
    "neyman",
    "squared_hellinger",
    "total_variation",
    "jensen_shannon",
    "gan",
]
Activation = Callable[[Tensor], Tensor]

# From logits to g, and to the conjugate of g in closed form, which is finite where g is at its edge.
_ROWS: dict[str, tuple[Activation, Activation]] = {
    "kl": (lambda a: a, lambda a: straight_exp(a - 1)),
    "reverse_kl": (lambda a: -straight_exp(-a), lambda a: a - 1),
    "pearson": (lambda a: a, lambda a: a.square() / 4 + a),
    "neyman": (lambda a: 1 - straight_exp(-a), lambda a: 2 - 2 * straight_exp(-a / 2)),
    "squared_hellinger": (lambda a: 1 - straight_exp(-a), lambda a: straight_exp(a) - 1),
    "total_variation": (lambda a: a.tanh() / 2, lambda a: a.tanh() / 2),
    "jensen_shannon": (lambda a: log(2) - F.softplus(-a), lambda a: F.softplus(a) - log(2)),
    "gan": (lambda a: -F.softplus(-a), F.softplus),
}


@dataclass(frozen=True)
class FDivergence:
    """The objective that estimates an f-divergence, whose negative is the discriminator's loss.

    Exponentials go on along their tangents from an argument of 20 on, so all is finite for logits
    of ±10⁴. The bound is exact as long as no density is e¹⁹ times the other.

    Arguments:
        divergence: Which one, of the data from the generator.
        saturating: Let the generator minimise the bound itself, the game of Section 2.3, whose
            slope is small while its images are bad, instead of :math:`-E[g(a(G(z)))]`, the trick of
            Section 3.2.
    """

    divergence: Divergence = "kl"
    saturating: bool = False

    def __post_init__(self) -> None:
        if self.divergence not in _ROWS:
            raise ValueError(f"divergence must be one of {', '.join(_ROWS)}, got {self.divergence}")

    def __call__(self, real: Tensor, fake: Tensor) -> Losses:
        activation, conjugate = _ROWS[self.divergence]
        real, fake = wide(real), wide(fake)
        fakes = conjugate(fake).mean()
        generator = -fakes if self.saturating else -activation(fake).mean()
        return Losses(fakes - activation(real).mean(), generator)
