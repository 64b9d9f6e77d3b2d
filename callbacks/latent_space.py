"""What the units of a code stand for, and how the codes of images lie in their prior."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from lightning_gen.analysis.units import THRESHOLD
from lightning_gen.capabilities import Decoder, Encoder
from lightning_gen.metrics import PlacedNoise
from lightning_gen.randomness import Noise
from lightning_gen.tracking import publish

from .curves import Points, draw_panels
from .data import check_split, conditions, data_module, inputs, placed_batches
from .images import grid, show
from .periodic import Periodic
from .planes import scatter_classes

DRAWS, NUMBERS = 20_000, 2_000_000  # of the prior, at most: codes, and numbers in them
BINS = 40  # of densities


@runtime_checkable
class CodeSampler(Protocol):
    """Draws codes of images, and says what they cost."""

    def draw_codes(self, x: Tensor, labels: Tensor | None, noise: Noise) -> Tensor:
        """A code from the posterior of each image, (B, D)."""

    def bound(self, x: Tensor, labels: Tensor | None, noise: Noise) -> Any:
        """Has a `divergence` in nats, (B, G), which may be of each unit."""


class Codes(NamedTuple):
    """The codes of some images."""

    means: Tensor  # of the posteriors, (N, D)
    drawn: Tensor  # from the posteriors, (N, D), or the means where the model draws none
    nats: Tensor | None  # the divergence of each unit, (N, D), where there is one
    labels: Tensor  # of the images, (N, ...)

    @property
    def classes(self) -> Tensor | None:
        """Classes (N,), unless labels are attributes."""
        return None if self.labels.dim() > 1 or self.labels.is_floating_point() else self.labels


class LatentSpace(Periodic):
    """Draws what codes change in images, and where the codes of images are.

    - `traversal`: each row is the first image, whose code is changed in one unit alone, from the low
      to the high quantiles of the prior. Units are in the order of their activity.
    - `manifold`: the two most active units take these quantiles, the others stay at the prior's mean.
      Of codes with two units it shows all that the model can make.
    - `posterior`: codes drawn from the posteriors of images, of the two most active units, coloured
      by class, on draws from the prior; below the densities of both, and of all units the activity, and the
      nats of divergence where each has one.

    How many units are active, so that the means of their posteriors vary by more than 0.01 over the
    images, is logged as `active_units`.

    Arguments:
        units: Rows of the traversal, at most as many as there are units.
        columns: Values that a unit takes there.
        side: Values that each of the two units takes in the manifold.
        images: How many images have their codes looked at, the first of the split.
        split: Which images.
        kwargs: See `Periodic`.
    """

    needs = (Encoder, Decoder)
    needs_data = True

    def __init__(
        self,
        units: int = 10,
        columns: int = 11,
        side: int = 15,
        images: int = 2000,
        split: str = "val",
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = False,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if units < 1 or columns < 2 or side < 2 or images < 2:
            raise ValueError(
                "units must be at least 1, and columns, side and images at least 2, got "
                f"{units}, {columns}, {side} and {images}"
            )
        self.units, self.columns, self.side = units, columns, side
        self.images, self.split = images, check_split(split)

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        codes = codes_of(trainer, model, data_module(trainer, self), self.split, self.images)
        varied = activity_of(trainer, model, codes)
        if varied is None:  # no images are held out
            return
        publish(trainer, {"active_units": float((varied > THRESHOLD).sum())})
        if trainer.is_global_zero and codes is not None:
            self.draw(trainer, model, codes, varied)

    def draw(self, trainer: Trainer, model: LightningModule, codes: Codes, varied: Tensor) -> None:
        """Shows the pictures, with units in the order of how much they vary, (D,)."""
        order, decoder = varied.argsort(descending=True, stable=True), cast(Decoder, model)
        known, masks = conditions(model, codes.labels[:1]), getattr(model, "has_masks", False)

        def decoded(z: Tensor) -> Tensor:
            given = None if known is None else known.expand(len(z), *known.shape[1:])
            return decoder.decode(z.to(model.device), given).float().cpu()

        count = min(DRAWS, max(2, NUMBERS // len(order)))
        prior = decoder.latent(count, Noise(("prior",), count, device=model.device)).float().cpu()
        rows = traversal(codes.means[0], prior, order[: self.units], self.columns)
        show(trainer, "traversal", grid(decoded(rows.flatten(0, 1)), self.columns, masks=masks))
        if len(order) > 1:
            plane = manifold(prior, order[:2], self.side)
            show(trainer, "manifold", grid(decoded(plane), self.side, masks=masks))
            show(trainer, "posterior", picture(codes, prior, varied, order))


def codes_of(
    trainer: Trainer, model: LightningModule, data: Any, split: str, count: int
) -> Codes | None:
    """This process's share of the codes of the first images; a model of classes is told them."""
    found, encoder = [], cast(Any, model)  # only those that know classes are told of them
    for places, images, labels in placed_batches(data.loader(split)):
        if int(places.min()) >= count:
            break
        first = places < count
        x, known = inputs(model, images[first]), conditions(model, labels[first])
        means = encoder.encode(x) if known is None else encoder.encode(x, known)
        noise = PlacedNoise(("posterior",), places[first], x.device, x.dtype)
        drawn, nats = means, None
        if isinstance(model, CodeSampler):
            drawn, nats = model.draw_codes(x, known, noise), model.bound(x, known, noise).divergence
        found.append((means, drawn, nats, labels[first]))
    if not found:
        return None
    all_means, all_drawn, all_nats, all_labels = zip(*found, strict=True)
    own = all_nats[0] is not None and all_nats[0].shape == all_means[0].shape
    return Codes(
        _joined(all_means),
        _joined(all_drawn),
        _joined(all_nats) if own else None,
        torch.cat(all_labels),
    )


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts)).float().cpu()


