"""Numbers as colours, from black by red to pale yellow, and the strip that says which is which."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .curves import INK, PAPER
from .images import GAP

RAMP = torch.tensor([(0, 0, 0), (75, 15, 85), (190, 45, 60), (245, 140, 35), (255, 250, 200)])
STRIP, TEXT = 10, 18  # heights in pixels


def heat(values: Tensor) -> Tensor:
    """Colours, uint8 (N, 3, H, W), of values (N, H, W) from 0 to 1; those outside are clamped."""
    place = values.float().cpu().clamp(0, 1) * (len(RAMP) - 1)
    below = place.floor().clamp(max=len(RAMP) - 2)
    ramp, k = RAMP.float(), below.long()
    mixed = torch.lerp(ramp[k], ramp[k + 1], (place - below)[..., None])
    return mixed.round().to(torch.uint8).permute(0, 3, 1, 2)


def with_strip(picture: np.ndarray, low: str, high: str) -> np.ndarray:
    """A picture (H, W, 3) above the ramp, with what its two ends stand for."""
    width = picture.shape[1]
    strip = Image.new("RGB", (width, STRIP + TEXT + GAP), PAPER)
    ramp = heat(torch.linspace(0, 1, width - 2 * GAP).expand(1, STRIP, -1))[0]
    strip.paste(Image.fromarray(ramp.permute(1, 2, 0).numpy()), (GAP, 0))
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(12)
    draw.text((GAP, STRIP + 2), low, INK, font, anchor="lt")
    draw.text((width - GAP, STRIP + 2), high, INK, font, anchor="rt")
    return np.concatenate([picture, np.asarray(strip)])
