r"""The base of models with hidden codes z, whose likelihood is bounded by draws from q(z|x).

.. math:: -\log p(x) \le -E \log \frac{1}{k} \sum_{i=1}^k w_i,
          \quad w_i = \frac{p(x, z_i)}{q(z_i|x)}, \quad z_i \sim q(z|x)

For k = 1 it is the usual bound, :math:`KL(q(z|x) \,\|\, p(z)) - E_{q(z|x)}[\log p(x|z)]`; more draws
make it tighter.

References:
    | Auto-Encoding Variational Bayes (Kingma and Welling, 2014), https://arxiv.org/abs/1312.6114
    | Importance Weighted Autoencoders (Burda et al., 2016), https://arxiv.org/abs/1509.00519, for
    | `importance_nll`
"""

from abc import abstractmethod
from math import inf, log, pi
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ...randomness import Noise
from ..base import Batch, Terms, evaluating
from ..distributions import Bernoulli, Distribution
from ..likelihood import LikelihoodModel
from .fit import check_weights
from .free_bits import floored


class Bound(NamedTuple):
    """The parts of -ln w in nats: of images (B,), or of k draws for each, (B, k).

    Codes may fall into G groups, such as units, layers or maps, each with a divergence of its own.
    """

    reconstruction: Tensor  # -ln p(x|z), (B,) or (B, k)
    divergence: Tensor  # ln q(z|x) - ln p(z) or its mean over z, (B, G) or (B, k, G)

    @property
    def total(self) -> Tensor:
        """Nats of each image (B,), or of each of its draws (B, k)."""
        return self.reconstruction + self.divergence.sum(-1)


class LatentModel(LikelihoodModel):
    """A model p(x, z) of images and codes with an approximate posterior q(z|x).

    A subclass states `draws`, and `sample`. It asks `_network` for its networks, so that in
    evaluation mode they are the averaged ones.

    Arguments:
        likelihood: The distribution of images given their codes. Default: Bernoulli, for binary
            images.
        kl_weight: Weight of the divergence in training (beta-VAE); reported bounds always have 1.
        kl_warmup: Images over which that weight rises from 0.
        free_bits: Nats that the divergence of each group of codes, averaged over the batch of all
            processes, costs in training at least, so that there is nothing to gain by less.
            Reported bounds have the divergence itself.
        sample_pixels: Let `sample` draw pixels, not give the means that papers print.
        kwargs: See `LikelihoodModel`.
    """

    nll_kind: Literal["exact", "bound"] = "bound"
    samples_at_once = 32  # of each image, where many weigh it
    images_at_once: int | None = None  # that are weighed together, where a code takes much memory

    def __init__(
        self,
        likelihood: Distribution | None = None,
        kl_weight: float = 1.0,
        kl_warmup: int = 0,
        free_bits: float = 0.0,
        sample_pixels: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_weights(kl_weight, kl_warmup, free_bits)
        self.likelihood = Bernoulli() if likelihood is None else likelihood
        self.kl_weight, self.kl_warmup, self.free_bits = kl_weight, kl_warmup, free_bits
        self.sample_pixels = sample_pixels

    # What a subclass states

    @abstractmethod
    def draws(self, x: Tensor, k: int, labels: Tensor | None, noise: Noise) -> Bound:
        """What k codes from q(z|x) cost, (B, k), with gradients to both.

        All that codes are made of is drawn from `noise` itself, one code after the other: then k
        draws are the same in one call as in several. What is the same for all draws of an image is
        drawn from what `noise` spawns. Labels are there if and only if the model knows classes.
        """

    def bound(self, x: Tensor, labels: Tensor | None, noise: Noise) -> Bound:
        """Of each image, (B,), by one draw; stated anew where a divergence has a closed form."""
        reconstruction, divergence = self.draws(x, 1, labels, noise)
        return Bound(reconstruction[:, 0], divergence[:, 0])

    @property
    def dequantisation(self) -> str:
        """How levels were made continuous, for the protocols of likelihoods."""
        return self.likelihood.dequantisation

    @property
    def beta(self) -> float:
        """The weight of the divergence in training now."""
        warm = min(1.0, self.images_seen / self.kl_warmup) if self.kl_warmup else 1.0
        return self.kl_weight * warm

    def terms(self, batch: Batch) -> Terms:
        bound = self.bound(batch.images, self.condition(batch.labels), batch.noise)
        reconstruction, kl = bound.reconstruction.mean(), bound.divergence.sum(1).mean()
        charged = floored(bound.divergence, self.free_bits) if self.free_bits else kl
        return {
            "loss": reconstruction + self.beta * charged,
            "nll": reconstruction + kl,
            "reconstruction": reconstruction,
            "kl": kl,
        }

    def nll(self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """The bound with one draw, in nats, (B,)."""
        return self.bound(x, self.condition(labels), self.noise_for(len(x), noise)).total

    def log_weights(
        self, x: Tensor, k: int, labels: Tensor | None = None, noise: Noise | None = None
    ) -> Tensor:
        """ln p(x, z) - ln q(z|x) of k draws, (B, k)."""
        return -self.draws(x, k, self.condition(labels), self.noise_for(len(x), noise)).total

    @torch.no_grad()
    def importance_nll(
        self,
        x: Tensor,
        k: int,
        labels: Tensor | None = None,
        noise: Noise | None = None,
        chunk: int | None = None,
    ) -> Tensor:
        """The bound with `k` importance samples in nats, (B,), of `chunk` samples at a time."""
        chunk = self.samples_at_once if chunk is None else chunk
        noise, log_sum = self.noise_for(len(x), noise), x.new_full((len(x),), -inf)
        with evaluating(self):
            for start in range(0, k, chunk):
                log_w = self.log_weights(x, min(chunk, k - start), labels, noise)
                log_sum = torch.logaddexp(log_sum, log_w.logsumexp(1))
        return log(k) - log_sum

    def check(self, images: Tensor) -> None:
        self.likelihood.check(images)

    # For subclasses

    def condition(self, labels: Tensor | None) -> Tensor | None:
        """The labels that likelihoods need, or none where the model knows no classes."""
        if self.num_classes is None:
            return None
        if labels is None:
            raise ValueError("the model is conditioned on classes, so its likelihood needs labels")
        return labels

    def pictures(self, parameters: Tensor, noise: Noise) -> Tensor:
        """Images (B, C, H, W) of what the decoder said: means or, with `sample_pixels`, draws."""
        law, drawn = self.likelihood, self.sample_pixels
        return law.sample(parameters, noise.spawn("pixels")) if drawn else law.mean(parameters)

    def _network(self, name: str) -> nn.Module:
        return getattr(self, name) if self.training else self.averaged(name)


def drawn(mean: Tensor, log_var: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """Draws from a Gaussian, of standard normal ones, with the log-density of each number."""
    log_q = -0.5 * (eps.square() + log_var + log(2 * pi))
    return mean + (log_var / 2).exp() * eps, log_q


def of(network: nn.Module, x: Tensor, labels: Tensor | None) -> Any:
    """What a network says of images or codes, and of their labels if it knows any."""
    return network(x) if network.num_classes is None else network(x, labels)
