"""What the engine, Lightning and the callbacks add to a step."""

from collections.abc import Callable
from functools import partial

from lightning_gen.models.gans.base import LatentGAN
from lightning_gen.models.gans.gan import GAN
from lightning_gen.models.gans.wgan_gp import WGANGP
from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lightning_gen.nn.roles import Discriminator, Generator

from .loops import (
    BareGAN,
    BareWGANGP,
    DocsDiscriminator,
    DocsGenerator,
    go_through,
    our_fit,
    random_batches,
)
from .timing import Ratio, Variant, interleave, ratio, repeated

Networks = Callable[[], tuple[Generator, Discriminator]]


def run(rounds: int = 5) -> list[Ratio]:
    """Ratios for DCGAN at two widths, WGAN-GP and a small fully connected GAN, in batches of 64."""
    return [
        compare("DCGAN 32x32 grey width 32", grey, 8, rounds, goal="<= 1.03"),
        compare("DCGAN 32x32 colour width 64", colour, 3, rounds, goal="<= 1.03"),
        # 10 steps are two rounds of its game.
        compare("WGAN-GP 32x32 grey width 16", without_norm, 10, rounds, WGANGP, BareWGANGP),
        compare("fully connected GAN of Lightning's docs", docs, 25, rounds),
    ]


def grey() -> tuple[Generator, Discriminator]:
    return DCGANGenerator(32, 1, width=32), DCGANDiscriminator(32, 1, width=32)


def colour() -> tuple[Generator, Discriminator]:
    return DCGANGenerator(32, 3, width=64), DCGANDiscriminator(32, 3, width=64)


def without_norm() -> tuple[Generator, Discriminator]:
    return DCGANGenerator(32, 1, width=16), DCGANDiscriminator(32, 1, width=16, norm="none")


def docs() -> tuple[Generator, Discriminator]:
    return DocsGenerator(), DocsDiscriminator()


def compare(
    name: str,
    networks: Networks,
    block: int,
    rounds: int,
    model: type[LatentGAN] = GAN,
    bare: type[BareGAN] = BareGAN,
    goal: str | None = None,
) -> Ratio:
    def measure() -> dict[str, list[float]]:
        generator, discriminator = networks()
        batches = random_batches(generator.shape)
        ours = model(generator=generator, discriminator=discriminator)
        variants = {
            name: Variant(partial(our_fit, ours), batches),
            "bare loop": Variant(partial(go_through, bare(*networks())), batches),
        }
        return interleave(variants, block, rounds)

    return ratio(repeated(measure), name, "bare loop", goal)
