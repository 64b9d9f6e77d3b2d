"""MNIST three times over, as the colours of one image: a thousand modes that can be counted.

References:
    | Unrolled Generative Adversarial Networks (Metz et al., 2017), Section 3.3.1
    | https://arxiv.org/abs/1611.02163
"""

import hashlib
from typing import Any, cast

import torch
from torch import Tensor

from lightning_gen.randomness import stream

from .images import Images, InMemory, Splits
from .mnist import MNIST


class StackedMNIST(MNIST):
    """128,000 + 26,000 images of three digits each, one to a colour; the label 407 is of 4, 0 and 7.

    Which digits meet is drawn once, from a stream that no run's seed changes: those of the training
    images for `train`, those that are held out for `val`, the test images for `test`.

    Arguments:
        size: 28, 32 to pad with level 0, or 14 for the means of two by two pixels, rounded.
        val_size: How many of MNIST's training images are held out to validate.
        train_size: How many images to train on.
        test_size: How many images to test with.
        kwargs: See `ImageData`.
    """

    name, num_classes = "stacked_mnist", 1000

    def __init__(
        self,
        size: int = 28,
        val_size: int = 10_000,
        train_size: int = 128_000,
        test_size: int = 26_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(size=size, val_size=val_size, **kwargs)
        if min(train_size, test_size) < 1:
            raise ValueError(
                f"train_size and test_size must be at least 1, got {train_size} and {test_size}"
            )
        self.shape = (3, size, size)
        self.train_size, self.test_size = train_size, test_size
        self.label_names = [f"{label:03}" for label in range(1000)]

    def read(self) -> Splits:
        grey = super().read()
        counts = {"train": self.train_size, "val": len(grey.val), "test": self.test_size}
        return Splits(
            *(stack(cast(InMemory, getattr(grey, k)), count, k) for k, count in counts.items())
        )


class Stacked(Images):
    """Images that are put together of grey ones when they are fetched, so that they take no memory.

    Arguments:
        grey: Images (M, 1, H, W) in memory, with classes below 10.
        places: Which three of them become R, G and B, (N, 3).
    """

    def __init__(self, grey: InMemory, places: Tensor) -> None:
        self.grey, self.places = grey, places
        self.labels = grey.labels[places] @ torch.tensor([100, 10, 1])

    def __getitem__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.grey.pixels[self.places[indices], 0], self.labels[indices]

    def subset(self, indices: Tensor) -> "Stacked":
        return Stacked(self.grey, self.places[indices])

    def digest(self) -> str:
        sha = hashlib.sha256(self.grey.digest().encode())
        sha.update(self.places.contiguous().numpy().data)
        return sha.hexdigest()


def stack(grey: InMemory, count: int, split: str) -> Stacked:
    """So many images of three random digits each."""
    drawn = torch.randint(len(grey) or 1, (count, 3), generator=stream("stacked", split))
    return Stacked(grey, drawn)
