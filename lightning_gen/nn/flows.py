r"""Flows of codes: one-to-one maps that bend the Gaussian of an encoder towards the posterior.

.. math:: z_K = f_K \circ \dots \circ f_1(z_0), \quad
          \log q(z_K|x) = \log q(z_0|x) - \sum_k \log |\det f_k'(z_{k-1})|

Each image has maps of its own: their parameters follow from a context that the encoder gives.
All begin as the identity, but for the gate of `IAF`, which begins by shrinking all codes alike.

References:
    | Variational Inference with Normalizing Flows (Rezende and Mohamed, 2015)
    | https://arxiv.org/abs/1505.05770
    | Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016)
    | https://arxiv.org/abs/1606.04934
"""

from collections.abc import Sequence
from math import e, log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .masked import MaskedMLP
from .precision import wide
from .roles import PosteriorFlow
from .sizes import check_sizes

TINY = 1e-12  # keeps the square of a vector of zeros from dividing by zero


class PlanarFlows(PosteriorFlow):
    r"""Planar flows, :math:`f(z) = z + \hat u \tanh(w^T z + b)`.

    They are one to one where :math:`w^T \hat u > -1`, so what the context says along w is
    squashed. The paper's squashing, :math:`\log(1 + e^a) - 1`, moves 0 to -0.31; here it is shifted so
    as to keep 0, whence u = 0 is the identity.

    Arguments:
        latent_size: Length of the codes.
        context_size: Length of what the encoder says, linear in which are the parameters.
        count: How many; the paper has 10 to 80.
    """

    def __init__(self, latent_size: int = 20, context_size: int = 64, count: int = 8) -> None:
        super().__init__()
        check_sizes(latent_size=latent_size, context_size=context_size, count=count)
        self.latent_size, self.context_size, self.count = latent_size, context_size, count
        self.moves = zeroed(nn.Linear(context_size, count * latent_size))
        self.planes = nn.Linear(context_size, count * (latent_size + 1))

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        u = wide(self.moves(context)).unflatten(1, (self.count, 1, -1)).unbind(1)
        planes = wide(self.planes(context)).unflatten(1, (self.count, 1, -1))
        w, b = planes[..., :-1].unbind(1), planes[..., -1].unbind(1)  # (B, 1, D) and (B, 1)
        log_det = z.new_zeros(())
        for k in range(self.count):
            along = (w[k] * u[k]).sum(-1, keepdim=True)
            squashed = F.softplus(along + log(e - 1))  # 1 more than along w it is moved by
            excess = (squashed - 1 - along) / (w[k].square().sum(-1, keepdim=True) + TINY)
            move = u[k] + excess * w[k]
            h = ((z * w[k]).sum(-1) + b[k]).tanh()
            # 1 + (1 - h^2) w move, without the difference that rounding may leave at 0.
            log_det = log_det + (h.square() + (1 - h.square()) * squashed[..., 0]).log()
            z = z + move * h[..., None]
        return z, log_det


class RadialFlows(PosteriorFlow):
    r"""Radial flows, :math:`f(z) = z + \beta (z - c) / (\alpha + r)`, :math:`r = \|z - c\|`.

    They are one to one where :math:`\alpha > 0` and :math:`\beta \ge -\alpha`.

    Arguments:
        latent_size: Length of the codes.
        context_size: Length of what the encoder says, linear in which are the parameters.
        count: How many.
    """

    def __init__(self, latent_size: int = 20, context_size: int = 64, count: int = 8) -> None:
        super().__init__()
        check_sizes(latent_size=latent_size, context_size=context_size, count=count)
        self.latent_size, self.context_size, self.count = latent_size, context_size, count
        self.moves = zeroed(nn.Linear(context_size, count))
        self.centres = nn.Linear(context_size, count * (latent_size + 1))

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        moves = wide(self.moves(context)).unflatten(1, (self.count, 1))
        centres = wide(self.centres(context)).unflatten(1, (self.count, 1, -1))
        a, c = centres[..., -1], centres[..., :-1].unbind(1)
        alpha = F.softplus(a)
        # alpha + beta, which is positive; without a move beta is 0.
        alphas, sums = alpha.unbind(1), F.softplus(a + moves).unbind(1)
        log_det = z.new_zeros(())
        for alpha, both, centre in zip(alphas, sums, c, strict=True):
            from_centre = z - centre
            r = torch.linalg.vector_norm(from_centre, dim=-1)
            beta, reach = both - alpha, alpha + r
            around = ((both + r) / reach).log()  # of each direction but that to the centre
            log_det = log_det + (z.shape[-1] - 1) * around + (beta * alpha / reach.square()).log1p()
            z = z + (beta / reach)[..., None] * from_centre
        return z, log_det


