r"""DRAW: images that are painted in T steps, each told by a code of its own.

A decoder adds to a canvas c as codes :math:`z_t \sim N(0, 1)` tell it; an encoder sees what the canvas
still lacks, so that the posterior of a code depends on those before. The divergence is a sum:

.. math:: -\log p(x) \le E \Big[ \sum_{t=1}^T KL(q(z_t|x, z_{<t}) \,\|\, p(z_t)) - \log p(x|c_T) \Big]

References:
    | DRAW: A Recurrent Neural Network For Image Generation (Gregor et al., 2015)
    | https://arxiv.org/abs/1502.04623
"""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from ... import losses
from ...nn.canvas import CanvasNetwork
from ...nn.precision import wide
from ...randomness import Noise
from ..base import evaluating
from ..distributions import Distribution
from .codes import rows
from .fit import check_outputs
from .latent import Bound, LatentModel


class Path(NamedTuple):
    """What was drawn on the way to images."""

    canvas: Tensor  # the last, (B, outputs, C, H, W)
    mean: Tensor  # of q, (B, T, D)
    log_var: Tensor  # of q, (B, T, D)
    z: Tensor  # (B, T, D)


class DRAW(LatentModel):
    """Paints images step by step. The groups of its divergence are the steps.

    The constant of a Gaussian's divergence is -1/2 for each of the D numbers of a code and each of
    the T steps, so -T D / 2; the paper prints that of codes of one number.

    Codes of images, `encode`, and those to `decode` are those of all steps in a row, (B, T * D).

    Arguments:
        network: Paints images as codes tell it.
        likelihood: The distribution of images, whose parameters the canvas is. Default: Bernoulli,
            for binary images.
        kwargs: See `LatentModel`.
    """

    images_at_once = 16
    compilable = False  # its network is not called but step by step

    def __init__(
        self, network: CanvasNetwork, likelihood: Distribution | None = None, **kwargs: Any
    ) -> None:
        super().__init__(likelihood, **kwargs)
        check_outputs(network, self.likelihood, "network")
        self.network = network
        self.average("network")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.network.shape

    # The bound

    def bound(self, x: Tensor, labels: Tensor | None, noise: Noise) -> Bound:
        path = self._path(x, self._normal(noise).to(x))
        divergence = losses.gaussian_divergences(path.mean, path.log_var).sum(2)
        return Bound(
            self.likelihood.nll(path.canvas, self.likelihood.targets(x, noise)), divergence
        )

    def draws(self, x: Tensor, k: int, labels: Tensor | None, noise: Noise) -> Bound:
        eps = rows(self._normal, noise, k).to(x)
        targets = self.likelihood.targets(x, noise).repeat_interleave(k, 0)
        path = self._path(x.repeat_interleave(k, 0), eps)
        # ln q - ln p, whose constants cancel.
        divergence = 0.5 * (path.z.square() - eps.square() - path.log_var).sum(2)
        reconstruction = self.likelihood.nll(path.canvas, targets)
        return Bound(reconstruction.unflatten(0, (-1, k)), divergence.unflatten(0, (-1, k)))

    def _path(self, x: Tensor, eps: Tensor) -> Path:
        """Paints images (B, C, H, W), with the codes that standard normal numbers (B, T, D) draw."""
        network = cast(CanvasNetwork, self._network("network"))
        state, drawn = network.begin(len(x)), []
        for step in range(network.steps):
            error = x - self.likelihood.mean(state.canvas)
            mean, log_var, state = network.look(x, error, state)
            mean, log_var = wide(mean), wide(log_var)
            z = mean + (log_var / 2).exp() * eps[:, step]
            state = network.step(z, state)
            drawn.append((mean, log_var, z))
        return Path(state.canvas, *(torch.stack(t, 1) for t in zip(*drawn, strict=True)))

    def _normal(self, noise: Noise) -> Tensor:
        return noise.normal(self.network.steps, self.network.code_size)

    # Capabilities

    def encode(self, x: Tensor) -> Tensor:
        """The posterior means of all steps, each after the means of those before, (B, T * D)."""
        with evaluating(self):
            still = x.new_zeros(len(x), self.network.steps, self.network.code_size)
            return self._path(x, still).mean.flatten(1)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean image of each code (B, T * D)."""
        return self.likelihood.mean(self._canvases(z)[-1])

    def stages(self, z: Tensor) -> Tensor:
        """The mean images after each step, (B, T, C, H, W), as a picture of how it paints."""
        return torch.stack([self.likelihood.mean(canvas) for canvas in self._canvases(z)], 1)

    @torch.no_grad()
    def latent(self, n: int, noise: Noise | None = None) -> Tensor:
        """Draws `n` codes from the prior, (n, T * D)."""
        return self._normal(self.noise_for(n, noise)).type(self.precision).flatten(1)

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """The mean images of `n` codes from the prior; with `sample_pixels`, draws from them."""
        noise = self.noise_for(n, noise)
        return self.pictures(self._canvases(self.latent(n, noise))[-1], noise)

    def _canvases(self, z: Tensor) -> list[Tensor]:
        with evaluating(cast(CanvasNetwork, self.averaged("network"))) as network:
            return network.canvases(z)