def activity_of(trainer: Trainer, model: LightningModule, codes: Codes | None) -> Tensor | None:
    """The variance of the means of each unit over the images of all processes, (D,)."""
    size = trainer.strategy.broadcast(0 if codes is None else codes.means.shape[1])
    if size == 0:
        return None
    means = torch.zeros(0, size) if codes is None else codes.means
    own = means.double()
    sums = torch.stack([torch.full((size,), float(len(own))), own.sum(0), own.square().sum(0)])
    count, total, squares = trainer.strategy.reduce(sums.to(model.device), reduce_op="sum").cpu()  # type: ignore[union-attr]
    return (squares - total.square() / count).clamp(min=0) / (count - 1).clamp(min=1)


def quantiles(prior: Tensor, count: int) -> Tensor:
    """Values (count, D) of each unit, with the same share of draws (N, D) below, between and above."""
    return prior.quantile((torch.arange(count) + 0.5) / count, dim=0)


def traversal(code: Tensor, prior: Tensor, units: Tensor, columns: int) -> Tensor:
    """Codes (U, columns, D) that differ from one, (D,), in one unit in each row."""
    rows = code.repeat(len(units), columns, 1)
    for row, unit in zip(rows, units.tolist(), strict=True):
        row[:, unit] = quantiles(prior[:, [unit]], columns)[:, 0]
    return rows


def manifold(prior: Tensor, units: Tensor, side: int) -> Tensor:
    """Codes (side * side, D), by rows, of which two units take all pairs of values, high ones on top."""
    plane = prior.mean(0).repeat(side, side, 1)
    values = quantiles(prior[:, units], side)
    plane[:, :, units[0]] = values[:, 0]
    plane[:, :, units[1]] = values[:, 1].flip(0)[:, None]
    return plane.flatten(0, 1)


def picture(codes: Codes, prior: Tensor, varied: Tensor, order: Tensor) -> np.ndarray:
    """Codes of the two most active units in the plane, above what is known of units, as levels."""
    panels: dict[str, Mapping[str, Points]] = {}
    for unit in order[:2].tolist():
        panels[f"unit {unit}"] = densities(codes.drawn[:, unit], prior[:, unit])
    panels["log10 of the activity of units, in order"] = in_order(
        "activity", varied[order].clamp(min=1e-8).log10()
    )
    if codes.nats is not None:
        panels["nats of units, in order"] = in_order("divergence", codes.nats.mean(0)[order])
    below, pair = draw_panels(panels), order[:2]
    size = {"height": below.shape[1] // 2, "width": below.shape[1]}
    above = scatter_classes(
        codes.drawn[:, pair], codes.classes, prior[: len(codes.drawn), pair], **size
    )
    return np.concatenate([above, below])


def in_order(name: str, values: Tensor) -> dict[str, Points]:
    """Values of units as a curve."""
    return {name: [(float(k), value) for k, value in enumerate(values.tolist())]}


def densities(values: Tensor, prior: Tensor) -> dict[str, Points]:
    """The densities of codes (N,) and of the prior's draws (M,), by histograms of the same bins."""
    low, high = prior.min().item(), prior.max().item()
    width = max(high - low, 1e-6) / BINS
    middles = (low + width * (torch.arange(BINS) + 0.5)).tolist()
    found = {}
    for name, draws in (("codes", values.clamp(low, high)), ("prior", prior)):
        heights = torch.histc(draws, BINS, low, low + BINS * width) / len(draws) / width
        found[name] = list(zip(middles, heights.tolist(), strict=True))
    return found
