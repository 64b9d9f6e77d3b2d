"""Networks of masked convolutions that predict each sub-pixel from those before it."""

from torch import Tensor, nn

from ..nn.causal import GatedCausalLayer, MaskedConv2d, RowCausalConv2d
from ..nn.incremental import LeftRow, Residual, SteppedWalk, Steps, steps_of
from ..nn.roles import PixelNetwork
from ..nn.sizes import check_levels, check_sizes


class CausalNetwork(PixelNetwork):
    """What these networks share: levels, colours and the layers before the outputs.

    A subclass makes its `head` last.

    Arguments:
        channels: C of the images, whose order is R, G, B.
        levels: How many values a sub-pixel can have, from 2 to 256.
        head: Channels of the hidden layer before the outputs.
        num_classes: Classes that the images are conditioned on.
        outputs: Numbers for each sub-pixel, as the model's head asks for; by default a logit for
            each level.
        color_order: Whether a colour sees those before it in its pixel. If not, the outputs are
            numbers for each pixel, of a head that makes its colours depend on each other.
        sizes: Other numbers of channels, by name, which the colours have to divide.
    """

    head: nn.Sequential

    def __init__(
        self,
        channels: int,
        levels: int,
        head: int,
        num_classes: int | None = None,
        outputs: int | None = None,
        color_order: bool = True,
        **sizes: int,
    ) -> None:
        super().__init__()
        sizes["head"] = head
        check_sizes(channels=channels, num_classes=num_classes, outputs=outputs, **sizes)
        self.channels, self.levels, self.num_classes = channels, check_levels(levels), num_classes
        self.outputs = levels if outputs is None else outputs
        self.colors = channels if color_order else 1
        for name, size in sizes.items():
            if size % self.colors:
                raise ValueError(
                    f"{name} must be a multiple of the {self.colors} colors, got {size}"
                )

    def make_head(self, width: int, head: int) -> nn.Sequential:
        """Two layers within a pixel, from its features to its outputs."""
        return nn.Sequential(
            nn.ReLU(),
            RowCausalConv2d(width, head, colors=self.colors),
            nn.ReLU(),
            RowCausalConv2d(head, self.outputs * self.colors, colors=self.colors),
        )

    def to_outputs(self, features: Tensor) -> Tensor:
        """Maps the features (B, width, H, W) of pixels to (B, outputs, colors, H, W)."""
        return self.head(features).unflatten(1, (self.outputs, self.colors))


class ChainNetwork(CausalNetwork):
    """Two parts and the outputs, one after the other: a first layer, and blocks."""

    first: nn.Module
    blocks: nn.Sequential

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.to_outputs(self.blocks(self.first(x)))

    def walk(self, x: Tensor, labels: Tensor | None = None) -> SteppedWalk:
        chain = nn.Sequential(self.first, self.blocks, self.head)
        return SteppedWalk(steps_of(chain, x), x, self.colors)


