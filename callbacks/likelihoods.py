"""How the likelihood of a split is noted, whatever it was computed by."""

import math
from typing import NamedTuple

from pytorch_lightning import LightningModule, Trainer

from lightning_gen.tracking import publish, record

from .data import data_module


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


def made_of(
    trainer: Trainer, model: LightningModule, caller: object, split: str, count: int
) -> str:
    """The data and the discretisation behind a likelihood, for its protocol."""
    data, discrete = data_module(trainer, caller), getattr(model, "dequantisation", "none")
    return f"{data.name}-{split}-{count}:{data.fingerprint(split)}:dequantisation-{discrete}"


def note(
    trainer: Trainer, model: LightningModule, caller: object, split: str, kind: str, mean: Mean
) -> None:
    """Publishes and records a likelihood as `nll/<kind>` in nats and `bpd/<kind>` in bits."""
    bits = mean.dimensions * math.log(2)
    values = {
        f"nll/{kind}": (mean.nats, mean.error),
        f"bpd/{kind}": (mean.nats / bits, mean.error / bits),
    }
    publish(trainer, {name: value for name, (value, _) in values.items()})
    made = f"{kind}:{made_of(trainer, model, caller, split, mean.images)}"
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
