"""What all GANs from latents to images share."""

from abc import abstractmethod
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...nn.minibatch import MinibatchDiscrimination
from ...nn.roles import Discriminator, Generator
from ...optimizers import gan_adam
from ...randomness import Noise
from ..adversarial import AdversarialModel, Batch, Player, Terms
from ..base import OptimizerCallable, SchedulerCallable, evaluating
from ..gathering import gathered


class LatentGAN(AdversarialModel):
    """A generator of images from noise against a discriminator. A subclass states the two losses.

    Arguments:
        generator: Maps latents (B, `generator.latent_size`) to images (B, C, H, W) in [-1, 1],
            of given classes if it has `num_classes`.
        discriminator: Maps images (B, C, H, W) to logits (B,). It judges whether they are of their
            classes, too, if it has `num_classes`; generated ones have the labels of real ones.
        generator_optimizer: Default: Adam as DCGAN has it.
        discriminator_optimizer: Default: Adam as DCGAN has it.
        generator_scheduler: The generator's learning rate over rounds; constant by default.
        discriminator_scheduler: The discriminator's learning rate over rounds.
        n_critic: How many discriminator steps, each on fresh images, make one generator step.
        prior: Latents are "normal" N(0, 1) or "uniform" U(-1, 1).
        share_fakes: Generate once for both players where they move on the same batch, as the code
            of DCGAN does, instead of drawing anew for the generator as Goodfellow's Algorithm 1.
            Needs n_critic = 1 and micro_batches = 1; elsewhere it changes nothing.
        kwargs: See `AdversarialModel`.
    """

    threshold: float | None = None  # logits above it mean real; None where there is no such point
    asks: tuple[str, ...] = ()  # what a subclass asks of its discriminator besides logits
    guesses_classes = False  # whether a subclass itself teaches a generator its classes

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        generator_optimizer: OptimizerCallable = gan_adam,
        discriminator_optimizer: OptimizerCallable = gan_adam,
        generator_scheduler: SchedulerCallable | None = None,
        discriminator_scheduler: SchedulerCallable | None = None,
        n_critic: int = 1,
        prior: Literal["normal", "uniform"] = "normal",
        share_fakes: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if n_critic < 1:
            raise ValueError(f"n_critic must be at least 1, got {n_critic}")
        if prior not in ("normal", "uniform"):
            raise ValueError(f"prior must be normal or uniform, got {prior}")
        self._check_fit(generator, discriminator)
        references = getattr(generator, "references", None)
        if prior == "uniform" and references is not None:  # of virtual batch norm
            references[:, : generator.latent_size].uniform_(-1, 1)
        self.generator, self.discriminator = generator, discriminator
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.generator_scheduler = generator_scheduler
        self.discriminator_scheduler = discriminator_scheduler
        self.n_critic, self.prior = n_critic, prior
        self.share_fakes = share_fakes and n_critic == 1
        # In a tuple, so that it does not become a parameter of the model itself.
        self._one_weight = (next(p for p in generator.parameters() if p.requires_grad),)
        self.average("generator")

    def _check_fit(self, generator: Generator, discriminator: Discriminator) -> None:
        """Raises ValueError if the networks do not fit each other, or the game."""
        takes = getattr(discriminator, "shape", None) or ()
        if any(a not in (None, b) for a, b in zip(takes, generator.shape, strict=False)):
            shown = ", ".join("any" if size is None else str(size) for size in takes)
            raise ValueError(
                f"the generator makes images of shape {tuple(generator.shape)} but the "
                f"discriminator takes ({shown}); they must be equal"
            )
        classes, known = generator.num_classes, discriminator.num_classes
        if known != classes and not (self.guesses_classes and known is None):
            raise ValueError(
                f"the discriminator knows {known or 'no'} classes but the generator "
                f"{classes or 'none'}; set num_classes of both to agree"
            )
        for name in self.asks:
            if getattr(type(discriminator), name, None) in (None, getattr(Discriminator, name)):
                raise ValueError(
                    f"{type(self).__name__} asks its discriminator for {name}, which "
                    f"{type(discriminator).__name__} does not have; take DCGANDiscriminator"
                )
        if any(isinstance(module, MinibatchDiscrimination) for module in discriminator.modules()):
            self.need_whole_batches("minibatch discrimination")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.generator.shape

    @property
    def num_classes(self) -> int | None:
        return self.generator.num_classes

    @abstractmethod
    def discriminator_loss(self, batch: Batch) -> Terms:
        """What the discriminator minimises. No graph is built through the generator."""

    @abstractmethod
    def generator_loss(self, batch: Batch) -> Terms:
        """What the generator minimises. The discriminator is frozen."""

    def players(self) -> list[Player]:
        return [
            Player(
                "discriminator",
                [self.discriminator],
                self.discriminator_loss,
                self.discriminator_optimizer,
                scheduler=self.discriminator_scheduler,
            ),
            Player(
                "generator",
                [self.generator],
                self.generator_loss,
                self.generator_optimizer,
                every=self.n_critic,
                scheduler=self.generator_scheduler,
            ),
        ]

    def prepare(self, batch: Batch) -> Batch:
        if not self.share_fakes:
            return batch
        noise = batch.noise.spawn("shared")
        return replace(batch, fakes=self.imagine(self.latent(len(batch), noise), batch.labels))

    def generate(self, batch: Batch) -> Tensor:
        """As many images as the batch has, with a graph only if it is the generator's move."""
        if batch.fakes is None:
            return self.imagine(self.latent(len(batch), batch.noise), batch.labels)
        return batch.fakes if self._one_weight[0].requires_grad else batch.fakes.detach()

    def imagine(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """The generator's images of latents (B, latent_size), of these classes if it has any."""
        generator = self.generator  # looked up once: a module's attributes are found by a function
        return generator(z, labels) if generator.num_classes else generator(z)

    def judge(self, images: Tensor, batch: Batch) -> Tensor:
        """The discriminator's logits for images, real or not, with the labels of a batch."""
        discriminator = self.discriminator
        return (
            discriminator(images, batch.labels)
            if discriminator.num_classes
            else discriminator(images)
        )

    def need_whole_batches(self, what: str) -> None:
        """Raises ValueError if batches are cut into parts, of which a loss is not the mean."""
        if self.micro_batches > 1:
            raise ValueError(f"{what} is of whole batches, so micro_batches must be 1")

    def of_all_processes(self, x: Tensor) -> Tensor:
        """What all processes have, from what each has, (B, ...), for losses that compare images."""
        return gathered(x) if self._averages_gradients else x

    # Capabilities

    def latent(self, n: int, noise: Noise | None = None) -> Tensor:
        """Draws `n` latents from the prior, (n, latent_size)."""
        noise, size = self.noise_for(n, noise), self.generator.latent_size
        z = noise.normal(size) if self.prior == "normal" else noise.uniform(size) * 2 - 1
        return z.to(self.precision)  # callbacks bring noise in single precision

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Maps latents (B, latent_size), and labels (B,) if there are classes, as `sample` does."""
        with evaluating(self.averaged("generator")) as generator:
            if self.num_classes is None:
                return generator(z)
            if labels is None:
                raise ValueError("the generator is conditioned on classes, so it needs labels")
            return generator(z, labels)

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Draws `n` images (n, C, H, W) from the averaged generator if there is one.

        Of classes that are drawn too, uniformly, if there are classes but none given.
        """
        noise = self.noise_for(n, noise)
        return self.decode(self.latent(n, noise), self.labels_for(n, labels, noise))


def with_beliefs(loss: Tensor, real: Tensor, fake: Tensor) -> Terms:
    """A discriminator's loss, and how probably real it takes both kinds of images to be."""
    return {
        "loss": loss,
        "real": lambda: real.sigmoid().mean(),
        "fake": lambda: fake.sigmoid().mean(),
    }


def mixes_images(network: nn.Module) -> bool:
    """Whether what a network makes of an image depends on the others of its batch."""
    mixing = (nn.modules.batchnorm._BatchNorm, MinibatchDiscrimination)
    return any(isinstance(module, mixing) for module in network.modules())
