"""The network of Gated PixelCNN (van den Oord et al., 2016), https://arxiv.org/abs/1606.05328"""

from torch import Tensor, nn

from ..nn.causal import GatedCausalLayer, RowCausalConv2d
from ..nn.roles import PixelNetwork
from ..nn.sizes import check_sizes


class GatedCausalStack(PixelNetwork):
    """Maps images (B, C, H, W) to logits (B, levels, C, H, W), each from the sub-pixels before it.

    Arguments:
        channels: C of the images, whose order is R, G, B.
        levels: How many values a sub-pixel can have, from 2 to 256.
        width: Channels of both stacks; the paper has 128 on CIFAR-10.
        depth: Layers after the first.
        kernel: Width of what a layer sees, odd.
        first_kernel: The same for the first layer.
        head: Channels of the hidden layer before the logits.
        num_classes: Classes that the images are conditioned on, in every layer.
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
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, width=width, head=head)
        if depth < 0:
            raise ValueError(f"depth must not be negative, got {depth}")
        if num_classes is not None:
            check_sizes(num_classes=num_classes)
        for name, size in (("kernel", kernel), ("first_kernel", first_kernel)):
            if size < 3 or size % 2 == 0:
                raise ValueError(f"{name} must be odd and at least 3, got {size}")
        if not 2 <= levels <= 256:
            raise ValueError(f"levels must be from 2 to 256, got {levels}")
        if head % channels:
            raise ValueError(f"head must be a multiple of the {channels} channels, got {head}")
        self.channels, self.levels, self.num_classes = channels, levels, num_classes
        self.first = GatedCausalLayer(
            channels, width, first_kernel // 2, channels, first=True, num_classes=num_classes
        )
        self.layers = nn.ModuleList(
            GatedCausalLayer(width, width, kernel // 2, channels, num_classes=num_classes)
            for _ in range(depth)
        )
        self.head = nn.Sequential(
            nn.ReLU(),
            RowCausalConv2d(width, head, colors=channels),
            nn.ReLU(),
            RowCausalConv2d(head, levels * channels, colors=channels),
        )

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        v, h = self.first(x, x, labels)
        for layer in self.layers:
            v, h = layer(v, h, labels)
        return self.head(h).unflatten(1, (self.levels, self.channels))
