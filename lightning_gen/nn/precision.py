"""In which precision sums are taken."""

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """At least single precision, as statistics of many values need it."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
