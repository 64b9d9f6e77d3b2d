r"""InfoGAN: some latents are codes that can be read off the image again, so they get a meaning.

.. math:: \min_{G, Q} \max_D \; V(D, G) - \lambda_d \, L_d(G, Q) - \lambda_c \, L_c(G, Q),
          \qquad L = E_{c, x = G(z, c)}[\log Q(c | x)] + H(c) \le I(c; x)

References:
    | InfoGAN: Interpretable Representation Learning by Information Maximizing GANs (Chen et al., 2016)
    | https://arxiv.org/abs/1606.03657
"""

from typing import Any, Literal

import torch
from torch import Tensor

from ... import losses
from ...nn.codes import Codes
from ...nn.heads import Head
from ...randomness import Noise
from ..adversarial import Batch, Player, Terms
from ..base import evaluating
from .base import LatentGAN, with_beliefs


class InfoGAN(LatentGAN):
    """Generative adversarial network whose codes are recognised by a head on the discriminator.

    The first of the latents are the codes: one-hot for each categorical code, then the continuous
    ones, uniform in [-1, 1]; the rest is noise. Labels are never used.

    Arguments:
        categorical: The number of values of each categorical code.
        continuous: How many continuous codes there are.
        categorical_weight: The weight :math:`\\lambda_d`.
        continuous_weight: The weight :math:`\\lambda_c`.
        hidden: Units of the recogniser's hidden layer.
        recogniser_owner: Who moves the recogniser. The discriminator, as in the authors' code, with
            their trunk then fitted to both; or the generator, as in the paper, with its optimizer.
        learn_spread: Let the recogniser say how sure it is of a continuous code. The bound on
            their information then has no upper limit. Otherwise its spread is 1, as in the
            authors' code for MNIST.
        kwargs: See `LatentGAN`.
    """

    threshold, asks = 0.0, ("features", "head")

    def __init__(
        self,
        categorical: tuple[int, ...] = (10,),
        continuous: int = 2,
        categorical_weight: float = 1.0,
        continuous_weight: float = 1.0,
        hidden: int = 128,
        recogniser_owner: Literal["discriminator", "generator"] = "discriminator",
        learn_spread: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.share_fakes = False  # their codes would not be known
        self.codes = Codes(tuple(categorical), continuous)
        self.codes.check(self.generator.latent_size)
        if self.num_classes is not None:
            raise ValueError("InfoGAN uses no labels; leave num_classes out of its networks")
        if recogniser_owner not in ("discriminator", "generator"):
            raise ValueError(f"recogniser_owner must be a player, got {recogniser_owner}")
        self.weights = {"categorical": categorical_weight, "continuous": continuous_weight}
        if min(self.weights.values()) < 0:
            raise ValueError(f"the weights of codes must not be negative, got {self.weights}")
        self.recogniser_owner, self.learn_spread = recogniser_owner, learn_spread
        self.recogniser = Head(
            self.discriminator.feature_size, hidden, self.codes.size + learn_spread * continuous
        )

    def players(self) -> list[Player]:
        players = {player.name: player for player in super().players()}
        owner = players[self.recogniser_owner]
        players[owner.name] = owner._replace(networks=[*owner.networks, self.recogniser])
        return list(players.values())

    def latent(self, n: int, noise: Noise | None = None) -> Tensor:
        """Draws `n` latents, (n, latent_size): codes, then noise."""
        noise = self.noise_for(n, noise)
        return self.codes.put(super().latent(n, noise), noise.spawn("codes"))

    def discriminator_loss(self, batch: Batch) -> Terms:
        real, (fake, information) = self.judge(batch.images, batch), self._recognise(batch)
        loss = losses.cross_entropy_discriminator(real, fake)
        if self.recogniser_owner == "discriminator":
            loss = loss - self._weighed(information)
        return with_beliefs(loss, real, fake)

    def generator_loss(self, batch: Batch) -> Terms:
        fake, information = self._recognise(batch)
        loss = losses.non_saturating_generator(fake) - self._weighed(information)
        return {"loss": loss, **information}

    # Capabilities

    @torch.no_grad()
    def read_codes(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """What is read off images: log-probabilities of each categorical code, (B, K), and the
        means of the continuous codes, (B, A)."""
        with evaluating(self.discriminator) as network, evaluating(self.recogniser) as recogniser:
            logits, means, _ = self.codes.split(recogniser(network.features(x)))
        return [each.log_softmax(1) for each in logits], means

    def traversals(self, rows: int, columns: int, noise: Noise) -> dict[str, Tensor]:
        """For each code latents (rows, columns, D) that differ along a row in that code alone."""
        return self.codes.traversals(self.latent(rows, noise), columns)

    def _recognise(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits of generated images, and how many nats about their codes they betray."""
        z = self.latent(len(batch), batch.noise)
        features = self.discriminator.features(self.imagine(z, batch.labels))
        logits, means, log_variances = self.codes.split(self.recogniser(features))
        categorical, continuous, _ = self.codes.split(z)
        if not self.learn_spread:
            log_variances = torch.zeros_like(means)
        nats = map(losses.categorical_information, logits, categorical)
        information = {
            "categorical": sum(nats, z.new_zeros(())),
            "continuous": losses.gaussian_information(means, log_variances, continuous),
        }
        return self.discriminator.head(features), information

    def _weighed(self, information: dict[str, Tensor]) -> Tensor:
        return torch.stack([self.weights[name] * nats for name, nats in information.items()]).sum()
