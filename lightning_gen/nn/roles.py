"""The roles that a network can play in a model. Configs and `--help` list their subclasses."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Generator(nn.Module, ABC):
    """Maps latents to images."""

    shape: tuple[int, int, int]
    latent_size: int

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Maps latents (B, latent_size) to images (B, *shape) in [-1, 1]."""


class Discriminator(nn.Module, ABC):
    """Maps images to the evidence that they are real."""

    shape: tuple[int, int | None, int | None] | None = None  # of the images; None where it is free

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Maps images (B, C, H, W) to logits (B,)."""


class Encoder(nn.Module, ABC):
    """Maps images to a Gaussian over codes."""

    shape: tuple[int, int, int]
    latent_size: int

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps images (B, *shape) to means and log-variances, (B, latent_size) each."""


class Decoder(nn.Module, ABC):
    """Maps codes to a distribution over images."""

    shape: tuple[int, int, int]
    latent_size: int
    outputs: int  # numbers per sub-pixel

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Maps codes (B, latent_size) to parameters (B, outputs, C, H, W)."""


class PixelNetwork(nn.Module, ABC):
    """Maps images to a distribution over each sub-pixel, given those before it.

    The order is by rows from the top left, and R, G, B within a pixel. An image that is cut below
    a row has the same logits above the cut.
    """

    channels: int
    levels: int
    num_classes: int | None

    @abstractmethod
    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Maps images (B, C, H, W), and labels (B,) if it has classes, to (B, levels, C, H, W)."""
