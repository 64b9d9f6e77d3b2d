"""The handwritten digits that come with scikit-learn: real images that need no network.

References:
    | Optical Recognition of Handwritten Digits (Alpaydin & Kaynak, 1998)
    | https://archive.ics.uci.edu/dataset/80
"""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .base import ImageData
from .batches import stratified
from .decoding import resize
from .images import InMemory, Splits


class Digits(ImageData):
    """1,797 digits of 8x8 pixels, enlarged: 1,297 to train, 200 to validate, 300 to test.

    The levels 0 to 16 are scaled to 0 to 255, and the parts have the classes in equal shares.

    Arguments:
        size: Height and width, pixels; bicubic from 8.
        kwargs: See `ImageData`.
    """

    name = "digits"
    num_classes = 10

    def __init__(self, size: int = 28, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if size < 8:
            raise ValueError(f"size must be at least 8, which the digits have, got {size}")
        self.shape = (1, size, size)
        self.source = f"scikit-learn, bicubic to {size}"

    def read(self) -> Splits:
        from sklearn.datasets import load_digits  # slow to import

        digits = load_digits()
        levels = np.round(digits.images * (255 / 16)).astype(np.uint8)
        labels = torch.from_numpy(digits.target).long()
        every = InMemory(enlarge(levels, self.shape[-1]), labels)
        test, val, train = stratified(labels, 300, 200)
        return Splits(every.subset(train), every.subset(val), every.subset(test))


def enlarge(levels: np.ndarray, size: int) -> Tensor:
    """Grey images (N, H, H) as (N, 1, size, size), bicubic."""
    images = [np.asarray(resize(Image.fromarray(image), size, "bicubic")) for image in levels]
    return torch.from_numpy(np.stack(images))[:, None]
