"""Normalisation by a reference batch, as Improved GAN has it."""

import torch
from torch import Tensor, nn

from .precision import wide


class VirtualBatchNorm(nn.Module):
    r"""Batch normalisation in which an image's neighbours are always the same reference images.

    The first :math:`R` rows of its input are the references, which are normalised as a batch of
    their own. Each other image is normalised by the mean and variance of the references and itself,
    with weight :math:`1 / (R + 1)`. So it depends on no other image, in training as in evaluation.

    References:
        | Improved Techniques for Training GANs (Salimans et al., 2016), Section 3.5
        | https://arxiv.org/abs/1606.03498

    Arguments:
        channels: C of the maps.
        references: R, the number of reference images.
        eps: Added to variances.
    """

    def __init__(self, channels: int, references: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.references, self.eps = references, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Maps references and images (R + B, C, H, W) to the same, normalised."""
        kind, x = x.dtype, wide(x)
        mean = x.mean((2, 3), keepdim=True)
        var = (x - mean).square().mean((2, 3), keepdim=True)
        own, share = slice(self.references, None), 1 / (self.references + 1)
        fixed = mean[: self.references].mean(0, keepdim=True)
        spread = (mean[: self.references] - fixed).square()
        fixed_var = (var[: self.references] + spread).mean(0, keepdim=True)
        # Variances add up with those of the means, which does not cancel as squares would.
        shift = mean[own] - fixed
        mixed_mean = fixed + share * shift
        mixed_var = (
            fixed_var + share * (var[own] - fixed_var) + share * (1 - share) * shift.square()
        )
        count = self.references
        mean = torch.cat([fixed.expand(count, -1, -1, -1), mixed_mean])
        var = torch.cat([fixed_var.expand(count, -1, -1, -1), mixed_var])
        scale = (var + self.eps).rsqrt() * self.weight.view(1, -1, 1, 1)
        return ((x - mean) * scale + self.bias.view(1, -1, 1, 1)).to(kind)
