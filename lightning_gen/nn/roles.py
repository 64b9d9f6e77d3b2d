"""The roles that a network can play in a model. Configs and `--help` list their subclasses."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Generator(nn.Module, ABC):
    """Maps latents to images, of given classes if it knows any."""

    shape: tuple[int, int, int]
    latent_size: int
    num_classes: int | None = None  # or attributes; None: it is given no labels

    @abstractmethod
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Maps latents (B, latent_size) to images (B, *shape) in [-1, 1].

        Labels are classes (B,) or attributes (B, num_classes), there if and only if it knows any.
        """


class Discriminator(nn.Module, ABC):
    """Maps images, of given classes if it knows any, to the evidence that they are real.

    A subclass states `features` and `head`, whose composition it is, or `forward` alone if no model
    needs to look inside.
    """

    shape: tuple[int, int | None, int | None] | None = None  # of the images; None where it is free
    num_classes: int | None = None  # or attributes; None: it is given no labels
    feature_size: int

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Maps images (B, C, H, W) to logits (B,), or (B, h, w) if it judges patches."""
        return self.head(self.features(x, labels), labels)

    def features(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """What it sees in images (B, C, H, W) before its last layer, (B, feature_size)."""
        raise TypeError(f"{type(self).__name__} has no features that other networks could read")

    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Maps features (B, feature_size) to logits."""
        raise TypeError(f"{type(self).__name__} has no head apart from its features")


class AutoencodingDiscriminator(Discriminator):
    """Finds an image real if it can be rebuilt from its code: the logit is minus the squared error."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Maps images (B, C, H, W) to codes (B, feature_size)."""

    @abstractmethod
    def decode(self, code: Tensor) -> Tensor:
        """Maps codes (B, feature_size) to images (B, C, H, W)."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Maps images (B, C, H, W) to minus their mean squared error (B,)."""
        return -(self.decode(self.encode(x)) - x).square().flatten(1).mean(1)

    def features(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.encode(x)


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
