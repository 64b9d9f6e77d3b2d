"""python -m benchmarks.figures.ways_up: what a decoder's way from coarse maps to fine ones costs and leaves.

The same encoder, which pools, and the same decoder but for its way up, are trained for as many steps on
the same images. Unpooling by switches is shown beside the others but does not compare: the switches tell of
an image, with 7 x 7 x 32 + 14 x 14 x 16 places, what its 16 codes do not. From codes alone that decoder has
to put everything at the top left, where it has never been in training: that is the row below.
"""

import lightning_gen._torchvision  # isort: skip  # noqa: F401

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from tqdm import tqdm

from callbacks.curves import INK
from callbacks.images import check_suffix, grid, save_picture
from datamodules import DATASETS
from lightning_gen.levels import from_levels
from lightning_gen.models.autoencoders import Autoencoder
from lightning_gen.models.base import Batch
from lightning_gen.networks.bottleneck import ConvCoder, UpsamplingDecoder
from lightning_gen.nn.bottleneck import WayUp
from lightning_gen.optimizers import FusedAdam
from lightning_gen.randomness import Noise, stream

SHAPE, CODES, WIDTHS, BATCH, COLUMNS = (1, 28, 28), 16, (16, 32), 64, 12
WAYS: dict[str, tuple[WayUp, bool]] = {  # by the title of a row: the way, and with switches or not
    "nearest": ("nearest", False),
    "bilinear": ("bilinear", False),
    "unpool, fixed": ("unpool", False),
    "transposed": ("transposed", False),
    "unpool, switches": ("unpool", True),
}
FROM_CODES = "its codes alone"
TITLE = 128  # pixels to the left of a row


class Found(NamedTuple):
    """What became of a way up."""

    error: float  # mean over sub-pixels of test images, in [0, 1]
    parameters: int  # of the decoder
    milliseconds: float  # a step
    images: Tensor  # (COLUMNS, 1, 28, 28)


def trained(way: WayUp, switches: bool, images: Tensor, steps: int) -> tuple[Autoencoder, float]:
    """An autoencoder and the seconds that its training took."""
    torch.manual_seed(0)
    decoder = UpsamplingDecoder(SHAPE, CODES, WIDTHS, way, switches)
    model = Autoencoder(ConvCoder(SHAPE, CODES, WIDTHS, "pool"), decoder)
    optimizer, order = FusedAdam(model.parameters(), lr=2e-3), stream("ways up")
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    start = time.process_time()  # one thread
    for step in tqdm(range(steps), desc=way, leave=False):
        x = from_levels(images[torch.randint(len(images), (BATCH,), generator=order)])
        optimizer.zero_grad()
        model.terms(Batch(x, None, Noise(("ways up", step), BATCH)))["loss"].backward()
        optimizer.step()
        schedule.step()
    return model.eval(), time.process_time() - start


@torch.no_grad()
def measured(train: Tensor, test: Tensor, steps: int) -> dict[str, Found]:
    """Every way by its title."""
    found, x = {}, from_levels(test)

    def add(title: str, model: Autoencoder, seconds: float, made: Tensor) -> None:
        error = (made - x).square().mean().item() / 4
        parameters = sum(p.numel() for p in model.decoder.parameters())
        found[title] = Found(error, parameters, 1000 * seconds / steps, made[:COLUMNS])

    for title, (way, switches) in WAYS.items():
        with torch.enable_grad():
            model, seconds = trained(way, switches, train, steps)
        add(title, model, seconds, model.reconstruct(x))
    add(FROM_CODES, model, seconds, model.decode(model.encode(x)))
    return found


def picture(images: Tensor, found: dict[str, Found]) -> np.ndarray:
    """Images above what became of them, levels (H, W, 3)."""
    rows = {"images": images, **{title: way.images for title, way in found.items()}}
    levels = grid(torch.cat(list(rows.values())), COLUMNS)
    paper = Image.new("RGB", (TITLE + levels.shape[1], levels.shape[0]), "white")
    paper.paste(Image.fromarray(levels), (TITLE, 0))
    draw = ImageDraw.Draw(paper)
    for k, title in enumerate(rows):
        height = int((k + 0.5) * levels.shape[0] / len(rows))
        draw.text((TITLE - 8, height), title, INK, ImageFont.load_default(13), anchor="rm")
    return np.asarray(paper)


def main() -> None:
    """Trains, prints the table and draws the figure."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.figures.ways_up", description=__doc__
    )
    parser.add_argument("--data", default="digits", choices=("digits", "mnist", "fashion_mnist"))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=Path("docs/images/ways-up.png"))
    options = parser.parse_args()
    check_suffix(options.output)
    torch.set_num_threads(1)
    data = DATASETS[options.data]()
    data.prepare_data()
    parts = {split: data.images(split) for split in ("train", "test")}
    train, test = (part[torch.arange(len(part))][0] for part in parts.values())
    test = test[:1000]
    found = measured(train, test, options.steps)
    print("| way up | error | decoder's parameters | ms a step |\n| --- | --- | --- | --- |")
    for title, way in found.items():
        cost = f"{way.parameters:,} | {way.milliseconds:.1f}"
        print(f"| {title} | {way.error:.5f} | {cost} |")
    save_picture(options.output, picture(from_levels(test[:COLUMNS]), found))
    print(f"figure       {options.output}")


if __name__ == "__main__":
    main()
