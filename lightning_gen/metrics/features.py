"""What an extractor of features is.

It maps uint8 images (B, C, H, W) to features (B, D). It is frozen and never leaves evaluation mode.
Its name and digest are part of every number that is computed from it, since a distance in other
features is another distance.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from .cache import digest_of
from .code import code_of


class Extractor(nn.Module):
    """Base of the extractors: frozen, in evaluation mode, and known by name, weights and code.

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

    def freeze(self, code: str | None = None) -> None:
        """To be called at the end of a constructor, once the weights are in place.

        Arguments:
            code: What tells this network from others with its weights; by default the source of its
                classes, see `code_of`. Of this library's own networks that is nothing.
        """
        self.requires_grad_(False)
        self.train(False)
        weights, code = digest_of(self.state_dict()), code_of(self) if code is None else code
        both = sha256(f"{weights}:{code}".encode()).hexdigest() if code else weights
        self.digest = both[:8]

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
    with full_precision(images.device):
        features, logits = extractor.with_logits(images)
    if features.shape[1] != extractor.num_features:
        raise ValueError(
            f"{extractor.name} gives {features.shape[1]} features of these images, not "
            f"{extractor.num_features}; take an extractor that resizes them"
        )
    return features, logits


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Without autocast and, on CUDA, without TF32, whatever the run trains with."""
    with torch.autocast(device.type, enabled=False):
        if device.type != "cuda":
            yield
            return
        cudnn, matmul = torch.backends.cudnn, torch.get_float32_matmul_precision()
        kept = (cudnn.enabled, cudnn.benchmark, cudnn.benchmark_limit, cudnn.deterministic)
        torch.set_float32_matmul_precision("highest")
        try:
            with cudnn.flags(*kept, allow_tf32=False):
                yield
        finally:
            torch.set_float32_matmul_precision(matmul)


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
    """The tensors of a file of torch's or of safetensors, in which there may be nothing else."""
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise _no_weights(path) from error
    if not isinstance(found, dict) or not all(isinstance(x, Tensor) for x in found.values()):
        raise _no_weights(path)
    return found


def _no_weights(path: Path) -> ValueError:
    return ValueError(
        f"{path} holds no weights that can be read; give a state_dict by torch.save or a "
        ".safetensors file, or fetch it again"
    )
