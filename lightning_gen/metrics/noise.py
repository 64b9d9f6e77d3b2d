"""Noise for evaluation, which belongs to images by their place in a data set or in a sequence."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..randomness import Noise

BLOCK = 250  # images that share a generator: divides the usual 2000, 10000 and 50000


class PlacedNoise(Noise):
    """Noise for images of a data set, by their index there.

    An image gets the same noise in any batch, on any process: so a bound that is estimated with
    noise is the same number however the images are shared out.

    Arguments:
        key: What the noise is a function of, as in `Noise`.
        places: The images' indices, (B,).
        device: Where to draw.
        dtype: Of the draws.
    """

    def __init__(
        self,
        key: Sequence[int | str],
        places: Tensor,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(key, len(places), device=device, dtype=dtype)
        self.places = places
        blocks = (places // BLOCK).unique().tolist()
        self._blocks = {
            block: Noise((*key, block), BLOCK, device=device, dtype=dtype) for block in blocks
        }

    def integers(self, high: int, *size: int) -> Tensor:
        """Draws integers from [0, high), (count, *size), int64."""
        return self._pick(lambda noise: noise.integers(high, *size))

    def spawn(self, *purpose: int | str) -> "PlacedNoise":
        """Noise for the same images that is independent of this one."""
        return PlacedNoise((*self.key, *purpose), self.places, self.device, self.dtype)

    def _rows(self, draw: Callable[..., Tensor], size: tuple[int, ...]) -> Tensor:
        return self._pick(lambda noise: noise._rows(draw, size))

    def _pick(self, draw: Callable[[Noise], Tensor]) -> Tensor:
        drawn = torch.stack([draw(noise) for noise in self._blocks.values()])
        firsts = torch.tensor(list(self._blocks))
        row = torch.searchsorted(firsts, self.places // BLOCK).to(drawn.device)
        return drawn[row, (self.places % BLOCK).to(drawn.device)]
