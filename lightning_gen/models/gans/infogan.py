r"""InfoGAN: some latents are codes that can be read off the image again, so they get a meaning.

.. math:: \min_{G, Q} \max_D \; V(D, G) - \lambda_d \, L_d(G, Q) - \lambda_c \, L_c(G, Q),
          \qquad L = E_{c, x = G(z, c)}[\log Q(c | x)] + H(c) \le I(c; x)

References:
    | InfoGAN: Interpretable Representation Learning by Information Maximizing GANs (Chen et al., 2016)
    | https://arxiv.org/abs/1606.03657
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import losses
from ...nn.heads import Head
from ...randomness import Noise
from ..adversarial import Batch, Player, Terms
from ..base import evaluating
from .base import LatentGAN


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

    threshold = 0.0

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
        size = sum(categorical) + continuous
        if not 0 < size <= self.generator.latent_size:
            raise ValueError(
                f"the codes need 1 to {self.generator.latent_size} of the generator's latents, "
                f"but categorical {list(categorical)} and continuous {continuous} need {size}"
            )
        if any(values < 2 for values in categorical) or continuous < 0:
            raise ValueError("categorical codes need 2 or more values, continuous 0 or more codes")
        if recogniser_owner not in ("discriminator", "generator"):
            raise ValueError(f"recogniser_owner must be a player, got {recogniser_owner}")
        self.categorical, self.continuous = tuple(categorical), continuous
        self.categorical_weight = categorical_weight
        self.continuous_weight = continuous_weight
        self.recogniser_owner, self.learn_spread = recogniser_owner, learn_spread
        outputs = sum(categorical) + (2 if learn_spread else 1) * continuous
        self.recogniser = Head(self.discriminator.feature_size, hidden, outputs)

    def players(self) -> list[Player]:
        return [
            player._replace(networks=[*player.networks, self.recogniser])
            if player.name == self.recogniser_owner
            else player
            for player in super().players()
        ]

    def latent(self, n: int, noise: Noise | None = None) -> Tensor:
        """Draws `n` latents, (n, latent_size): codes, then noise."""
        noise = self.noise_for(n, noise)
        z, codes = super().latent(n, noise), noise.spawn("codes")
        values = [codes.integers(size) for size in self.categorical]
        drawn = [
            F.one_hot(value, size) for value, size in zip(values, self.categorical, strict=True)
        ]
        drawn.append(codes.uniform(self.continuous) * 2 - 1)
        rest = sum(self.categorical) + self.continuous
        return torch.cat([*(part.to(z) for part in drawn), z[:, rest:]], 1)

    def discriminator_loss(self, batch: Batch) -> Terms:
        real, (fake, information) = self.judge(batch.images, batch), self._recognise(batch)
        loss = losses.cross_entropy_discriminator(real, fake)
        if self.recogniser_owner == "discriminator":
            loss = loss - self._weighed(information)
        return {
            "loss": loss,
            "real": lambda: real.sigmoid().mean(),
            "fake": lambda: fake.sigmoid().mean(),
        }

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
            logits, means, _ = self._read(recogniser(network.features(x)))
        return [each.log_softmax(1) for each in logits], means

    def traversals(self, rows: int, columns: int, noise: Noise) -> dict[str, Tensor]:
        """For each code latents (rows, columns, D) that differ along a row in that code alone.

        A categorical code takes all its values, whatever `columns`; a continuous one goes from -2
        to 2, twice as far as in training.
        """
        z, ways, start = self.latent(rows, noise), {}, 0
        for i, size in enumerate(self.categorical):
            way = z[:, None].repeat(1, size, 1)
            way[:, :, start : start + size] = torch.eye(size).to(z)
            ways[f"categorical{i}"], start = way, start + size
        for i in range(self.continuous):
            way = z[:, None].repeat(1, columns, 1)
            way[:, :, start + i] = torch.linspace(-2, 2, columns).to(z)
            ways[f"continuous{i}"] = way
        return ways

    def _recognise(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits of generated images, and how many nats about their codes they betray."""
        z = self.latent(len(batch), batch.noise)
        features = self.discriminator.features(self.imagine(z, batch.labels))
        logits, means, log_variances = self._read(self.recogniser(features))
        *categorical, continuous, _ = z.split(self._parts(z.shape[1]), 1)
        information = {}
        if categorical:
            parts = [
                losses.categorical_information(read, code.argmax(1))
                for read, code in zip(logits, categorical, strict=True)
            ]
            information["categorical"] = torch.stack(parts).sum()
        if self.continuous:
            information["continuous"] = losses.gaussian_information(
                means, log_variances, continuous
            )
        return self.discriminator.head(features), information

    def _weighed(self, information: dict[str, Tensor]) -> Tensor:
        weights = {"categorical": self.categorical_weight, "continuous": self.continuous_weight}
        return torch.stack([weights[name] * nats for name, nats in information.items()]).sum()

    def _parts(self, total: int) -> list[int]:
        """How `total` numbers are shared out: each categorical code, the continuous ones, the rest."""
        known = [*self.categorical, self.continuous]
        return [*known, total - sum(known)]

    def _read(self, outputs: Tensor) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """The logits of the categorical codes, the means and log-variances of the continuous."""
        *logits, means, log_variances = outputs.split(self._parts(outputs.shape[1]), 1)
        if not self.learn_spread:
            log_variances = torch.zeros_like(means)
        return tuple(logits), means, log_variances
