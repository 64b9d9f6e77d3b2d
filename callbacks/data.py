"""What callbacks ask of a data module, with an error in one sentence where it has none of it."""

from collections.abc import Iterator
from typing import Any, cast

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_gen.levels import from_levels


def data_module(trainer: Trainer, caller: object) -> Any:
    """The trainer's data module, which gives uint8 images by split and knows their fingerprint."""
    data = getattr(trainer, "datamodule", None)
    if not all(hasattr(data, name) for name in ("loader", "fingerprint", "name")):
        raise ValueError(
            f"{type(caller).__name__} needs a data module with name, loader(split) and "
            f"fingerprint(split), got {type(data).__name__}"
        )
    return data


def check_split(name: str) -> str:
    """The name of a part of a data set; ValueError if there is no such part."""
    if name not in ("train", "val", "test"):
        raise ValueError(f"a split is train, val or test, got {name}")
    return name


class FirstImages:
    """The first images of a split, or of this process's share of it, with their labels; read once.

    Arguments:
        count: How many; fewer if the split has fewer.
        split: train, val or test.
    """

    def __init__(self, count: int, split: str) -> None:
        self.count, self.split = count, check_split(split)
        self._found: tuple[Tensor, Tensor] | None = None

    def of(self, data: Any) -> tuple[Tensor, Tensor]:
        """Those of a data module."""
        if self._found is None:
            parts: list[tuple[Tensor, Tensor]] = []
            for batch in data.loader(self.split):
                parts.append(tuple(batch))
                if sum(len(images) for images, _ in parts) >= self.count:
                    break
            none = torch.empty(0), torch.empty(0)
            images, labels = zip(*parts or [none], strict=True)
            self._found = torch.cat(images)[: self.count], torch.cat(labels)[: self.count]
        return self._found


class PlacedBatches:
    """Batches of images and labels, with the indices (B,) of the images in their data set.

    Arguments:
        loader: Of this process.
    """

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader

    @property
    def images(self) -> int:
        """How many images there are, over all processes."""
        return len(self.loader.dataset)  # type: ignore[arg-type]

    def dimensions(self) -> int:
        """The numbers that an image has; 0 where this process has no image."""
        return next((images[0].numel() for images, _ in self.loader), 0)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        loader = self.loader
        sampler = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
        for places, (images, labels) in zip(sampler, loader, strict=True):
            yield torch.as_tensor(places), images, labels


def placed_batches(loader: DataLoader) -> PlacedBatches:
    """See `PlacedBatches`."""
    return PlacedBatches(loader)


def inputs(model: LightningModule, images: Tensor) -> Tensor:
    """What a data module gives, uint8 images or float points, as the model is trained on it."""
    images = images.to(model.device)
    if hasattr(model, "to_floats"):
        return cast(Any, model).to_floats(images)
    return from_levels(images, dtype=cast(torch.dtype, model.dtype))


def conditions(model: LightningModule, labels: Tensor) -> Tensor | None:
    """The labels where the model asks for them, else None."""
    return labels.to(model.device) if getattr(model, "num_classes", None) else None