class MaskedStack(ChainNetwork):
    """The network of PixelCNN: residual blocks of masked convolutions.

    It has a blind spot: see `MaskedConv2d`.

    References:
        | Pixel Recurrent Neural Networks (van den Oord et al., 2016), Section 3.4 and Table 1
        | https://arxiv.org/abs/1601.06759

    Arguments:
        channels: C of the images, whose order is R, G, B.
        levels: How many values a sub-pixel can have, from 2 to 256.
        width: Channels between the blocks, even; the paper has 256 on CIFAR-10. Within, half.
        depth: Blocks after the first layer; the paper has 15.
        kernel: Width of what a block sees, odd.
        first_kernel: The same for the first layer.
        head: Channels of the hidden layer before the outputs; the paper has 1024 on CIFAR-10.
        outputs: See `CausalNetwork`.
        color_order: See `CausalNetwork`.
    """

    def __init__(
        self,
        channels: int = 1,
        levels: int = 256,
        width: int = 256,
        depth: int = 15,
        kernel: int = 3,
        first_kernel: int = 7,
        head: int = 1024,
        outputs: int | None = None,
        color_order: bool = True,
    ) -> None:
        check_kernels(depth, kernel=kernel, first_kernel=first_kernel)
        super().__init__(channels, levels, head, None, outputs, color_order, width=width)
        half, colors = width // 2, self.colors
        if width % (2 * colors):
            raise ValueError(f"width must be a multiple of {2 * colors}, got {width}")
        self.first = MaskedConv2d(channels, width, first_kernel // 2, colors, strict=True)
        self.blocks = nn.Sequential(
            *(
                Residual(
                    nn.ReLU(),
                    RowCausalConv2d(width, half, colors=colors),
                    nn.ReLU(),
                    MaskedConv2d(half, half, kernel // 2, colors),
                    nn.ReLU(),
                    RowCausalConv2d(half, width, colors=colors),
                )
                for _ in range(depth)
            )
        )
        self.head = self.make_head(width, head)


class GatedCausalStack(CausalNetwork):
    """The network of Gated PixelCNN: two stacks without a blind spot, and gates.

    References:
        | Conditional Image Generation with PixelCNN Decoders (van den Oord et al., 2016)
        | https://arxiv.org/abs/1606.05328

    Arguments:
        channels: C of the images, whose order is R, G, B.
        levels: How many values a sub-pixel can have, from 2 to 256.
        width: Channels of both stacks; the paper has 128 on CIFAR-10.
        depth: Layers after the first.
        kernel: Width of what a layer sees, odd.
        first_kernel: The same for the first layer.
        head: Channels of the hidden layer before the outputs.
        num_classes: Classes that the images are conditioned on, in every layer.
        outputs: See `CausalNetwork`.
        color_order: See `CausalNetwork`.
        context: Channels of maps that the images are conditioned on instead, in every layer: what
            `forward` and `walk` take for labels is (B, context, H, W).
    """

    def __init__(
        self,
        channels: int = 1,
        levels: int = 256,
        width: int = 128,
        depth: int = 10,
        kernel: int = 3,
        first_kernel: int = 7,
        head: int = 128,
        num_classes: int | None = None,
        outputs: int | None = None,
        color_order: bool = True,
        context: int | None = None,
    ) -> None:
        check_kernels(depth, kernel=kernel, first_kernel=first_kernel)
        check_sizes(context=context)
        super().__init__(channels, levels, head, num_classes, outputs, color_order, width=width)
        if num_classes is not None and context is not None:
            raise ValueError(
                "images are conditioned on classes or on maps, not on both; leave out num_classes, "
                "and make the maps of the classes"
            )
        self.context, colors = context, self.colors
        self.first = GatedCausalLayer(
            channels, width, first_kernel // 2, colors, True, num_classes, context
        )
        self.layers = nn.ModuleList(
            GatedCausalLayer(width, width, kernel // 2, colors, False, num_classes, context)
            for _ in range(depth)
        )
        self.head = self.make_head(width, head)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.context is not None and labels is None:
            raise ValueError(
                f"the network is conditioned on maps of {self.context} channels; give it those"
            )
        v, h = self.first(x, x, labels)
        for layer in self.layers:
            v, h = layer(v, h, labels)
        return self.to_outputs(h)

    def walk(self, x: Tensor, labels: Tensor | None = None) -> SteppedWalk:
        return SteppedWalk(_GatedStackSteps(self, x, labels), x, self.colors)


class _GatedStackSteps(Steps):
    """The vertical stack goes by rows, the horizontal one by pixels."""

    def __init__(self, network: GatedCausalStack, x: Tensor, labels: Tensor | None) -> None:
        layers = (network.first, *network.layers)
        self.layers = [layer.steps(x, labels) for layer in layers]
        self.head = steps_of(network.head, x)
        self.image = LeftRow(x, x.shape[1], 0)
        self.begun = False

    def row(self) -> None:
        if self.begun:
            v = self.image.row()
            for layer in self.layers:
                v = layer.row(v)
        self.begun = True

    def pixel(self, column: int, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer.pixel(column, x)
        return self.head.pixel(column, x)

    def keep(self, column: int, x: Tensor) -> None:
        self.image.put(column, x)
        self.layers[0].before.keep(column, x)


def check_kernels(depth: int, **kernels: int) -> None:
    """Raises ValueError for a negative depth, and for kernels without a middle."""
    if depth < 0:
        raise ValueError(f"depth must not be negative, got {depth}")
    for name, size in kernels.items():
        if size < 3 or size % 2 == 0:
            raise ValueError(f"{name} must be odd and at least 3, got {size}")
