"""What networks do that have codes at many depths, found on the way up and drawn on the way down."""

from abc import ABC, abstractmethod
from math import prod
from typing import NamedTuple

from torch import Tensor, nn

from .conv_flows import ConvIAF
from .labels import refuse_labels
from .precision import wide
from .roles import Decoder


class Moments(NamedTuple):
    """A Gaussian over each number of codes that are maps."""

    mean: Tensor  # (B, maps, H, W)
    log_var: Tensor  # (B, maps, H, W)


class Seen(NamedTuple):
    """What a block is told of images on the way up."""

    mean: Tensor  # what the posterior's mean is, added to what is said on the way down
    log_var: Tensor  # and its log-variance, (B, maps, H, W) both
    context: Tensor  # for a flow of its codes, (B, width, H, W)


class Said(NamedTuple):
    """What a block says of its codes on the way down, from those above it."""

    prior: Moments
    posterior: Seen  # before it is added to what is seen
    features: Tensor  # what else it gives to the block below


class StochasticBlock(nn.Module, ABC):
    """One step on the way down, with codes that are maps."""

    code_shape: tuple[int, int, int]  # (maps, H, W)
    flow: ConvIAF | None  # bends its posterior

    @abstractmethod
    def look(self, h: Tensor) -> Said:
        """What it says of its codes, from what comes from above."""

    @abstractmethod
    def forward(self, h: Tensor, z: Tensor, features: Tensor) -> Tensor:
        """What it gives to the block below, once its codes are there."""


class TopDownNetwork(Decoder):
    """A network with codes at many depths.

    As a decoder it takes codes in units of the prior: each number is how many standard deviations
    it is from the mean that the codes above it let expect.
    """

    @property
    @abstractmethod
    def blocks(self) -> list[StochasticBlock]:
        """The blocks, from the top down."""

    @abstractmethod
    def rise(self, x: Tensor) -> list[Seen]:
        """What each block, from the top down, is told of images (B, C, H, W)."""

    @abstractmethod
    def begin(self, count: int) -> Tensor:
        """What comes to the topmost block, of as many images."""

    @abstractmethod
    def finish(self, h: Tensor) -> Tensor:
        """Parameters (B, outputs, C, H, W), of what comes from the lowest block."""

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Maps codes (B, latent_size), in units of the prior, to parameters (B, outputs, C, H, W)."""
        refuse_labels(labels)
        h = self.begin(len(z))
        for block, own in zip(self.blocks, self.split(z), strict=True):
            said = block.look(h)
            mean, log_var = map(wide, said.prior)
            h = block(h, mean + (log_var / 2).exp() * own, said.features)
        return self.finish(h)

    def split(self, z: Tensor) -> list[Tensor]:
        """Each block's own of numbers for all codes (B, latent_size), as maps."""
        shapes = [block.code_shape for block in self.blocks]
        parts = z.split([prod(shape) for shape in shapes], 1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]
