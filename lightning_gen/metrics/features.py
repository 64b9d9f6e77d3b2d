"""What an extractor of features is.

It maps uint8 images (B, C, H, W) to features (B, D). It is frozen and never leaves evaluation mode.
Its name and digest are part of every number that is computed from it, since a distance in other
features is another distance.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from .cache import digest_of


class Extractor(nn.Module):
    """Base of the extractors: frozen, in evaluation mode, and known by name and weights.

    Arguments:
        name: Goes into metric keys, as in `fid/<name>@10000`.
        num_features: The number of features per image.
    """

    channels: tuple[int, ...] = (1, 3)  # how many its images may have
    num_classes: int | None = None  # of the logits, where there are any

    def __init__(self, name: str, num_features: int) -> None:
        super().__init__()
        self.name, self.num_features = name, num_features
        self.digest = ""

    def freeze(self) -> None:
        """To be called at the end of a constructor, once the weights are in place."""
        self.requires_grad_(False)
        self.train(False)
        self.digest = digest_of(self.state_dict())[:8]

    def with_logits(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features (B, D) and, where the network is a classifier, logits (B, C), of one pass."""
        return self(images), None

    def train(self, mode: bool = True) -> "Extractor":
        """Stays in evaluation mode, whatever is asked for."""
        return super().train(False)


@torch.no_grad()
def features_of(extractor: Extractor, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Features (B, D) of uint8 images (B, C, H, W), and logits (B, C) or None, at full precision."""
    if images.dtype != torch.uint8:
        raise ValueError(f"images must be uint8, got {images.dtype}: use levels.to_levels")
    with torch.autocast(images.device.type, enabled=False):
        features, logits = extractor.with_logits(images)
    if features.shape[1] != extractor.num_features:
        raise ValueError(
            f"{extractor.name} gives {features.shape[1]} features of these images, not "
            f"{extractor.num_features}; take an extractor that resizes them"
        )
    return features, logits


def resize(images: Tensor, size: int) -> Tensor:
    """Images (B, C, H, W) at (size, size), with antialiasing; unchanged if they have that size."""
    if images.shape[-2:] == (size, size):
        return images
    return functional.interpolate(
        images, (size, size), mode="bilinear", align_corners=False, antialias=True
    )


def check_channels(images: Tensor) -> None:
    """Raises ValueError for images (B, C, H, W) that are neither grey nor colours."""
    if images.shape[1] not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels, got {images.shape[1]}")


def to_rgb(images: Tensor) -> Tensor:
    """Images with three channels: grey ones repeated, three-channel ones as they are."""
    check_channels(images)
    return images.expand(-1, 3, -1, -1)


def plain_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of torch's, in which there may be nothing else."""
    return torch.load(path, map_location="cpu", weights_only=True)
