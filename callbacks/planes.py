"""Codes of two numbers as points of a plane, with the prior's circles."""

import colorsys

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .curves import INK, PALE, PAPER, SHARPER

FAR = 4.0  # standard deviations of the prior, from the middle to the nearest border


def scatter_classes(points: Tensor, classes: Tensor | None, height: int, width: int) -> np.ndarray:
    """Points (N, 2) as levels (height, width, 3), around the circles of a standard normal prior.

    Arguments:
        points: Those that are farther than the borders are drawn at these.
        classes: Whose colours the points have, (N,); without any they have one.
        height: Pixels.
        width: Pixels.
    """
    paper = Image.new("RGB", (width * SHARPER, height * SHARPER), PAPER)
    draw, font = ImageDraw.Draw(paper), ImageFont.load_default(11 * SHARPER)
    scale = height * SHARPER / 2 / FAR
    middle = width * SHARPER / 2, height * SHARPER / 2

    def circle(x: float, y: float, radius: float, **kwargs: object) -> None:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), **kwargs)  # type: ignore[arg-type]

    for deviations in (1, 2, 3):
        circle(*middle, deviations * scale, outline=PALE, width=2 * SHARPER)
    names = [] if classes is None else sorted(set(classes.tolist()))
    shades = {name: shade(k, len(names)) for k, name in enumerate(names)}
    across, down = (m / scale - 1.5 * SHARPER / scale for m in middle)
    for at, (x, y) in enumerate(points.tolist()):
        x, y = min(max(x, -across), across), min(max(y, -down), down)
        colour = INK if classes is None else shades[classes[at].item()]
        circle(middle[0] + x * scale, middle[1] - y * scale, 1.5 * SHARPER, fill=colour)
    for k, name in enumerate(names):
        corner = (12 * SHARPER, (12 + 16 * k) * SHARPER)
        draw.text(corner, str(name), shades[name], font, anchor="lt")
    return np.asarray(paper.resize((width, height), Image.Resampling.LANCZOS))


def shade(k: int, count: int) -> tuple[int, int, int]:
    """The k-th of so many colours that are far from each other."""
    red, green, blue = colorsys.hls_to_rgb(k / max(count, 1), 0.42 if k % 2 else 0.55, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)
