"""Samples of a checkpoint as one picture."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

import inspect
from collections.abc import Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, cast

import torch
from pytorch_lightning import LightningDataModule, LightningModule
from tqdm import tqdm

from callbacks.images import check_suffix, save_grid
from callbacks.points_picture import save_points
from callbacks.sampling import attributes_for
from lightning_gen.capabilities import Sampler
from lightning_gen.files import make_folder
from lightning_gen.metrics import PlacedNoise

from .checkpoints import load_model
from .evaluation import data_of

LARGEST = 2**28  # levels of a picture


def sample(
    checkpoint: Path,
    count: int,
    output: Path,
    seed: int,
    batch_size: int,
    labels: Sequence[int] | None = None,
    temperature: float | None = None,
) -> None:
    """Draws images from a checkpoint into one picture.

    Arguments:
        checkpoint: A checkpoint of `fit`.
        count: How many images.
        output: The picture.
        seed: What they are a function of.
        batch_size: Images at a time.
        labels: Classes that the images have in turn; by default all.
        temperature: See `CompletingModel`.

    Raises:
        ValueError: If the model cannot draw so many, or not of these classes or at a temperature.
    """
    if count < 1 or batch_size < 1:
        raise ValueError(f"count and batch_size must be at least 1, got {count} and {batch_size}")
    check_suffix(output)
    model = load_model(checkpoint)
    if not isinstance(model, Sampler):
        raise ValueError(f"{type(model).__name__} cannot draw samples")
    shape = cast(tuple[int, ...], model.shape)
    if count > LARGEST // prod(shape):
        most = LARGEST // prod(shape)
        raise ValueError(f"count must be at most {most:,} for one picture of these, got {count:,}")
    data = data_for(model, checkpoint, labels)
    classes, options = classes_of(model, labels), options_of(model, temperature)
    make_folder(output.parent)  # before what may take minutes
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    parts = []
    for start in tqdm(range(0, count, batch_size), disable=None, desc="sampling"):
        places = torch.arange(start, min(start + batch_size, count))
        noise = PlacedNoise((seed, "sample"), places, model.device)
        mine = None if data is None else attributes_for(model, data, noise)
        if mine is None and len(classes):
            mine = classes[places % len(classes)].to(model.device)
        parts.append(model.sample(len(places), mine, noise, **options).cpu())
    if shape == (2, 1, 1):
        save_points(torch.cat(parts), output)
    else:
        save_grid(torch.cat(parts), output, masks=getattr(model, "has_masks", False))
    print(f"samples      {output}")


def data_for(
    model: LightningModule, checkpoint: Path, labels: Sequence[int] | None
) -> LightningDataModule | None:
    """The run's data where it has the attributes that samples are to have; none for other models.

    Raises:
        ValueError: If the model is of attributes and its run is not there, or classes are asked for.
    """
    if not getattr(model, "of_attributes", False):
        return None
    config, name = checkpoint.resolve().parent.parent / "config.yaml", type(model).__name__
    if not config.exists():
        raise ValueError(
            f"{name} draws images of attributes that training images have, and without {config} it "
            "is not known of which data; put the checkpoint back into the folder of its run"
        )
    data = data_of(config, None, None)
    if getattr(data, "num_attributes", None) is None:
        return None
    if labels is not None:
        raise ValueError(
            f"{name} is told all attributes of an image, not one class; leave --labels out"
        )
    data.prepare_data()
    return data


def classes_of(model: LightningModule, labels: Sequence[int] | None) -> torch.Tensor:
    """The classes that samples have in turn: those asked for, by default all; none if it has none."""
    known = getattr(model, "num_classes", None) or 0
    if labels is None:
        return torch.arange(known)
    if not known:
        raise ValueError(f"{type(model).__name__} was given no classes; leave --labels out")
    if not labels or not all(0 <= label < known for label in labels):
        raise ValueError(f"labels must be classes from 0 to {known - 1}, got {list(labels)}")
    return torch.tensor(labels)


def options_of(model: LightningModule, temperature: float | None) -> dict[str, Any]:
    """What else `sample` of a model is given: a bar for each batch too, if it draws by steps."""
    known = inspect.signature(cast(Sampler, model).sample).parameters
    options: dict[str, Any] = {}
    if "progress" in known:
        options["progress"] = partial(tqdm, disable=None, desc="drawing", leave=False)
    if temperature is None:
        return options
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if "temperature" not in known:
        raise ValueError(f"{type(model).__name__} knows no temperature; leave --temperature out")
    return {**options, "temperature": temperature}
