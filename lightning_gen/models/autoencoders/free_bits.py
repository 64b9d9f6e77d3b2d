"""Free bits: divergences that cost as much as a least one, so that there is nothing to gain by less.

References:
    | Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016)
    | Section C.8, https://arxiv.org/abs/1606.04934
"""

import torch
from torch import Tensor

from ...nn.processes import processes, summed


def floored(divergence: Tensor, least: float) -> Tensor:
    """The divergences (B, G) averaged over images, none below `least` nats, then summed over groups.

    Which are below is a matter of the images of all processes.
    """
    mean = divergence.mean(0)
    # Each process keeps the gradient of its own images, and the mean over processes is exact.
    everywhere = mean.detach()
    if processes() > 1:
        everywhere = summed(everywhere) / processes()
    return torch.where(everywhere > least, mean, least).sum()
