"""Codes of two numbers as points of a plane, on draws from their prior."""

import colorsys

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .curves import INK, PALE, PAPER, SHARPER

ROOM = 1.05  # from the middle to the nearest border, in the largest distance of a draw of the prior


def scatter_classes(
    points: Tensor, classes: Tensor | None, prior: Tensor, height: int, width: int
) -> np.ndarray:
    """Points (N, 2) as levels (height, width, 3), on pale ones that are draws from the prior.

    Arguments:
        points: Those that are farther than the borders are drawn at these.
        classes: Whose colours the points have, (N,); without any they have one.
        prior: Draws, (M, 2), of which the farthest are near the nearest borders.
        height: Pixels.
        width: Pixels.
    """
    paper = Image.new("RGB", (width * SHARPER, height * SHARPER), PAPER)
    draw, font = ImageDraw.Draw(paper), ImageFont.load_default(11 * SHARPER)
    middle = (prior.amin(0) + prior.amax(0)) / 2
    reach = max(ROOM * (prior - middle).abs().max().item(), 1e-6)
    scale, radius = height * SHARPER / 2 / reach, 1.8 * SHARPER

    def dots(places: Tensor, colours: list[tuple[int, int, int]]) -> None:
        across, down = ((places - middle) * scale).unbind(1)
        right, bottom = width * SHARPER / 2, height * SHARPER / 2
        xs = (right + across.clamp(radius - right, right - radius)).tolist()
        ys = (bottom - down.clamp(radius - bottom, bottom - radius)).tolist()
        for x, y, colour in zip(xs, ys, colours, strict=True):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)

    dots(prior, [PALE] * len(prior))
    names = [] if classes is None else sorted(set(classes.tolist()))
    shades = {name: shade(k, len(names)) for k, name in enumerate(names)}
    dots(points, [INK] * len(points) if classes is None else [shades[c] for c in classes.tolist()])
    for k, name in enumerate(names):
        corner = (12 * SHARPER, (12 + 16 * k) * SHARPER)
        draw.text(corner, str(name), shades[name], font, anchor="lt")
    return np.asarray(paper.resize((width, height), Image.Resampling.LANCZOS))


def shade(k: int, count: int) -> tuple[int, int, int]:
    """The k-th of so many colours that are far from each other."""
    red, green, blue = colorsys.hls_to_rgb(k / max(count, 1), 0.42 if k % 2 else 0.55, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)
