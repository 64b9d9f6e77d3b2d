"""Points of the plane as a picture: samples over data, what the critic thinks, gradients so far."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image, ImageDraw
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from lightning_gen.capabilities import Sampler
from lightning_gen.randomness import Noise
from lightning_gen.tracking import run_folder

from .curves import COLOURS, INK, PALE, SHARPER, WIDTH, Points, draw_panels, read_curves
from .data import data_module
from .images import save_picture, show
from .periodic import Periodic

CELLS = 120  # of the critic's surface, a side
BANDS = 14  # of its values, evenly from the least to the greatest
MARGIN = 0.15  # around the data, of its extent
LOW, MIDDLE, HIGH = (205, 220, 240), (250, 250, 250), (245, 218, 200)
REAL, FAKE = COLOURS[0], COLOURS[1]


class PointsPicture(Periodic):
    """Draws samples over data points, `samples/<step>.png`; the newest is `latest.png`.

    Behind them is the critic's value over the plane, in even steps from blue, low, to orange, high,
    where the model can `judge` points, with a `discriminator` that asks for no labels. Below, the
    logarithm to base 10 of each player's gradient norm over training, where they are logged to the
    run's `metrics.csv`.

    Arguments:
        n: How many samples, on the same latents every time, and how many test points.
        kwargs: See `Periodic`.
    """

    needs = (Sampler,)

    def __init__(
        self,
        n: int = 1000,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = True,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        self.n = n

    def setup(self, trainer: Trainer, model: LightningModule, stage: str) -> None:
        super().setup(trainer, model, stage)
        shape = getattr(data_module(trainer, self), "shape", None)
        if shape is None or tuple(shape) != (2, 1, 1):
            raise ValueError(
                f"PointsPicture draws points, of shape (2, 1, 1), not images of shape {shape}; take "
                "SampleGrid"
            )

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        test = data_module(trainer, self).images("test")
        real = test[torch.arange(min(self.n, len(test)))][0].flatten(1)
        noise = Noise(("grid",), self.n, device=model.device)
        fake = cast(Sampler, model).sample(self.n, None, noise).flatten(1).float().cpu()
        left, top, extent = window(real)
        picture = scatter(real, fake, surface(model, left, top, extent))
        curves = gradient_norms(trainer)
        if curves:
            norms = draw_panels({"gradient norms, log10": curves})
            picture = np.concatenate([picture, norms])
        show(trainer, "samples", picture)


def scatter(real: Tensor, fake: Tensor, values: np.ndarray | None = None) -> np.ndarray:
    """Points (N, 2) of data, blue, and of a model, orange, as levels (H, W, 3).

    Arguments:
        real: Fixes what part of the plane is shown.
        fake: Points outside of it, or that are no numbers, are left out.
        values: The critic's, (CELLS, CELLS) from the top left, if any.
    """
    left, top, extent = window(real)
    side = WIDTH * SHARPER
    paper = np.full((side, side, 3), 255, np.uint8) if values is None else contours(values, side)
    picture = Image.fromarray(paper)
    draw, radius = ImageDraw.Draw(picture), 1.5 * SHARPER
    for points, colour in ((real, REAL), (fake, FAKE)):
        across = (points[:, 0] - left) / extent * side
        down = (top - points[:, 1]) / extent * side
        shown = torch.stack([across, down], 1)[points.isfinite().all(1)]
        for x, y in shown.tolist():
            if 0 <= x <= side and 0 <= y <= side:
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)
    draw.rectangle((0, 0, side - 1, side - 1), outline=PALE, width=SHARPER)
    return np.asarray(picture.resize((WIDTH, WIDTH), Image.Resampling.LANCZOS))


def window(points: Tensor) -> tuple[float, float, float]:
    """The left and the top of a square around points (N, 2) and the origin, and its side's length."""
    low, high = points.amin(0).clamp(max=0), points.amax(0).clamp(min=0)
    extent = (high - low).max().item() * (1 + 2 * MARGIN) or 1.0
    middle = (low + high) / 2
    return middle[0].item() - extent / 2, middle[1].item() + extent / 2, extent


def surface(model: Any, left: float, top: float, extent: float) -> np.ndarray | None:
    """The critic's values at the middles of CELLS x CELLS cells of a square, from the top left.

    They are what the model judges by, which need not be the output of its discriminator. A model
    that judges nothing, or only with labels, has none.
    """
    critic = getattr(model, "discriminator", None)
    if not hasattr(model, "judge") or getattr(critic, "num_classes", None) is not None:
        return None
    middles = (torch.arange(CELLS, dtype=torch.float64) + 0.5) / CELLS * extent
    down, across = torch.meshgrid(top - middles, left + middles, indexing="ij")
    points = torch.stack([across, down], -1).view(-1, 2, 1, 1)
    batch = model.to_batch((points.to(model.device, model.dtype), None))
    values = model.judge(batch.images, batch).float().view(CELLS, CELLS).cpu().numpy()
    return values if np.isfinite(values).all() else None


def contours(values: np.ndarray, side: int) -> np.ndarray:
    """Values (H, W) as bands of colour with lines between them, levels (side, side, 3)."""
    smooth = Image.fromarray(values.astype(np.float32))  # mode F
    fine = np.asarray(smooth.resize((side, side), Image.Resampling.BICUBIC))
    low, high = float(values.min()), float(values.max())
    scaled = (fine - low) / max(high - low, 1e-12) * BANDS
    bands = np.clip(scaled.astype(int), 0, BANDS - 1)
    paper = np.stack([ramp(channel) for channel in range(3)], 1)[bands]
    edge = np.zeros(bands.shape, bool)
    edge[1:] |= bands[1:] != bands[:-1]
    edge[:, 1:] |= bands[:, 1:] != bands[:, :-1]
    paper[edge] = [(level + 2 * ink) // 3 for level, ink in zip(PALE, INK, strict=True)]
    return paper


def ramp(channel: int) -> np.ndarray:
    """One channel of the colours of all bands, (BANDS,)."""
    stops = [colour[channel] for colour in (LOW, MIDDLE, HIGH)]
    return np.interp(np.linspace(0, 2, BANDS), [0, 1, 2], stops).astype(np.uint8)


def gradient_norms(trainer: Trainer) -> Mapping[str, Points]:
    """Each player's gradient norms so far, as logarithms to base 10 by images seen."""
    for logger in trainer.loggers:
        logger.save()
    source = run_folder(trainer) / "metrics.csv"
    curves = read_curves(source) if source.exists() else {}
    return {
        key.partition("/")[0]: [(seen, math.log10(value)) for seen, value in points if value > 0]
        for key, points in curves.items()
        if key.endswith("/gradient_norm") and any(value > 0 for _, value in points)
    }


def save_points(samples: Tensor, path: str | Path) -> None:
    """Writes samples (N, 2, 1, 1) as a picture of points."""
    points = samples.flatten(1).float().cpu()
    if not points.isfinite().all():
        raise ValueError("the samples are no numbers, so there is nothing to draw")
    save_picture(Path(path), scatter(points, points))
