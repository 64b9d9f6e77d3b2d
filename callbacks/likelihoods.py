"""How the likelihood of a split is noted, whatever it was computed by."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from lightning_gen.metrics import PlacedNoise
from lightning_gen.tracking import publish, record

from .data import conditions, data_module, inputs, placed_batches
from .sampling import watcher

Nats = Callable[[Tensor, Tensor | None, PlacedNoise], Tensor]  # of images, their labels and noise


class Mean(NamedTuple):
    """Nats per image over the images of a split, and the standard error of that mean."""

    nats: float
    error: float
    images: int
    dimensions: int

    @classmethod
    def of(cls, count: float, total: float, squares: float, dimensions: int) -> "Mean":
        """From sums over images of 1, of their nats, and of their squares."""
        mean = total / count
        error = math.sqrt(max(squares / count - mean * mean, 0) / max(count - 1, 1))
        return cls(mean, error, int(count), dimensions)


def mean_over(
    trainer: Trainer, model: LightningModule, caller: object, split: str, nats: Nats, told: set[str]
) -> Mean | None:
    """The mean of some nats per image over a split, by all processes together; none without images.

    Sums are in float64, and each image has noise of its own: the number does not depend on batches
    nor on processes.
    """
    sums = torch.zeros(3, dtype=torch.float64, device=model.device)  # count, sum, squares
    dimensions, watch = 0, watcher(trainer, told)
    batches = placed_batches(data_module(trainer, caller).loader(split))
    for places, images, labels in watch(f"likelihood of {split} images", batches):
        noise = PlacedNoise(("nll", split), places, model.device)
        found = nats(inputs(model, images), conditions(model, labels), noise).double()
        sums += torch.stack([found.new_tensor(len(found)), found.sum(), found.square().sum()])
        dimensions = images[0].numel()
    count, total, squares = trainer.strategy.reduce(sums, reduce_op="sum").tolist()  # type: ignore[union-attr]
    # A process without images does not know their size, but the first one always has some.
    dimensions = trainer.strategy.broadcast(dimensions)
    return Mean.of(count, total, squares, dimensions) if count else None


def made_of(
    trainer: Trainer, model: LightningModule, caller: object, split: str, count: int
) -> str:
    """The data and the discretisation behind a likelihood, for its protocol.

    It says too whether the likelihood is that of images given their labels.
    """
    data, discrete = data_module(trainer, caller), getattr(model, "dequantisation", "none")
    alone = not getattr(model, "num_classes", None) or getattr(model, "sums_over_classes", False)
    given = "" if alone else ":given-labels"
    return f"{data.name}-{split}-{count}:{data.fingerprint(split)}:dequantisation-{discrete}{given}"


def note(
    trainer: Trainer,
    model: LightningModule,
    caller: object,
    split: str,
    kind: str,
    mean: Mean,
    how: str = "",
) -> None:
    """Publishes and records a likelihood as `nll/<kind>` in nats and `bpd/<kind>` in bits.

    Arguments:
        trainer: Knows the run.
        model: What has the likelihood.
        caller: The callback.
        split: Of which images.
        kind: What the number is.
        mean: The number.
        how: What else it depends on, for its protocol.
    """
    bits = mean.dimensions * math.log(2)
    values = {
        f"nll/{kind}": (mean.nats, mean.error),
        f"bpd/{kind}": (mean.nats / bits, mean.error / bits),
    }
    publish(trainer, {name: value for name, (value, _) in values.items()})
    made = f"{kind}:{made_of(trainer, model, caller, split, mean.images)}{how and f':{how}'}"
    rest = {"n": mean.images, "split": split, "images_seen": getattr(model, "images_seen", 0)}
    scores = {
        name: {
            "value": value if math.isfinite(value) else None,
            "standard_error": spread if math.isfinite(spread) else None,
            "protocol": f"{name.partition('/')[0]}:{made}",
            **rest,
        }
        for name, (value, spread) in values.items()
    }
    record(trainer, scores)
