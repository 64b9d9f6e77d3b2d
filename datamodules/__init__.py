"""Data sets of images. Each serves uint8 images (B, C, H, W) and int64 labels; see `ImageData`."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

from .base import DataError, ImageData
from .celeba import CelebA
from .cifar import CIFAR10, CIFAR100
from .coloured_digits import ColouredDigits
from .digits import Digits
from .folder import ImageFolder
from .lsun import LSUN
from .mnist import MNIST, BinarizedMNIST, FashionMNIST
from .points import Grid, ParallelLines, Points, Ring, SwissRoll
from .stacked_mnist import StackedMNIST
from .usps import USPS

DATASETS: dict[str, type[ImageData]] = {
    "digits": Digits,
    "mnist": MNIST,
    "fashion_mnist": FashionMNIST,
    "binarized_mnist": BinarizedMNIST,
    "stacked_mnist": StackedMNIST,
    "usps": USPS,
    "coloured_digits": ColouredDigits,
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
    "celeba": CelebA,
    "lsun": LSUN,
    "folder": ImageFolder,
}

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "DATASETS",
    "LSUN",
    "MNIST",
    "USPS",
    "BinarizedMNIST",
    "CelebA",
    "ColouredDigits",
    "DataError",
    "Digits",
    "FashionMNIST",
    "Grid",
    "ImageData",
    "ImageFolder",
    "ParallelLines",
    "Points",
    "Ring",
    "StackedMNIST",
    "SwissRoll",
]
