"""The networks of PixelRNN (van den Oord et al., 2016), https://arxiv.org/abs/1601.06759"""

from torch import nn

from ..nn.causal import MaskedConv2d, RowCausalConv2d
from ..nn.incremental import Residual
from ..nn.pixel_lstm import DiagonalBiLSTM, RowLSTM
from .causal import ChainNetwork, check_kernels


class RecurrentStack(ChainNetwork):
    """Residual recurrent layers after a masked convolution. A subclass says which.

    Arguments:
        channels: C of the images, whose order is R, G, B.
        levels: How many values a sub-pixel can have, from 2 to 256.
        hidden: Channels of the states; between the layers there are twice as many.
        depth: Recurrent layers.
        first_kernel: Width of what the first layer sees, odd.
        head: Channels of the hidden layer before the outputs.
        outputs: See `CausalNetwork`.
        color_order: See `CausalNetwork`.
    """

    layer: type[RowLSTM] | type[DiagonalBiLSTM]

    def __init__(
        self,
        channels: int = 1,
        levels: int = 256,
        hidden: int = 128,
        depth: int = 12,
        first_kernel: int = 7,
        head: int = 1024,
        outputs: int | None = None,
        color_order: bool = True,
    ) -> None:
        check_kernels(depth, first_kernel=first_kernel)
        super().__init__(channels, levels, head, None, outputs, color_order, hidden=hidden)
        colors = self.colors
        self.first = MaskedConv2d(channels, 2 * hidden, first_kernel // 2, colors, strict=True)
        self.blocks = nn.Sequential(
            *(
                Residual(
                    self.layer(2 * hidden, hidden, colors),
                    RowCausalConv2d(hidden, 2 * hidden, colors=colors),
                )
                for _ in range(depth)
            )
        )
        self.head = self.make_head(2 * hidden, head)


class RowLSTMStack(RecurrentStack):
    """PixelRNN with Row LSTM. See `RecurrentStack`; the paper has 12 layers of 128 on CIFAR-10."""

    layer = RowLSTM


class DiagonalBiLSTMStack(RecurrentStack):
    """PixelRNN with Diagonal BiLSTM. See `RecurrentStack`; on MNIST the paper has 7 layers of 16."""

    layer = DiagonalBiLSTM