class IAF(PosteriorFlow):
    r"""Inverse autoregressive flow: each unit is moved and scaled as those before it say.

    With a gate, :math:`z_i' = \sigma_i z_i + (1 - \sigma_i) m_i`, where :math:`\sigma_i` is a sigmoid;
    without, :math:`z_i' = (z_i - m_i) e^{-s_i}`, as in the authors' code. The order of the units is
    reversed from one step to the next.

    Arguments:
        latent_size: Length of the codes.
        context_size: Length of what the encoder says, which the numbers of all units depend on.
        steps: How many steps; the paper has 2, 4 and 8 on MNIST.
        widths: Units of the hidden layers of each step's network; the paper has 320 or 1920.
        gated: Gate the units.
        gate_bias: What the gates begin with, before the sigmoid; the paper has 1 to 2.
    """

    def __init__(
        self,
        latent_size: int = 32,
        context_size: int = 64,
        steps: int = 2,
        widths: tuple[int, ...] = (320, 320),
        gated: bool = True,
        gate_bias: float = 2.0,
    ) -> None:
        super().__init__()
        check_sizes(latent_size=latent_size, context_size=context_size, steps=steps, widths=widths)
        self.latent_size, self.context_size = latent_size, context_size
        self.gated, self.gate_bias = gated, gate_bias
        first = torch.arange(latent_size)
        orders = [first if step % 2 == 0 else first.flip(0) for step in range(steps)]
        self.steps = nn.ModuleList(
            ContextMADE(places, context_size, widths, outputs=2) for places in orders
        )

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        log_det = z.new_zeros(())
        for network in self.steps:
            m, s = wide(network(z, context)).unbind(-1)
            if self.gated:
                z, log_scale = gated_step(z, m, s + self.gate_bias)
            else:
                z, log_scale = (z - m) * (-s).exp(), -s
            log_det = log_det + log_scale.sum(-1)
        return z, log_det


class ContextMADE(nn.Module):
    """Numbers for each unit of codes from those before it in an order, and from a context.

    Their last layer begins at zero.

    Arguments:
        places: At which place of the order each unit stands, (D,): a permutation of 0, ..., D - 1.
        context_size: Length of the contexts.
        widths: Units of the hidden layers.
        outputs: Numbers for each unit.
    """

    def __init__(
        self, places: Tensor, context_size: int, widths: Sequence[int], outputs: int = 2
    ) -> None:
        super().__init__()
        self.made = MaskedMLP(places[None], outputs, widths, activation=nn.ELU)
        zeroed(self.made.out)
        # Of no unit, so it needs no mask; without a bias, as the masked layer has one.
        self.context = nn.Linear(context_size, widths[0], bias=False)
        # Straight to the numbers, too: hidden units have no say in those of the order's first unit.
        self.direct = nn.Linear(context_size, len(places) * outputs, bias=False)
        nn.init.zeros_(self.direct.weight)

    def forward(self, z: Tensor, context: Tensor) -> Tensor:
        """Maps codes (B, k, D), and contexts (B, context_size), to numbers (B, k, D, outputs)."""
        first, *rest = self.made.hidden
        h = self.made.activation(first(z) + self.context(context)[:, None])
        for layer in rest:
            h = self.made.activation(layer(h))
        found = self.made.out(h) + self.direct(context)[:, None]
        return found.unflatten(-1, (-1, self.made.outputs))


def gated_step(z: Tensor, m: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Codes on their way to m, as far as sigmoid(-s) says, and the logarithms of their slopes."""
    scale = s.sigmoid()
    return scale * z + (1 - scale) * m, F.logsigmoid(s)


def zeroed(layer: nn.Linear) -> nn.Linear:
    """The layer with weights and biases of zero."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
