"""In which precision losses are computed."""

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """A tensor in single precision if it is in half, which has too few bits to add up."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
