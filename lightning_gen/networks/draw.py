"""The network of DRAW."""

from math import prod

import torch
from torch import Tensor, nn

from ..nn.attention import NUMBERS, everywhere, gaussian_window
from ..nn.canvas import CanvasNetwork, CanvasState, Memory
from ..nn.sizes import check_sizes


class DRAWNetwork(CanvasNetwork):
    """Two LSTMs: the encoder reads an image and what the canvas lacks, the decoder writes.

    Each may do so through a window, whose place the decoder's state says; before training it is the
    whole image. Images are shown in [-1, 1]; the first canvas is learned, and both memories begin
    empty.

    References:
        | DRAW: A Recurrent Neural Network For Image Generation (Gregor et al., 2015)
        | https://arxiv.org/abs/1502.04623

    Arguments:
        shape: (C, H, W) of the images.
        steps: How many; the paper has 64 on MNIST.
        code_size: Length of the code of each step; the paper has 100.
        hidden: Units of each LSTM; the paper has 256.
        read_size: Filters along each side of the window that is read through; the paper has 2. By
            default it reads whole images.
        write_size: The same for what is written through; the paper has 5.
        outputs: Numbers per sub-pixel: 1 for Bernoulli, 2 for DiscretizedLogistic and Gaussian.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        steps: int = 64,
        code_size: int = 100,
        hidden: int = 256,
        read_size: int | None = None,
        write_size: int | None = None,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, steps=steps, code_size=code_size, hidden=hidden)
        check_sizes(outputs=outputs)
        for name, size in (("read_size", read_size), ("write_size", write_size)):
            if size is not None and size < 2:
                raise ValueError(f"{name} must be at least 2, or none for whole images, got {size}")
        self.shape, self.steps, self.code_size, self.outputs = shape, steps, code_size, outputs
        self.latent_size = steps * code_size
        self.hidden, self.read_size, self.write_size = hidden, read_size, write_size
        channels, height, width = shape
        seen = (height, width) if read_size is None else (read_size, read_size)
        self.patch = (height, width) if write_size is None else (write_size, write_size)
        self.start = nn.Parameter(torch.zeros(outputs, *shape))
        self.encoder = nn.LSTMCell(2 * channels * prod(seen) + hidden, hidden)
        self.posterior = nn.Linear(hidden, 2 * code_size)
        self.decoder = nn.LSTMCell(code_size, hidden)
        self.write = nn.Linear(hidden, outputs * channels * prod(self.patch))
        self.reads_at = self.writes_at = None
        if read_size is not None:
            self.reads_at = _placed(hidden, everywhere(height, width, read_size)[0])
        if write_size is not None:
            self.writes_at = _placed(hidden, everywhere(height, width, write_size)[1])

    def begin(self, count: int) -> CanvasState:
        empty = self.start.new_zeros(count, self.hidden)
        return CanvasState(
            self.start.expand(count, *self.start.shape), (empty, empty), (empty, empty)
        )

    def look(
        self, x: Tensor, error: Tensor, state: CanvasState
    ) -> tuple[Tensor, Tensor, CanvasState]:
        before = state.decoder[0]
        seen = torch.cat([x, error], 1)
        if self.reads_at is not None and self.read_size is not None:
            window = gaussian_window(self.reads_at(before), *self.shape[1:], self.read_size)
            seen = window.read(seen)
        encoder: Memory = self.encoder(torch.cat([seen.flatten(1), before], 1), state.encoder)
        mean, log_var = self.posterior(encoder[0]).chunk(2, dim=1)
        return mean, log_var, state._replace(encoder=encoder)

    def step(self, z: Tensor, state: CanvasState) -> CanvasState:
        decoder: Memory = self.decoder(z, state.decoder)
        stroke = self.write(decoder[0]).unflatten(1, (-1, *self.patch))
        if self.writes_at is not None and self.write_size is not None:
            at = self.writes_at(decoder[0])
            stroke = gaussian_window(at, *self.shape[1:], self.write_size).paint(stroke)
        return CanvasState(state.canvas + stroke.view_as(state.canvas), state.encoder, decoder)


def _placed(hidden: int, numbers: Tensor) -> nn.Linear:
    """Says where a window is, which begins at the five numbers.

    At zeros, filters a pixel wide stand along the borders, two a side in the corners. Things in the
    middle of an image are not seen from there, and without a slope the window would not move.
    """
    layer = nn.Linear(hidden, NUMBERS)
    layer.bias.data.copy_(numbers)
    return layer
