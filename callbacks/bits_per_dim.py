r"""The likelihood of a whole split, in nats per image and in bits per dimension.

.. math:: \mathrm{bits/dim} = \frac{-\log p(x)}{D \log 2}, \quad D = C H W
"""

import math
from typing import cast

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from lightning_gen.capabilities import ImportanceLikelihood, Likelihood
from lightning_gen.levels import from_levels
from lightning_gen.metrics import PlacedNoise
from lightning_gen.tracking import publish, record

from .data import check_split, conditions, data_module, placed_batches
from .periodic import Periodic


class BitsPerDim(Periodic):
    """Scores `nll/exact` or `nll/bound`, and `bpd/...`, over all images of a split.

    Sums are in float64, and each image has noise of its own: the number does not depend on batches
    nor on processes.

    Arguments:
        split: The images at validations.
        test_split: The images at tests.
        importance_samples: Tighten the bound with so many samples, as `nll/iw<k>` besides.
        kwargs: See `Periodic`.
    """

    needs = (Likelihood,)

    def __init__(
        self,
        split: str = "val",
        test_split: str = "test",
        importance_samples: int | None = None,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = False,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if importance_samples is not None and importance_samples < 1:
            raise ValueError(f"importance_samples must be at least 1, got {importance_samples}")
        self.split, self.test_split = check_split(split), check_split(test_split)
        self.importance_samples = importance_samples

    def setup(self, trainer: Trainer, model: LightningModule, stage: str) -> None:
        super().setup(trainer, model, stage)
        if self._active:
            data_module(trainer, self)
        if self._active and self.importance_samples and not isinstance(model, ImportanceLikelihood):
            raise ValueError(
                f"{type(model).__name__} has no importance_nll; set importance_samples off"
            )

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        split = self.test_split if trainer.testing else self.split
        self.score(trainer, model, split, str(model.nll_kind), None)
        if self.importance_samples is not None:
            k = self.importance_samples
            self.score(trainer, model, split, f"iw{k}", k)

    def score(
        self, trainer: Trainer, model: LightningModule, split: str, kind: str, k: int | None
    ) -> None:
        """Publishes and records the mean over a split, by all processes together."""
        sums = torch.zeros(3, dtype=torch.float64, device=model.device)  # count, sum, squares
        dimensions = 0
        for places, images, labels in placed_batches(data_module(trainer, self).loader(split)):
            noise = PlacedNoise(("nll", split), places, model.device)
            nll = self.nll(model, images, labels, noise, k).double()
            sums += torch.stack([nll.new_tensor(len(nll)), nll.sum(), nll.square().sum()])
            dimensions = images[0].numel()
        count, total, squares = trainer.strategy.reduce(sums, reduce_op="sum").tolist()
        # A process without images does not know their size, but the first one always has some.
        dimensions = trainer.strategy.broadcast(dimensions)
        if count == 0:  # no images are held out
            return
        mean = total / count
        error = math.sqrt(max(squares / count - mean * mean, 0) / max(count - 1, 1))
        self.note(trainer, model, split, kind, mean, error, int(count), dimensions)

    def nll(
        self,
        model: LightningModule,
        images: Tensor,
        labels: Tensor,
        noise: PlacedNoise,
        k: int | None,
    ) -> Tensor:
        """Nats for each of some images, (B,)."""
        x = from_levels(images.to(model.device), dtype=cast(torch.dtype, model.dtype))
        given = conditions(model, labels)
        if k is None:
            return cast(Likelihood, model).nll(x, given, noise)
        return cast(ImportanceLikelihood, model).importance_nll(x, k, given, noise)

    def note(
        self,
        trainer: Trainer,
        model: LightningModule,
        split: str,
        kind: str,
        mean: float,
        error: float,
        count: int,
        dimensions: int,
    ) -> None:
        data, bits = data_module(trainer, self), dimensions * math.log(2)
        values = {f"nll/{kind}": (mean, error), f"bpd/{kind}": (mean / bits, error / bits)}
        publish(trainer, {name: value for name, (value, _) in values.items()})
        discrete = getattr(model, "dequantisation", "none")
        made = f"{kind}:{data.name}-{split}-{count}:{data.fingerprint(split)}:dequantisation-{discrete}"
        rest = {"n": count, "split": split, "images_seen": getattr(model, "images_seen", 0)}
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
