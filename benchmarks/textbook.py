"""What one gains over the GAN that Lightning's documentation teaches."""

from collections.abc import Callable
from functools import partial

from lightning_gen.models.gans.gan import GAN
from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lightning_gen.nn.roles import Discriminator, Generator

from .loops import (
    DocsDiscriminator,
    DocsGenerator,
    TextbookGAN,
    as_floats,
    our_fit,
    random_batches,
    textbook_fit,
)
from .timing import Ratio, Variant, interleave, ratio

Networks = Callable[[], tuple[Generator, Discriminator]]


def run(rounds: int = 15) -> list[Ratio]:
    """Ratios for DCGAN and for the networks of the documentation, in batches of 64."""
    return [
        compare(
            "DCGAN 32x32 grey width 32",
            lambda: (DCGANGenerator(32, 1, width=32), DCGANDiscriminator(32, 1, 32)),
            block=8,
            rounds=rounds,
            goal=">= 1.3",
        ),
        compare(
            "fully connected GAN of the docs",
            lambda: (DocsGenerator(), DocsDiscriminator()),
            block=25,
            rounds=rounds,
            goal=">= 1.5",
        ),
    ]


def compare(name: str, networks: Networks, block: int, rounds: int, goal: str) -> Ratio:
    generator, discriminator = networks()
    model = GAN(generator=generator, discriminator=discriminator)
    batches = random_batches(generator.shape)
    textbook = TextbookGAN(*networks())
    seconds = interleave(
        {
            f"{name}, textbook": Variant(partial(textbook_fit, textbook), as_floats(batches)),
            "ours": Variant(partial(our_fit, model), batches),
        },
        block,
        rounds,
    )
    return ratio(seconds, f"{name}, textbook", "ours", goal)
