"""The roles that a network can play in a model. Configs and `--help` list their subclasses."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, nn

from .incremental import CroppedWalk, Walk
from .places import Places


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


class Posterior(NamedTuple):
    """A diagonal Gaussian over codes, one for each image."""

    mean: Tensor  # (B, latent_size)
    log_var: Tensor  # (B, latent_size)
    context: Tensor  # what else a flow of codes is told of the image, (B, context_size)


class Encoder(nn.Module, ABC):
    """Maps images, of given classes if it knows any, to a Gaussian over codes."""

    shape: tuple[int, int, int]
    latent_size: int
    context_size: int = 0  # 0: its contexts are empty, as no flow reads them
    num_classes: int | None = None  # or attributes; None: it is given no labels

    @abstractmethod
    def forward(self, x: Tensor, labels: Tensor | None = None) -> Posterior:
        """Maps images (B, *shape) to means and log-variances, (B, latent_size) each, and a context."""


class Decoder(nn.Module, ABC):
    """Maps codes, of given classes if it knows any, to a distribution over images."""

    shape: tuple[int, int, int]
    latent_size: int
    outputs: int  # numbers per sub-pixel
    num_classes: int | None = None  # or attributes; None: it is given no labels

    @abstractmethod
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Maps codes (B, latent_size) to parameters (B, outputs, C, H, W)."""


class PosteriorFlow(nn.Module, ABC):
    """Maps codes to codes, one to one, as what is known of an image says."""

    latent_size: int
    context_size: int

    @abstractmethod
    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Maps codes (B, k, latent_size) to codes and the log-determinants of their slopes, (B, k).

        Each image has one context, (B, context_size), for its k codes.
        """


class UpperCodes(nn.Module, ABC):
    """A layer of codes above others: what it expects of those below, and what they tell of it."""

    below_size: int  # of the codes below
    latent_size: int

    @abstractmethod
    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Maps codes (B, latent_size) to means and log-variances of those below, (B, below_size)."""

    @abstractmethod
    def recognise(self, below: Tensor) -> tuple[Tensor, Tensor]:
        """Maps codes (B, below_size) to means and log-variances of its own, (B, latent_size)."""


class PixelNetwork(nn.Module, ABC):
    """Maps images to a distribution over each sub-pixel, given those before it.

    The order is by rows from the top left, and R, G, B within a pixel. An image that is cut below
    a row has the same outputs above the cut.
    """

    shape: tuple[int, int, int] | None = None  # of the images; None where H and W are free
    channels: int
    levels: int  # how many values a sub-pixel can have
    outputs: int  # numbers for each sub-pixel, or for each pixel where `colors` is 1
    colors: int  # C if each colour sees those before it in its pixel, 1 if it sees none
    only_logits = False  # whether it can give nothing but a logit for each level
    num_classes: int | None
    context: int | None = None  # channels of maps that it is shown for labels; None: of classes

    @abstractmethod
    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Maps images (B, C, H, W), and labels (B,) if it has classes, to numbers.

        Their shape is (B, outputs, colors, H, W). With a context, labels are maps
        (B, context, H, W).
        """

    def walk(self, x: Tensor, labels: Tensor | None = None) -> Walk:
        """Goes through images (B, C, H, W) that are being filled in, pixel by pixel.

        By default each sub-pixel costs a whole `forward` of the rows down to its own.
        """
        # Not compiled, as each height would be compiled anew.
        return CroppedWalk(lambda rows: self.forward(rows, labels), x)


class OrderedNetwork(nn.Module, ABC):
    """Maps images to a distribution over each sub-pixel, given those before it in one of K orders.

    Sub-pixels are counted by rows from the top left, and R, G, B within a pixel.
    """

    shape: tuple[int, int, int]
    levels: int  # how many values a sub-pixel can have
    orders: Tensor  # (K, D): which sub-pixel stands at each place

    @abstractmethod
    def along(self, x: Tensor, order: int) -> Tensor:
        """Maps images (B, C, H, W) to logits (B, levels, C, H, W)."""

    @abstractmethod
    def begin(self, x: Tensor, order: int) -> Places:
        """Its way along an order, of as many images as there are in `x`.

        It is shown sub-pixels in [0, 1] and gives logits (B, levels - 1), of all levels but the
        lowest, whose logit is 0.
        """


class OrderlessNetwork(OrderedNetwork):
    """Maps images of which any part is known to a distribution over each sub-pixel of the rest."""

    @abstractmethod
    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Maps images (B, C, H, W) to logits (B, levels, C, H, W).

        Where the mask `known` (B, C, H, W) is false, what stands in `x` has no say.
        """

    @abstractmethod
    def begin_along(self, x: Tensor, order: Tensor) -> Places:
        """As `begin`, along any order (D,) of the sub-pixels."""

    def begin(self, x: Tensor, order: int) -> Places:
        return self.begin_along(x, self.orders[order])


class ImageFlow(nn.Module, ABC):
    """Maps images to codes of the same size, one to one."""

    shape: tuple[int, int, int]

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps images (B, C, H, W) to codes (B, D) and the log-determinant of its slope, (B,)."""

    @abstractmethod
    def inverse(self, z: Tensor) -> Tensor:
        """Maps codes (B, D) to images (B, C, H, W)."""


class Group(NamedTuple):
    """Pixels that are drawn at once: of images doubled for the n-th time, the n-th group."""

    doubling: int
    number: int
    row: int  # where it begins, in each two by two pixels
    column: int
    step: int  # between the pixels of the doubled images, in the whole ones


class UpsamplingNetwork(nn.Module, ABC):
    """Predicts, of images that double in size, the pixels in between.

    Of each two by two pixels one is there already. The others follow in three groups, whose places
    are `places`; within a group, pixels do not depend on each other.
    """

    channels: int
    levels: int
    doublings: int  # how many there are, each with its own weights
    places = ((0, 1), (1, 0), (1, 1))

    def groups(self) -> Iterator[Group]:
        """All groups, in their order."""
        for doubling in range(self.doublings):
            for number, (row, column) in enumerate(self.places):
                yield Group(doubling, number, row, column, 2 ** (self.doublings - 1 - doubling))

    @abstractmethod
    def forward(self, x: Tensor, doubling: int, group: int) -> Tensor:
        """Maps images (B, C, H, W) to the logits of a group, (B, levels, C, H / 2, W / 2).

        Of the images only the groups before are looked at and, of each pixel, the colours before.
        """
