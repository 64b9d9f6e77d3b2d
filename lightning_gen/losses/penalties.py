"""Penalties on the slope of a discriminator."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    t: Tensor,
    one_sided: bool = False,
) -> Tensor:
    r"""Two-sided penalty :math:`E[(\|\nabla_x D(x)\|_2 - 1)^2]` between real and generated images.

    Arguments:
        critic: Maps images (B, C, H, W) to logits, one or more for each image, image by image.
        real: Real images, (B, C, H, W).
        fake: Generated images, (B, C, H, W).
        t: Where on the line from real to fake each image lies, (B,) in [0, 1].
        one_sided: Penalise only slopes above 1.

    Returns:
        The penalty, a scalar in the precision of the real images.

    References:
        | Improved Training of Wasserstein GANs (Gulrajani et al., 2017), Algorithm 1
        | https://arxiv.org/abs/1704.00028
    """
    if real.shape != fake.shape:
        raise ValueError(
            f"real images {tuple(real.shape)} and fakes {tuple(fake.shape)} must match"
        )
    # The inner gradient is not loss-scaled, so half precision would flush it to zero.
    with torch.autocast(real.device.type, enabled=False):
        t = t.view(-1, *[1] * (real.dim() - 1))
        x = torch.lerp(real, fake.detach().to(real), t).requires_grad_()
        (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        excess = slope.flatten(1).norm(dim=1) - 1
        return (F.relu(excess) if one_sided else excess).square().mean()


def zero_centred_penalty(critic: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    r"""The mean squared slope :math:`E[\|\nabla_x D(x)\|_2^2]` at images.

    Half of it at real images is :math:`R_1`, to be weighted by :math:`\gamma`; at generated ones it
    is :math:`R_2`.

    Arguments:
        critic: Maps images (B, C, H, W) to logits, one or more for each image, image by image.
        images: Where the slope is taken, (B, C, H, W).

    Returns:
        The penalty, a scalar in the precision of the images.

    References:
        | Which Training Methods for GANs do actually Converge? (Mescheder et al., 2018), Equation 9
        | https://arxiv.org/abs/1801.04406
    """
    with torch.autocast(images.device.type, enabled=False):  # as in `gradient_penalty`
        x = images.detach().requires_grad_()
        (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        return slope.square().flatten(1).sum(1).mean()
