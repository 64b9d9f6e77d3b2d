"""What goes on between the players of an adversarial model, as numbers at its log lines."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_gen.randomness import Noise
from lightning_gen.tracking import publish

AUC = "discriminator/auc"
ACCURACY_REAL, ACCURACY_FAKE = "discriminator/accuracy_real", "discriminator/accuracy_fake"
DIVERSITY = "generator/diversity"
ASKED = ("to_batch", "generate", "judge", "latest")  # of a model that generates and judges


class AtLogLines(Callback, ABC):
    """Observes the rounds of a game that are logged anyway; between them it costs a comparison.

    A model that does not both generate and judge images is left alone, which is said once.
    """

    on_train_batch_start = None  # type: ignore[assignment]  # left out of a step

    def __init__(self) -> None:
        self._able = True
        self._seen = -1  # the global step that was looked at last

    @abstractmethod
    def observe(self, trainer: Trainer, model: LightningModule, values: dict[str, float]) -> None:
        """Is given what was logged of a round, and its measures, the same on all processes."""

    def on_train_start(self, trainer: Trainer, model: LightningModule) -> None:
        self._able = all(hasattr(model, name) for name in ASKED)
        self._seen = trainer.global_step  # of before this fit
        if not self._able and trainer.is_global_zero:
            print(
                f"{type(self).__name__} does nothing: {type(model).__name__} has no discriminator "
                "that judges generated images",
                flush=True,
            )

    def on_train_batch_end(
        self, trainer: Trainer, model: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step, every = trainer.global_step, trainer.log_every_n_steps  # type: ignore[attr-defined]
        if not self._able or step == self._seen or step % every:
            return
        self._seen = step
        self.observe(trainer, model, explained(trainer, model, batch))


class ExplainTraining(AtLogLines):
    """Logs how well the discriminator tells real from generated images, and how diverse these are.

    At each log line, of the batch at hand and of samples on fixed noise, both in training mode, as
    the players meet them:

    - `discriminator/auc`: how often it ranks a real image above a generated one. It asks for no
      scale of the logits, so it can be compared between all objectives: 0.5 is a guess.
    - `discriminator/accuracy_real`, `discriminator/accuracy_fake`: how much of either it takes for
      what it is, if the model has a `threshold` of its logits. A critic has none.
    - `generator/diversity`: the root mean square distance of two samples over that of two images
      of the data, over all processes.

    The game itself logs `<player>/gradient_norm`, and `discriminator/distance` where the objective
    estimates a Wasserstein distance.
    """

    def observe(self, trainer: Trainer, model: LightningModule, values: dict[str, float]) -> None:
        """Does nothing: the values are logged already."""


def explained(trainer: Trainer, model: Any, raw: Any) -> dict[str, float]:
    """What was logged of the last round and its measures, which are taken and logged only once.

    To be called on all processes.
    """
    if AUC not in model.latest:  # a new dict at each log line
        measures = measure(trainer, model, raw)
        model.latest = {**model.latest, **measures}
        publish(trainer, measures)
    return model.latest


@torch.no_grad()
def measure(trainer: Trainer, model: Any, raw: Any) -> dict[str, float]:
    """The measures of `ExplainTraining`, in one collective and one transfer.

    Arguments:
        trainer: Knows the processes.
        model: Of the kind that generates and judges.
        raw: A batch as the loader gave it: uint8 images and labels of this process.
    """
    batch = model.to_batch(raw)  # reseeds torch's generator, as the next step does again
    here = batch.noise
    fixed = Noise(("explain",), here.count, here.total, here.start, here.device, here.dtype)
    batch = replace(batch, noise=fixed)
    with trainer.precision_plugin.forward_context(), buffers_kept(model):
        images = (batch.images, model.generate(batch))
        logits = [model.judge(x, batch) for x in images]
    rows = slice(here.start, here.start + here.count)
    judged = torch.zeros(2, here.total, dtype=torch.float64, device=here.device)
    for k, each in enumerate(logits):
        judged[k, rows] = each.reshape(here.count, -1).double().mean(1)  # over patches, if any
    flat = [x.reshape(here.count, -1).double() for x in images]
    moments = [part for x in flat for part in (x.sum(0), x.square().sum().view(1))]
    every = torch.cat([judged.view(-1), *moments])
    if trainer.world_size > 1:
        every = trainer.strategy.reduce(every, reduce_op="sum")  # type: ignore[assignment]
    judged, sums = every[: judged.numel()].view(2, -1), every[judged.numel() :].view(2, -1)
    terms = shares(judged[0], judged[1], getattr(model, "threshold", None))
    real, fake = (x[-1] - x[:-1].square().sum() / here.total for x in sums)
    terms[DIVERSITY] = (fake.clamp(min=0) / real).sqrt()
    values = dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True))
    return {name: value for name, value in values.items() if math.isfinite(value)}


def shares(real: Tensor, fake: Tensor, threshold: float | None) -> dict[str, Tensor]:
    """How well logits of real (B,) and of generated images (B',) are told apart.

    Arguments:
        real: Of real images.
        fake: Of generated ones.
        threshold: What lies above is taken for real; None if the logits have no such point.
    """
    terms = {AUC: ranking(real, fake)}
    if threshold is not None:
        terms[ACCURACY_REAL] = (real > threshold).double().mean()
        terms[ACCURACY_FAKE] = (fake < threshold).double().mean()
    return terms


def ranking(above: Tensor, below: Tensor) -> Tensor:
    """The share of pairs in which a value of the first (N,) is above one of the second (M,).

    Equal ones count half. It is the area under the curve of hits by false alarms.
    """
    ordered = below.sort().values
    beaten = torch.searchsorted(ordered, above) + torch.searchsorted(ordered, above, right=True)
    return beaten.double().mean() / (2 * len(below))


@contextmanager
def buffers_kept(model: LightningModule) -> Iterator[None]:
    """Puts running statistics, which a pass in training mode moves, back as they were."""
    buffers = [b for name, b in model.named_buffers() if not name.startswith("averages.")]
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
