"""The network that doubles images in parallel multiscale PixelCNN (Reed et al., 2017)."""

import torch
from torch import Tensor, nn

from ..nn.causal import RowCausalConv2d
from ..nn.incremental import Residual
from ..nn.roles import UpsamplingNetwork
from ..nn.sizes import check_levels, check_sizes


class ResidualUpsampling(UpsamplingNetwork):
    """A residual network without masks for each group of each doubling.

    It is shown the pixels that are known at their places, zeros elsewhere, and which is which.

    References:
        | Parallel Multiscale Autoregressive Density Estimation (Reed et al., 2017)
        | https://arxiv.org/abs/1703.03664

    Arguments:
        channels: C of the images, whose order is R, G, B.
        levels: How many values a sub-pixel can have, from 2 to 256.
        doublings: How often the images double.
        width: Channels, divisible by `channels`.
        depth: Residual blocks.
    """

    def __init__(
        self,
        channels: int = 3,
        levels: int = 256,
        doublings: int = 3,
        width: int = 126,
        depth: int = 4,
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, doublings=doublings, width=width, depth=depth)
        if width % channels:
            raise ValueError(f"width must be a multiple of the {channels} channels, got {width}")
        self.channels, self.levels, self.doublings = channels, check_levels(levels), doublings
        count = doublings * len(self.places)
        self.bodies = nn.ModuleList(_body(channels + 1, width, depth) for _ in range(count))
        self.own = nn.ModuleList(
            RowCausalConv2d(channels, width, colors=channels, strict=True) for _ in range(count)
        )
        self.heads = nn.ModuleList(
            nn.Sequential(nn.ReLU(), RowCausalConv2d(width, levels * channels, colors=channels))
            for _ in range(count)
        )

    def forward(self, x: Tensor, doubling: int, group: int) -> Tensor:
        known = self._known(x, group)
        place = doubling * len(self.places) + group
        row, column = self.places[group]
        shown = torch.cat([x * known, known.expand(len(x), 1, -1, -1)], 1)
        features = self.bodies[place](shown)[:, :, row::2, column::2]
        features = features + self.own[place](x[:, :, row::2, column::2])
        return self.heads[place](features).unflatten(1, (self.levels, self.channels))

    def _known(self, x: Tensor, group: int) -> Tensor:
        """Ones where pixels are known before a group, (1, H, W)."""
        known = x.new_zeros(1, *x.shape[2:])
        for row, column in ((0, 0), *self.places[:group]):
            known[:, row::2, column::2] = 1
        return known


def _body(channels: int, width: int, depth: int) -> nn.Sequential:
    blocks = (
        Residual(
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        for _ in range(depth)
    )
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), *blocks)
