"""The loops that are compared: our engine, the same algorithms by hand, and the textbook's."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn

from lightning_gen.cli.quiet import quieten
from lightning_gen.cli.train import default_callbacks
from lightning_gen.nn.roles import Discriminator, Generator

Raw = tuple[Tensor, Tensor]  # uint8 images and labels


class DocsGenerator(Generator):
    """The generator of the GAN in Lightning's documentation, latents (B, 100) to (B, 1, 28, 28)."""

    shape, latent_size = (1, 28, 28), 100

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(100, 128), nn.LeakyReLU(0.2)]
        for a, b in ((128, 256), (256, 512), (512, 1024)):
            layers += [nn.Linear(a, b), nn.BatchNorm1d(b, 0.8), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(
            *layers, nn.Linear(1024, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28))
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(z)


class DocsDiscriminator(Discriminator):
    """The discriminator beside it, images to logits (B,)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Flatten(), nn.Linear(784, 512), nn.LeakyReLU(0.2)),
            *(nn.Linear(512, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1), nn.Flatten(0)),
        )

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(x)


def random_batches(shape: tuple[int, int, int], size: int = 64, count: int = 4) -> list[Raw]:
    """Batches of noise as a data module gives them."""
    return [
        (torch.randint(0, 256, (size, *shape), dtype=torch.uint8), torch.zeros(size).long())
        for _ in range(count)
    ]


def as_floats(batches: Iterable[Raw]) -> list[Raw]:
    """The same batches as a transform would have left them, floats in [-1, 1]."""
    return [(images.float() / 127.5 - 1, labels) for images, labels in batches]


def our_fit(model: LightningModule, loader: Iterable[Raw], **kwargs: Any) -> None:
    """Trains as `run.py fit` does: its callbacks, a CSV logger, values logged every 50 steps.

    Arguments:
        model: What to train.
        loader: The batches, once.
        kwargs: Of the trainer, where they should be others.
    """
    quieten()
    with tempfile.TemporaryDirectory() as folder:
        usual: dict[str, Any] = {
            "accelerator": "cpu",
            "max_epochs": 1,
            "logger": CSVLogger(folder, name="", version="", flush_logs_every_n_steps=1),
            "log_every_n_steps": 50,
            "callbacks": default_callbacks(Path(folder), None),
            "default_root_dir": folder,
            "enable_model_summary": False,
            "use_distributed_sampler": False,
        }
        Trainer(**{**usual, **kwargs}).fit(model, loader)


def textbook_fit(model: LightningModule, loader: Iterable[Raw]) -> None:
    """Trains with Lightning's defaults."""
    quieten()
    with tempfile.TemporaryDirectory() as folder:
        Trainer(accelerator="cpu", max_epochs=1, default_root_dir=folder).fit(model, loader)  # type: ignore[arg-type]


def adam(network: nn.Module, fused: bool, lr: float = 2e-4, beta: float = 0.5) -> torch.optim.Adam:
    """Adam with DCGAN's rates, or others."""
    betas = (beta, 0.999 if beta else 0.9)
    return torch.optim.Adam(network.parameters(), lr, betas, fused=fused or None)


class BareGAN:
    """`GAN` by hand, with all that makes it fast: frozen networks, shared fakes, fused Adam.

    Arguments:
        generator: Maps latents to images.
        discriminator: Maps images to logits.
    """

    def __init__(self, generator: Generator, discriminator: Discriminator) -> None:
        self.generator = generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.discriminator = discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.g_adam, self.d_adam = adam(generator, True), adam(discriminator, True)
        self.g_weights = list(generator.parameters())
        self.d_weights = list(discriminator.parameters())

    def __call__(self, raw: Raw) -> None:
        """A step on a batch."""
        real = scaled(raw[0])
        fake = self.generator(torch.randn(len(real), self.generator.latent_size))
        self.d_adam.zero_grad()
        logits = self.discriminator(real), self.discriminator(fake.detach())
        (F.softplus(-logits[0]).mean() + F.softplus(logits[1]).mean()).backward()
        self.d_adam.step()
        require_grad(self.d_weights, False)
        self.g_adam.zero_grad()
        F.softplus(-self.discriminator(fake)).mean().backward()
        self.g_adam.step()
        require_grad(self.d_weights, True)


class BareWGANGP(BareGAN):
    """`WGANGP` by hand, five steps of the critic for each of the generator.

    Arguments:
        generator: Maps latents to images.
        critic: Maps images to scores.
    """

    def __init__(self, generator: Generator, critic: Discriminator) -> None:
        super().__init__(generator, critic)
        self.g_adam, self.d_adam = (adam(net, True, 1e-4, 0.0) for net in (generator, critic))
        self.turns = 0

    def __call__(self, raw: Raw) -> None:
        """A step on a batch."""
        real = scaled(raw[0])
        require_grad(self.g_weights, False)
        fake = self.generate(len(real))
        self.d_adam.zero_grad()
        loss = self.discriminator(fake).mean() - self.discriminator(real).mean()
        (loss + 10 * self.penalty(real, fake)).backward()
        self.d_adam.step()
        require_grad(self.g_weights, True)
        self.turns += 1
        if self.turns % 5 == 0:
            require_grad(self.d_weights, False)
            self.g_adam.zero_grad()
            (-self.discriminator(self.generate(len(real))).mean()).backward()
            self.g_adam.step()
            require_grad(self.d_weights, True)

    def generate(self, n: int) -> Tensor:
        return self.generator(torch.randn(n, self.generator.latent_size))

    def penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        x = torch.lerp(real, fake, torch.rand(len(real), 1, 1, 1)).requires_grad_()
        (slope,) = torch.autograd.grad(self.discriminator(x).sum(), x, create_graph=True)
        return (slope.flatten(1).norm(dim=1) - 1).square().mean()


class PlainGAN:
    """`GAN` as tutorials have it: nothing frozen, fakes detached once, Adam as it comes.

    Arguments:
        generator: Maps latents to images.
        discriminator: Maps images to logits.
    """

    def __init__(self, generator: Generator, discriminator: Discriminator) -> None:
        self.generator, self.discriminator = generator, discriminator
        self.g_adam, self.d_adam = adam(generator, False), adam(discriminator, False)

    def __call__(self, raw: Raw) -> None:
        """A step on a batch."""
        real = raw[0].float() / 127.5 - 1
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        self.d_adam.zero_grad()
        loss = F.binary_cross_entropy_with_logits(self.discriminator(real), ones)
        fake = self.generator(torch.randn(len(real), self.generator.latent_size)).detach()
        loss = loss + F.binary_cross_entropy_with_logits(self.discriminator(fake), zeros)
        loss.backward()
        self.d_adam.step()
        self.g_adam.zero_grad()
        fake = self.generator(torch.randn(len(real), self.generator.latent_size))
        F.binary_cross_entropy_with_logits(self.discriminator(fake), ones).backward()
        self.g_adam.step()


class TextbookGAN(LightningModule):
    """The GAN of Lightning's documentation, step by step, without its grid of images.

    References:
        | https://lightning.ai/docs/pytorch/stable/notebooks/lightning_examples/basic-gan.html

    Arguments:
        generator: Maps latents to images.
        discriminator: Maps images to logits.
    """

    def __init__(self, generator: Generator, discriminator: Discriminator) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminator = generator, discriminator

    def forward(self, z: Tensor) -> Tensor:
        return self.generator(z)

    def adversarial_loss(self, y_hat: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(y_hat, y)

    def training_step(self, batch: Raw) -> None:
        imgs, _ = batch
        optimizer_g, optimizer_d = self.optimizers()  # type: ignore[misc, attr-defined]
        z = torch.randn(imgs.shape[0], self.generator.latent_size).type_as(imgs)
        valid, fake = torch.ones(imgs.size(0)), torch.zeros(imgs.size(0))

        self.toggle_optimizer(optimizer_g)
        self.generated_imgs = self(z)
        g_loss = self.adversarial_loss(self.discriminator(self(z)), valid.type_as(imgs))
        self.log("g_loss", g_loss, prog_bar=True)
        self.manual_backward(g_loss)
        optimizer_g.step()
        optimizer_g.zero_grad()
        self.untoggle_optimizer(optimizer_g)

        self.toggle_optimizer(optimizer_d)
        real_loss = self.adversarial_loss(self.discriminator(imgs), valid.type_as(imgs))
        generated = self.discriminator(self(z).detach())
        fake_loss = self.adversarial_loss(generated, fake.type_as(imgs))
        d_loss = (real_loss + fake_loss) / 2
        self.log("d_loss", d_loss, prog_bar=True)
        self.manual_backward(d_loss)
        optimizer_d.step()
        optimizer_d.zero_grad()
        self.untoggle_optimizer(optimizer_d)

    def configure_optimizers(self) -> Any:
        return [adam(self.generator, False), adam(self.discriminator, False)], []


def scaled(images: Tensor) -> Tensor:
    """uint8 images as floats in [-1, 1]."""
    floats = images.float().mul_(2 / 255).sub_(1)
    return floats.contiguous(memory_format=torch.channels_last)


def require_grad(parameters: Iterable[nn.Parameter], needed: bool) -> None:
    """Freezes or thaws."""
    for parameter in parameters:
        parameter.requires_grad = needed


def go_through(step: BareGAN | PlainGAN, loader: Iterable[Raw]) -> None:
    """A bare loop."""
    for raw in loader:
        step(raw)
