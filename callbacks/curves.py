"""The course of a run as one picture."""

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pytorch_lightning import Callback, LightningModule, Trainer

from lightning_gen.tracking import run_folder

from .images import save_picture

Points = list[tuple[float, float]]  # (images seen, value)

WIDTH, HEIGHT = 480, 300  # of a panel, pixels
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 34, 30  # margins inside it
INK, PALE, PAPER = (40, 40, 40), (225, 225, 225), (255, 255, 255)
COLOURS = [
    (31, 119, 180),
    (214, 96, 39),
    (44, 140, 80),
    (148, 80, 170),
    (120, 90, 80),
    (200, 60, 110),
]
SHARPER = 2  # drawn so many times larger, then reduced: Pillow's lines are jagged
TOGETHER = {"accuracy_real": "accuracy", "accuracy_fake": "accuracy"}  # terms in one panel
APART = {"step", "epoch", "images_seen", "images_per_second", "waiting_share", "peak_memory_gb"}
SCORES = ("fid", "kid", "nll", "bpd", "modes", "quality", "mode_kl", "accuracy", "mse")


class Curves(Callback):
    """Draws `curves.png` from the run's `metrics.csv` when a fit ends: losses and scores by images seen."""

    on_train_batch_start = None  # type: ignore[assignment]  # left out of a step
    on_train_batch_end = None  # type: ignore[assignment]

    def on_fit_end(self, trainer: Trainer, model: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.save()
        source = run_folder(trainer) / "metrics.csv"
        curves = read_curves(source) if source.exists() else {}
        if curves:
            save_picture(source.with_name("curves.png"), draw_panels(panels(curves)))


def read_curves(path: Path) -> dict[str, Points]:
    """What a metrics.csv holds: for each key, its finite values by images seen."""
    curves: dict[str, Points] = defaultdict(list)
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            seen = float(row.get("images_seen") or row.get("step") or 0)
            for key, text in row.items():
                if key not in APART and text and math.isfinite(value := float(text)):
                    curves[key].append((seen, value))
    return {key: sorted(points) for key, points in curves.items()}


def panels(curves: Mapping[str, Points]) -> dict[str, dict[str, Points]]:
    """Which curves share a panel: scores by kind, and terms of the same name of different players."""
    grouped: dict[str, dict[str, Points]] = defaultdict(dict)
    for key, points in sorted(curves.items()):
        first, _, last = key.partition("/")
        score = first in SCORES
        grouped[first if score or not last else TOGETHER.get(last, last)][key] = points
    order = sorted(grouped, key=lambda name: (name not in SCORES, name != "loss", name))
    return {name: grouped[name] for name in order}


def draw_panels(grouped: Mapping[str, Mapping[str, Points]], columns: int = 2) -> np.ndarray:
    """All panels side by side, as levels (H, W, 3)."""
    columns = min(columns, len(grouped))
    rows = -(-len(grouped) // columns)
    paper = Image.new("RGB", (columns * WIDTH, rows * HEIGHT), PAPER)
    for k, (title, curves) in enumerate(grouped.items()):
        paper.paste(_panel(title, curves), (k % columns * WIDTH, k // columns * HEIGHT))
    return np.asarray(paper)


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers between two others."""
    raw = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw)
    return [
        step * k for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def _panel(title: str, curves: Mapping[str, Points]) -> Image.Image:
    big = Image.new("RGB", (WIDTH * SHARPER, HEIGHT * SHARPER), PAPER)
    draw, font = ImageDraw.Draw(big), ImageFont.load_default(11 * SHARPER)
    (left, right), (low, high) = (
        _limits([p[axis] for c in curves.values() for p in c]) for axis in (0, 1)
    )

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - left) / (right - left) * (WIDTH - LEFT - RIGHT)
        return across * SHARPER, (
            TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM)
        ) * SHARPER

    for tick in ticks(low, high):
        draw.line([place(left, tick), place(right, tick)], PALE, SHARPER)
        x, y = place(left, tick)
        draw.text((x - 6 * SHARPER, y), f"{tick:.4g}", INK, font, anchor="rm")
    for tick in ticks(left, right):
        x, y = place(tick, low)
        draw.text((x, y + 6 * SHARPER), short(tick), INK, font, anchor="mt")
    draw.text((LEFT * SHARPER, 8 * SHARPER), title, INK, ImageFont.load_default(13 * SHARPER))
    end = float((WIDTH - RIGHT) * SHARPER)
    for k, (name, points) in reversed(list(enumerate(curves.items()))):
        colour = COLOURS[k % len(COLOURS)]
        _curve(draw, [place(*point) for point in points], colour)
        if len(curves) > 1 or name != title:
            draw.text((end, 10 * SHARPER), name, colour, font, anchor="rt")
            end -= draw.textlength(name, font) + 12 * SHARPER
    return big.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _curve(draw: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], colour: tuple) -> None:
    for pair in pairwise(points):
        draw.line(pair, colour, 2 * SHARPER)
    radius = 1.5 * SHARPER if len(points) > 40 else 2.5 * SHARPER
    for x, y in points if len(points) <= 40 else points[-1:]:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high:
        return low - 0.5, high + 0.5
    return low, high


def short(count: float) -> str:
    """A count of images as on an axis: 2k, 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= size:
            return f"{count / size:.4g}{letter}"
    return f"{count:.4g}"
