"""What codes cost that were drawn for images: by the decoder, and by a layer of codes above."""

from collections.abc import Callable
from contextlib import nullcontext
from itertools import repeat
from math import log, pi
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ... import losses
from ...nn.precision import wide
from ...nn.roles import UpperCodes
from ...randomness import Noise
from ..base import evaluating
from ..distributions import Distribution, Gaussian
from .latent import Bound, drawn, of

# Codes at a time where no gradients are asked for. More leave the processor's cache, and their memory
# is taken anew for each piece; an accelerator waits for its calls if there are fewer.
CODES, CODES_OF_ACCELERATORS = 512, 16384


class GaussianCodes(Gaussian):
    """The density of codes as they are, by means and log-variances."""

    dequantisation = "none"

    def targets(self, x: Tensor, noise: Noise) -> Tensor:
        return x

    def nll(self, parameters: Tensor, targets: Tensor) -> Tensor:
        return losses.gaussian_nll(*self._split(parameters), targets)

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters[:, 0]

    def sample(self, parameters: Tensor, noise: Noise) -> Tensor:
        mean, log_var = self._split(parameters)
        return drawn(mean, log_var, noise.normal(*mean.shape[1:]).to(mean))[0]


class DrawnCodes(NamedTuple):
    """Codes of images that a VAE drew, and what they cost."""

    codes: Tensor  # (B, D, 1, 1), as those for whom they are images take them
    reconstruction: Tensor  # -ln p(x|z), (B,)
    log_q: Tensor  # ln q(z|x), (B,)
    divergence: Tensor  # KL(q(z|x) || N(0, 1)), (B,)

    def under(self, upper: Bound) -> Bound:
        """The bound of the images, by that of their codes as another model has it."""
        codes = (self.log_q + upper.reconstruction)[:, None]
        return Bound(self.reconstruction, torch.cat([codes, upper.divergence], 1))


def drawn_codes(
    encoder: nn.Module,
    decoder: nn.Module,
    likelihood: Distribution,
    x: Tensor,
    noise: Noise,
    fitted: bool,
) -> DrawnCodes:
    """What a VAE of these networks draws for images (B, C, H, W); in evaluation mode once fitted."""
    with evaluating(encoder) if fitted else nullcontext():
        mean, log_var = map(wide, encoder(x)[:2])
    z, log_q = drawn(mean, log_var, noise.normal(mean.shape[1]).to(mean))
    with evaluating(decoder) if fitted else nullcontext():
        costs = likelihood.nll(decoder(z), likelihood.targets(x, noise))
    divergence = losses.gaussian_divergences(mean, log_var).sum(1)
    return DrawnCodes(z[..., None, None], costs, log_q.sum(1), divergence)


def rows(normal: Callable[[Noise], Tensor], noise: Noise, k: int) -> Tensor:
    """k rows of numbers for each image, (B * k, ...), drawn one after the other; see `draws`."""
    return torch.stack([normal(noise) for _ in range(k)], 1).flatten(0, 1)


def reconstructions(
    decoder: nn.Module,
    likelihood: Distribution,
    targets: Tensor,
    z: Tensor,
    labels: Tensor | None = None,
) -> Tensor:
    """-ln p(x|z), (B, k), of codes (B, k, D) for what `likelihood` takes for images, (B, C, H, W)."""
    k, most = z.shape[1], CODES if z.device.type == "cpu" else CODES_OF_ACCELERATORS
    images = max(1, len(z) if torch.is_grad_enabled() else most // k)
    given = repeat(None) if labels is None else labels.split(images)
    found = []
    for codes, x, y in zip(z.split(images), targets.split(images), given, strict=False):
        y = None if y is None else y.repeat_interleave(k, 0)
        parameters = of(decoder, codes.flatten(0, 1), y).unflatten(0, (-1, k))
        found.append(likelihood.nll_of_draws(parameters, x))
    return torch.cat(found)


def prior(upper: nn.Module | None, z: Tensor, *above: Tensor) -> tuple[Tensor, list[Tensor]]:
    """ln p(z) of codes (B, k, D), or ln p(z|z2) with the divergence of z2, which `above` draws."""
    if upper is None:
        return -0.5 * (z.square() + log(2 * pi)), []
    log_p, divergence = by_upper(cast(UpperCodes, upper), z, *above)
    return log_p, [divergence]


def by_upper(upper: UpperCodes, z: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """ln p(z|z2) of codes (B, k, D), and the divergence of z2, which `eps` (B, k, D2) draws."""
    below, shape, zero = z.flatten(0, 1), z.shape[:2], z.new_zeros(())
    mean, log_var = upper.recognise(below)
    z2, log_q = drawn(wide(mean), wide(log_var), eps.flatten(0, 1))
    divergence = log_q + losses.gaussian_costs(zero, zero, z2)
    mean, log_var = upper(z2)
    log_p = -losses.gaussian_costs(mean, log_var, below)
    return log_p.unflatten(0, shape), divergence.unflatten(0, shape)
