r"""Inverse autoregressive flows of codes that are maps, by masked convolutions.

References:
    | Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016)
    | https://arxiv.org/abs/1606.04934
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .causal import MaskedConv2d
from .precision import wide
from .sizes import check_sizes

GAIN = 0.1  # of what is said of a step, as in the authors' code: it keeps scales from leaping


class ConvIAF(nn.Module):
    r"""Each number of the maps is moved and scaled as those before it say,

    .. math:: z_i' = (z_i - m_i) e^{-s_i}

    They come by rows from the top left and, at one place, map by map; every other step goes the
    other way round. All begin as the identity.

    Arguments:
        maps: Of the codes.
        context: Channels of what is known of an image.
        width: Channels of the hidden layers, rounded up to a multiple of `maps`.
        depth: Hidden layers of each step; the paper has 1 or 2.
        steps: How many steps; the paper has 1 in each of many blocks.
    """

    def __init__(
        self, maps: int = 32, context: int = 160, width: int = 160, depth: int = 1, steps: int = 1
    ) -> None:
        super().__init__()
        check_sizes(maps=maps, context=context, width=width, depth=depth, steps=steps)
        self.steps = nn.ModuleList(_Step(maps, context, width, depth) for _ in range(steps))

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Maps codes (B, maps, H, W) to codes and the logarithm of each one's slope, as many.

        The context is (B, context, H, W). The slopes' sum is the log-determinant.
        """
        log_slopes = torch.zeros_like(z)
        for number, step in enumerate(self.steps):
            if number % 2 == 0:
                m, s = step(z, context)
            else:  # the other order is this one of maps that are turned round
                m, s = (t.flip(1, 2, 3) for t in step(z.flip(1, 2, 3), context.flip(2, 3)))
            z, log_slopes = (z - m) * (-s).exp(), log_slopes - s
        return z, log_slopes


class _Step(nn.Module):
    """Two numbers for each number of codes, from those before it and from the context."""

    def __init__(self, maps: int, context: int, width: int, depth: int) -> None:
        super().__init__()
        width += -width % maps
        self.first = MaskedConv2d(maps, width, colors=maps, strict=True)
        # Of no map, so it needs no mask.
        self.context = nn.Conv2d(context, width, 1, bias=False)
        self.hidden = nn.ModuleList(
            MaskedConv2d(width, width, colors=maps) for _ in range(depth - 1)
        )
        self.out = MaskedConv2d(width, 2 * maps, colors=maps)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        h = F.elu(self.first(z) + self.context(context))
        for layer in self.hidden:
            h = F.elu(layer(h))
        m, s = (GAIN * wide(self.out(h))).chunk(2, dim=1)
        return m, s
