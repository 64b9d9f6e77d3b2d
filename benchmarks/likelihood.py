"""What the base of likelihood models, Lightning and the callbacks add to a step."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.models.autoregressive import PixelModel
from lightning_gen.networks.causal import GatedCausalStack, MaskedStack
from lightning_gen.networks.pixel_rnn import DiagonalBiLSTMStack, RowLSTMStack
from lightning_gen.nn.roles import PixelNetwork

from .loops import adam, our_fit, random_batches, scaled
from .timing import Ratio, Variant, interleave, keep_memory, ratio, repeated

SHAPE = (1, 28, 28)


class BareLikelihood:
    """A network of pixels and its cross-entropy by hand."""

    def __init__(self, network: PixelNetwork) -> None:
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.adam = adam(network, True, 1e-3, 0.9)

    def go_through(self, loader: Iterable[tuple[Tensor, Tensor]]) -> None:
        """A step on each batch."""
        for images, _ in loader:
            x = scaled(images)
            self.adam.zero_grad()
            logits = self.network(x)
            (F.cross_entropy(logits, images.long(), reduction="sum") / len(x)).backward()
            self.adam.step()


NETWORKS: dict[str, Callable[[], PixelNetwork]] = {
    "PixelCNN 6 x 16": lambda: MaskedStack(1, 256, 32, 5, 3, 7, 32),
    "Gated PixelCNN 5 x 16": lambda: GatedCausalStack(1, 256, 16, 4, 3, 7, 32),
    "Row LSTM 2 x 16": lambda: RowLSTMStack(1, 256, 16, 2, 7, 32),
    "Diagonal BiLSTM 2 x 16": lambda: DiagonalBiLSTMStack(1, 256, 16, 2, 7, 32),
}


def run(rounds: int = 5) -> list[Ratio]:
    """Ratios for each network on images 28 x 28 of 256 levels, in batches of 16."""
    keep_memory()
    return [compare(name, network, rounds) for name, network in NETWORKS.items()]


def compare(name: str, network: Callable[[], PixelNetwork], rounds: int) -> Ratio:
    def measure() -> dict[str, list[float]]:
        batches = random_batches(SHAPE, 16)
        variants = {
            name: Variant(partial(our_fit, PixelModel(network(), SHAPE)), batches),
            "bare loop": Variant(BareLikelihood(network()).go_through, batches),
        }
        return interleave(variants, 5, rounds)

    return ratio(repeated(measure), name, "bare loop", "<= 1.03")
