"""The residual network with codes in every block, of the paper on inverse autoregressive flow.

References:
    | Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016)
    | https://arxiv.org/abs/1606.04934, Figure 3 and Section C
"""

from math import log, prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..nn.conv_flows import ConvIAF
from ..nn.sizes import check_sizes
from ..nn.top_down import Moments, Said, Seen, StochasticBlock, TopDownNetwork

SHARE = 0.1  # of what a block adds to what passes by it


class TopDownResNet(TopDownNetwork):
    """Blocks of two convolutions on the way up and, mirrored, on the way down.

    The authors normalise the weights of all layers, with scales that follow from the first batch;
    here nothing is normalised. The one scale of all pixels begins with that of theirs: two in
    [-1, 1].

    Arguments:
        shape: (C, H, W) of the images; H and W divisible by 2 for each level.
        maps: Of each block's codes; the paper has 32.
        width: Channels of all other maps; the paper has 160.
        levels: How many sizes of maps; the finest is half of the images'.
        blocks: How many there are of each size; the paper has 2 levels of 10, and 1 of 20.
        flow_steps: Steps of inverse autoregressive flow in each block; 0 for none.
        flow_depth: Hidden layers of each; the paper has 1 or 2.
        outputs: Numbers per sub-pixel: 2 for DiscretizedLogistic, whose scales are one, or 1 for
            Bernoulli.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 32, 32),
        maps: int = 32,
        width: int = 160,
        levels: int = 2,
        blocks: int = 10,
        flow_steps: int = 1,
        flow_depth: int = 1,
        outputs: int = 2,
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, maps=maps, width=width, levels=levels, blocks=blocks)
        _check(shape, levels, flow_steps, outputs)
        self.shape, self.outputs = shape, outputs
        self.first = nn.Conv2d(shape[0], width, 5, stride=2, padding=2)
        sizes = [level for level in range(levels) for _ in range(blocks)]  # of blocks, going up
        halves = [at > 0 and sizes[at - 1] < level for at, level in enumerate(sizes)]
        context, last = width if flow_steps else 0, len(halves) - 1
        self.ups = nn.ModuleList(
            UpBlock(maps, width, context, half, at == last) for at, half in enumerate(halves)
        )
        self.downs = nn.ModuleList()
        for level, half in reversed(list(zip(sizes, halves, strict=True))):
            height, across = (side // 2 ** (level + 1) for side in shape[1:])
            flow = ConvIAF(maps, width, width, flow_depth, flow_steps) if flow_steps else None
            self.downs.append(DownBlock((maps, height, across), width, half, flow))
        self.latent_size = sum(prod(block.code_shape) for block in self.blocks)
        self.top = nn.Parameter(torch.zeros(width, 1, 1))
        self.top_size = [side // 2**levels for side in shape[1:]]
        self.last = nn.ConvTranspose2d(width, shape[0], 5, stride=2, padding=2, output_padding=1)
        self.log_scale = nn.Parameter(torch.tensor(log(2))) if outputs == 2 else None

    @property
    def blocks(self) -> list[StochasticBlock]:
        return list(self.downs)  # type: ignore[arg-type]

    def rise(self, x: Tensor) -> list[Seen]:
        h, seen = self.first(x), []
        for block in self.ups:
            h, told = block(h)
            seen.append(told)
        return seen[::-1]

    def begin(self, count: int) -> Tensor:
        return self.top.expand(count, -1, *self.top_size)

    def finish(self, h: Tensor) -> Tensor:
        numbers = self.last(F.elu(h))[:, None]
        if self.log_scale is None:
            return numbers
        return torch.cat([numbers, self.log_scale.expand_as(numbers)], 1)


class UpBlock(nn.Module):
    """A block on the way up.

    Arguments:
        maps: Of the codes.
        width: Channels of what passes.
        context: Channels of what a flow is told.
        halve: Halve its height and width.
        last: Whether nothing comes after it, so that nothing is to pass.
    """

    def __init__(self, maps: int, width: int, context: int, halve: bool, last: bool) -> None:
        super().__init__()
        self.stride, self.sizes = 2 if halve else 1, [maps, maps, context, 0 if last else width]
        self.first = nn.Conv2d(width, sum(self.sizes), 3, self.stride, 1)
        self.last = None if last else nn.Conv2d(width, width, 3, padding=1)

    def forward(self, h: Tensor) -> tuple[Tensor, Seen]:
        """What passes on, and what the block of the same size on the way down is told."""
        mean, log_var, context, inner = self.first(F.elu(h)).split(self.sizes, 1)
        passing = h[:, :, :: self.stride, :: self.stride]
        if self.last is not None:
            passing = passing + SHARE * self.last(F.elu(inner))
        return passing, Seen(mean, log_var, context)


class DownBlock(StochasticBlock):
    """A block on the way down.

    Arguments:
        code_shape: (maps, H, W) of its codes.
        width: Channels of what passes.
        double: Double the height and width of what it gives.
        flow: Bends the posterior of its codes, if any.
    """

    def __init__(
        self,
        code_shape: tuple[int, int, int],
        width: int,
        double: bool,
        flow: ConvIAF | None,
    ) -> None:
        super().__init__()
        maps = code_shape[0]
        self.code_shape, self.flow, self.doubles = code_shape, flow, double
        self.sizes = [maps, maps, maps, maps, width if flow is not None else 0, width]
        self.first = nn.Conv2d(width, sum(self.sizes), 3, padding=1)
        inner = maps + width
        self.last = (
            nn.ConvTranspose2d(inner, width, 4, stride=2, padding=1)
            if double
            else nn.Conv2d(inner, width, 3, padding=1)
        )

    def look(self, h: Tensor) -> Said:
        numbers = self.first(F.elu(h)).split(self.sizes, 1)
        return Said(Moments(*numbers[:2]), Seen(*numbers[2:5]), numbers[5])

    def forward(self, h: Tensor, z: Tensor, features: Tensor) -> Tensor:
        passing = F.interpolate(h, scale_factor=2, mode="nearest") if self.doubles else h
        return passing + SHARE * self.last(F.elu(torch.cat([z, features], 1)))


def _check(shape: tuple[int, int, int], levels: int, flow_steps: int, outputs: int) -> None:
    """Raises ValueError for numbers that no network has."""
    if shape[1] % 2**levels or shape[2] % 2**levels:
        raise ValueError(
            f"{levels} levels need a height and width divisible by {2**levels}, got "
            f"{shape[1]} x {shape[2]}"
        )
    if flow_steps < 0:
        raise ValueError(f"flow_steps must be 0, for no flow, or more, got {flow_steps}")
    if outputs not in (1, 2):
        raise ValueError(f"outputs must be 1 or 2, got {outputs}")
