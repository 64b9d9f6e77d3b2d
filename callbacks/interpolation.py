"""Pictures of the way from one latent to another."""

from typing import Literal, cast

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from lightning_gen.capabilities import Decoder
from lightning_gen.randomness import Noise

from .images import grid, show
from .periodic import Periodic
from .sampling import attributes_for


class Interpolation(Periodic):
    """Draws rows of images between two latents each, the same latents every time.

    Arguments:
        rows: How many ways.
        columns: Images on each, its two ends included.
        path: `spherical` keeps to the shell where a normal prior has its mass; `linear` suits a
            uniform one.
        kwargs: See `Periodic`.
    """

    needs = (Decoder,)

    def __init__(
        self,
        rows: int = 8,
        columns: int = 10,
        path: Literal["spherical", "linear"] = "spherical",
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = False,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if rows < 1 or columns < 2:
            raise ValueError(f"rows must be at least 1 and columns 2, got {rows} and {columns}")
        if path not in ("spherical", "linear"):
            raise ValueError(f"path must be spherical or linear, got {path}")
        self.rows, self.columns = rows, columns
        self.between = spherical if path == "spherical" else linear

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        decoder = cast(Decoder, model)
        noise = Noise(("interpolation",), 2 * self.rows, device=model.device)
        start, end = decoder.latent(2 * self.rows, noise).chunk(2)
        weights = torch.linspace(0, 1, self.columns, device=start.device, dtype=start.dtype)
        way = torch.stack([self.between(start, end, weight) for weight in weights], 1)
        labels = self.labels(trainer, model)
        if labels is not None:
            labels = labels.repeat_interleave(self.columns, 0)
        images = decoder.decode(way.flatten(0, 1), labels)
        masks = getattr(model, "has_masks", False)
        show(trainer, "interpolation", grid(images, self.columns, masks=masks))

    def labels(self, trainer: Trainer, model: LightningModule) -> Tensor | None:
        """One class or one row of attributes for each way, where the model is told of them."""
        noise = Noise(("interpolation",), self.rows, device=model.device)
        attributes = attributes_for(model, getattr(trainer, "datamodule", None), noise)
        classes = getattr(model, "num_classes", None)
        if attributes is not None or not classes:
            return attributes
        return torch.arange(self.rows, device=model.device) % classes


def linear(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """Codes (B, D) on the line from `start` to `end`."""
    return torch.lerp(start, end, weight)


def spherical(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """Codes (B, D) on the great arc from `start` to `end`; where there is none, on the line.

    References:
        | Animating Rotation with Quaternion Curves (Shoemake, 1985)
        | https://doi.org/10.1145/325334.325242
    """
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=1).clamp(-1, 1)
    angle = cosine.acos().unsqueeze(1)
    sine = angle.sin()
    arc = (((1 - weight) * angle).sin() * start + (weight * angle).sin() * end) / sine
    return torch.where(sine < 1e-4, linear(start, end, weight), arc)
