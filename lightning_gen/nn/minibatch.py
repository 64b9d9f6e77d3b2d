"""Features by which a discriminator sees how alike the images of a batch are."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from .processes import gathered, processes


class MinibatchDiscrimination(nn.Module):
    r"""Joins to features (B, F) how close each image is to the others, (B, F + kernels).

    With a row of :math:`M_{i,k}` for image :math:`i` and kernel :math:`k`, it joins

    .. math:: o_k(x_i) = \sum_{j \ne i} \exp(-\|M_{i,k} - M_{j,k}\|_1).

    The paper's sum has :math:`j = i` too, which adds 1 everywhere. In training the others are the
    images of all processes, which have to run it equally often and have equally many each.

    References:
        | Improved Techniques for Training GANs (Salimans et al., 2016), Section 3.2
        | https://arxiv.org/abs/1606.03498

    Arguments:
        inputs: F.
        kernels: How many kinds of closeness it looks for.
        kernel_size: Length of the rows that are compared.
    """

    def __init__(self, inputs: int, kernels: int, kernel_size: int = 5) -> None:
        super().__init__()
        self.kernels, self.kernel_size = kernels, kernel_size
        self.rows = nn.Linear(inputs, kernels * kernel_size, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        rows = self.rows(features).unflatten(1, (self.kernels, self.kernel_size))
        together = self.training and processes() > 1
        every, first = (gathered(rows), dist.get_rank() * len(rows)) if together else (rows, 0)
        distances = (rows[:, None] - every[None]).abs().sum(-1)  # (B, all, kernels)
        itself = torch.arange(first, first + len(rows), device=rows.device)
        others = 1 - F.one_hot(itself, len(every)).to(rows)
        closeness = ((-distances).exp() * others[..., None]).sum(1)
        return torch.cat([features, closeness], dim=1)
