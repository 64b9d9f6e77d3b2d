"""Grids of images as files, and where else they are shown."""

import math
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pytorch_lightning import Trainer
from torch import Tensor

from lightning_gen.files import write_bytes
from lightning_gen.levels import to_levels
from lightning_gen.tracking import run_folder

GAP, PAPER = 2, 255  # pixels between images, and their level
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
READABLE = 64  # images smaller than this are shown several times larger


def grid(images: Tensor, columns: int, scale: int | None = None, masks: bool = False) -> np.ndarray:
    """Images (N, C, H, W) in rows, as levels (H', W', 3).

    Arguments:
        images: uint8, or floats in [-1, 1]; grey or colours, each with or without alpha.
        columns: Images per row.
        scale: How many pixels a side each pixel becomes; by default as many as make it readable.
        masks: The last channel is a mask, not alpha: see `with_masks`.
    """
    images = with_masks(images, columns) if masks else images
    levels = colours(images).permute(0, 2, 3, 1)
    scale = scale or max(1, READABLE // max(levels.shape[1:3]))
    levels = levels.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    count, height, width = levels.shape[:3]
    rows = -(-count // columns)
    paper = torch.full(
        (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), PAPER, dtype=torch.uint8
    )
    for k, image in enumerate(levels):
        top, left = GAP + k // columns * (height + GAP), GAP + k % columns * (width + GAP)
        paper[top : top + height, left : left + width] = image
    return paper.numpy()


def colours(images: Tensor) -> Tensor:
    """Images as `grid` takes them, as uint8 (N, 3, H, W)."""
    levels = images if images.dtype == torch.uint8 else to_levels(images.float())
    if levels.shape[1] not in (1, 2, 3, 4):
        raise ValueError(f"images must have 1 to 4 channels, got {levels.shape[1]}")
    levels = on_white(levels) if levels.shape[1] in (2, 4) else levels
    return levels.cpu().expand(-1, 3, -1, -1)


def with_masks(images: Tensor, columns: int) -> Tensor:
    """Each row of images (N, C + 1, H, W) as they are without masks, above what these leave on white.

    The last row is filled up with white.
    """
    levels = images if images.dtype == torch.uint8 else to_levels(images.float())
    missing = levels.new_full((-len(levels) % columns, *levels.shape[1:]), PAPER)
    rows = torch.cat([levels, missing]).unflatten(0, (-1, columns))
    whole = rows.clone()
    whole[:, :, -1] = 255
    return torch.stack([whole, rows], 1).flatten(0, 2)


def on_white(levels: Tensor) -> Tensor:
    """Levels (N, C + 1, H, W), of which the last are alpha, laid on white: levels (N, C, H, W)."""
    ink, alpha = 255 - levels[:, :-1].int(), levels[:, -1:].int()
    return (255 - (ink * alpha + 127) // 255).to(torch.uint8)


def check_suffix(path: Path) -> None:
    """Raises ValueError for a path that is no picture's."""
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"a picture's name ends in {', '.join(FORMATS)}, got {path.name}")


def save_picture(path: Path, levels: np.ndarray) -> None:
    """Writes levels (H, W, 3) as a picture that is never seen half-written."""
    check_suffix(path)
    encoded = BytesIO()
    Image.fromarray(levels).save(encoded, FORMATS[path.suffix.lower()])
    write_bytes(path, encoded.getvalue())


def save_grid(
    images: Tensor, path: str | Path, columns: int | None = None, masks: bool = False
) -> None:
    """Writes images as `grid` takes them; by default the grid is a square one."""
    columns = columns or -(-len(images) // math.isqrt(len(images)))
    save_picture(Path(path), grid(images, columns, masks=masks))


def show(trainer: Trainer, name: str, levels: np.ndarray) -> None:
    """Puts a picture under `samples/` in the run's folder, and into the loggers that take pictures.

    Of samples themselves the newest is `latest.png`, of other pictures `<name>-latest.png`.
    """
    step, prefix = trainer.global_step, "" if name == "samples" else f"{name}-"
    folder = run_folder(trainer) / "samples"
    save_picture(folder / f"{prefix}latest.png", levels)
    if trainer.state.fn == "fit":  # elsewhere the step is not known
        save_picture(folder / f"{prefix}{step:08d}.png", levels)
    for logger in trainer.loggers:
        _give(logger, name, levels, step)


def _give(logger: Any, name: str, levels: np.ndarray, step: int) -> None:
    if hasattr(logger, "log_image"):  # W&B, MLflow
        logger.log_image(key=name, images=[Image.fromarray(levels)], step=step)
        return
    add_image = getattr(getattr(logger, "experiment", None), "add_image", None)
    if add_image is not None:  # TensorBoard
        add_image(name, levels, step, dataformats="HWC")
