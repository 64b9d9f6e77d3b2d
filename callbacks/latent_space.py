"""What the units of a code stand for, and how the codes of images lie in their prior."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from lightning_gen.analysis.units import active_units, activity
from lightning_gen.capabilities import Decoder, Encoder
from lightning_gen.randomness import Noise
from lightning_gen.tracking import publish

from .curves import Points, draw_panels
from .data import FirstImages, conditions, data_module, inputs
from .images import grid, show
from .periodic import Periodic
from .planes import scatter_classes

AT_A_TIME = 500  # images
BINS, FAR = 40, 4.0  # of densities, which are drawn that many standard deviations of the prior far


@runtime_checkable
class CodeSampler(Protocol):
    """Draws codes of images."""

    def draw_codes(self, x: Tensor, labels: Tensor | None, noise: Noise) -> Tensor:
        """A code from the posterior of each image, (B, D)."""


class Codes(NamedTuple):
    """The codes of images (N, C, H, W)."""

    means: Tensor  # of the posteriors, (N, D)
    drawn: Tensor  # from the posteriors, (N, D), or the means where the model draws none
    classes: Tensor | None  # of the images, (N,)


class LatentSpace(Periodic):
    """Draws what codes change in images, and where the codes of images are.

    - `traversal`: each row is an image whose code is changed in one unit alone, from the low to the
      high end of a standard normal prior. Units are in the order of their activity.
    - `manifold`: the two most active units take the quantiles of that prior, the others stay 0. Of
      codes with two units it shows all that the model can make.
    - `posterior`: codes drawn from the posteriors of images, of the two most active units, coloured
      by class, on the circles of one, two and three standard deviations of the prior; below the densities of
      these units over all images beside the prior's, and the activity of all units.

    How many units are active, so that the means of their posteriors vary by more than 0.01, is
    logged as `active_units`.

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
        self.first = FirstImages(images, split)

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        active = 0
        images, labels = self.first.of(data_module(trainer, self))
        if trainer.is_global_zero and len(images) > 1:
            active = self.draw(trainer, model, images, labels)
        active = trainer.strategy.broadcast(active)
        if active:
            publish(trainer, {"active_units": float(active - 1)})

    def draw(self, trainer: Trainer, model: LightningModule, images: Tensor, labels: Tensor) -> int:
        """Shows the pictures; one more than the units that are active."""
        codes = codes_of(model, images, labels)
        order = activity(codes.means).argsort(descending=True, stable=True)
        known, masks = conditions(model, labels[:1]), getattr(model, "has_masks", False)
        decoder = cast(Decoder, model)

        def decoded(z: Tensor) -> Tensor:
            given = None if known is None else known.expand(len(z), *known.shape[1:])
            return decoder.decode(z.to(model.device), given).float().cpu()

        rows = traversal(codes.means[0], order[: self.units], self.columns)
        made = decoded(rows.flatten(0, 1))
        show(trainer, "traversal", grid(made, self.columns, masks=masks))
        if len(order) > 1:
            plane = manifold(codes.means[0], order[:2], self.side)
            show(trainer, "manifold", grid(decoded(plane), self.side, masks=masks))
            show(trainer, "posterior", picture(codes, order))
        return 1 + int(active_units(codes.means).sum())


def codes_of(model: LightningModule, images: Tensor, labels: Tensor) -> Codes:
    """The codes of images; a model that is conditioned on classes is told them."""
    means, drawn, encoder = (
        [],
        [],
        cast(Any, model),
    )  # only those that know classes are told of them
    for start in range(0, len(images), AT_A_TIME):
        x = inputs(model, images[start : start + AT_A_TIME])
        known = conditions(model, labels[start : start + AT_A_TIME])
        means.append(encoder.encode(x) if known is None else encoder.encode(x, known))
        noise = Noise(("posterior", start), len(x), device=model.device)
        draws = isinstance(model, CodeSampler)
        drawn.append(encoder.draw_codes(x, known, noise) if draws else means[-1])
    classes = labels if labels.dim() == 1 and not labels.is_floating_point() else None
    return Codes(torch.cat(means).float().cpu(), torch.cat(drawn).float().cpu(), classes)


def quantiles(count: int) -> Tensor:
    """Values (count,) with the same share of a standard normal number below, between and above."""
    return torch.special.ndtri((torch.arange(count) + 0.5) / count)


def traversal(code: Tensor, units: Tensor, columns: int) -> Tensor:
    """Codes (U, columns, D) that differ from one, (D,), in one unit in each row."""
    rows = code.repeat(len(units), columns, 1)
    for row, unit in zip(rows, units.tolist(), strict=True):
        row[:, unit] = quantiles(columns)
    return rows


def manifold(code: Tensor, units: Tensor, side: int) -> Tensor:
    """Codes (side * side, D), by rows, of which two units take all pairs of values; others are 0."""
    plane = torch.zeros(side, side, len(code))
    plane[:, :, units[0]] = quantiles(side)
    plane[:, :, units[1]] = quantiles(side).flip(0)[:, None]
    return plane.flatten(0, 1)


def picture(codes: Codes, order: Tensor) -> np.ndarray:
    """Codes of the two most active units in the plane, above densities and activities, levels."""
    points = codes.drawn[:, order[:2]]
    panels: dict[str, Mapping[str, Points]] = {}
    for unit in order[:2].tolist():
        panels[f"unit {unit}: codes of images, and the prior"] = densities(codes.drawn[:, unit])
    varied = activity(codes.means)[order]
    panels["log10 of the activity of units, in order"] = {
        "activity": [(float(k), v) for k, v in enumerate(varied.clamp(min=1e-8).log10().tolist())]
    }
    below = draw_panels(panels, columns=3)
    above = scatter_classes(points, codes.classes, height=below.shape[1] // 2, width=below.shape[1])
    return np.concatenate([above, below])


def densities(values: Tensor) -> dict[str, Points]:
    """The density of values (N,) by a histogram, and that of the prior."""
    width = 2 * FAR / BINS
    middles = -FAR + width * (torch.arange(BINS) + 0.5)
    counts = torch.histc(values.clamp(-FAR, FAR), BINS, -FAR, FAR)
    prior = (-0.5 * middles.square()).exp() / (2 * torch.pi) ** 0.5
    both = {"codes": counts / len(values) / width, "prior": prior}
    return {name: list(zip(middles.tolist(), y.tolist(), strict=True)) for name, y in both.items()}
