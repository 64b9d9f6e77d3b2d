"""Randomness without state: noise is a function of (seed, step, purpose), not of what came before.

So a run that is stopped and goes on, or that is spread over more processes, draws what it would
have drawn anyway, and there is nothing to store.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b

import torch
from torch import Tensor


def seed_of(*key: int | str) -> int:
    """A 63-bit seed for a key such as (seed, step, "dropout")."""
    digest = blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def stream(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for a key."""
    return torch.Generator(device).manual_seed(seed_of(*key))


class Noise:
    """Noise for the images of a batch: row i belongs to image i of the global batch.

    A process that holds the images [start, start + count) of `total` draws for all and keeps its
    own rows, so neither the number of processes nor of micro-batches changes what an image gets.

    Arguments:
        key: What the noise is a function of. Two with the same key draw the same, call by call.
        count: How many images are here.
        total: How many images the global batch has; by default those that are here.
        start: Where the images that are here begin in the global batch.
        device: Where to draw. The numbers differ between kinds of device.
        dtype: Of the draws.
    """

    def __init__(
        self,
        key: Sequence[int | str],
        count: int,
        total: int | None = None,
        start: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.key, self.count, self.start = tuple(key), count, start
        self.total = count if total is None else total
        self.device, self.dtype = device, dtype
        self._generator: torch.Generator | None = None

    @classmethod
    def fresh(
        cls, count: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> "Noise":
        """Noise that follows from torch's own generator, so from its seed."""
        return cls(("fresh", int(torch.randint(2**62, ()))), count, device=device, dtype=dtype)

    def __len__(self) -> int:
        return self.count

    @property
    def generator(self) -> torch.Generator:
        """The generator behind the draws, made when first needed."""
        if self._generator is None:
            self._generator = stream(*self.key, device=self.device)
        return self._generator

    def normal(self, *size: int) -> Tensor:
        """Draws from N(0, 1), (count, *size)."""
        return self._rows(torch.randn, size)

    def uniform(self, *size: int) -> Tensor:
        """Draws from U[0, 1), (count, *size)."""
        return self._rows(torch.rand, size)

    def integers(self, high: int, *size: int) -> Tensor:
        """Draws integers from [0, high), (count, *size), int64."""
        every = torch.randint(
            high, (self.total, *size), generator=self.generator, device=self.device
        )
        return every[self.start : self.start + self.count]

    def spawn(self, *purpose: int | str) -> "Noise":
        """Noise for the same images that is independent of this one."""
        return Noise(
            (*self.key, *purpose), self.count, self.total, self.start, self.device, self.dtype
        )

    def _rows(self, draw: Callable[..., Tensor], size: tuple[int, ...]) -> Tensor:
        every = draw(
            self.total, *size, generator=self.generator, device=self.device, dtype=self.dtype
        )
        return every[self.start : self.start + self.count]
