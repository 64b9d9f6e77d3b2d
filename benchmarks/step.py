"""What the engine, Lightning and the callbacks add to a step."""

from functools import partial

from lightning_gen.models.gans.gan import GAN
from lightning_gen.models.gans.wgan_gp import WGANGP
from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator

from .loops import (
    BareGAN,
    BareWGANGP,
    DocsDiscriminator,
    DocsGenerator,
    go_through,
    our_fit,
    random_batches,
)
from .timing import Ratio, Variant, interleave, ratio


def run(rounds: int = 15) -> list[Ratio]:
    """Ratios for DCGAN at two widths, WGAN-GP and a small fully connected GAN, in batches of 64."""
    return [
        dcgan("DCGAN 32x32 grey width 32", 1, 32, 8, rounds),
        dcgan("DCGAN 32x32 colour width 64", 3, 64, 3, rounds),
        wgan_gp("WGAN-GP 32x32 grey width 16", rounds),
        mlp("fully connected GAN of Lightning's docs", rounds),
    ]


def dcgan(name: str, channels: int, width: int, block: int, rounds: int) -> Ratio:
    def networks() -> tuple[DCGANGenerator, DCGANDiscriminator]:
        return DCGANGenerator(32, channels, width=width), DCGANDiscriminator(32, channels, width)

    batches = random_batches((channels, 32, 32))
    generator, discriminator = networks()
    model = GAN(generator=generator, discriminator=discriminator)
    seconds = interleave(
        {
            name: Variant(partial(our_fit, model), batches),
            "bare loop": Variant(partial(go_through, BareGAN(*networks())), batches),
        },
        block,
        rounds,
    )
    return ratio(seconds, name, "bare loop", "<= 1.03")


def wgan_gp(name: str, rounds: int) -> Ratio:
    def networks() -> tuple[DCGANGenerator, DCGANDiscriminator]:
        return DCGANGenerator(32, 1, width=16), DCGANDiscriminator(32, 1, 16, norm="none")

    batches = random_batches((1, 32, 32))
    generator, critic = networks()
    model = WGANGP(generator=generator, discriminator=critic)
    seconds = interleave(
        {
            name: Variant(partial(our_fit, model), batches),
            "bare loop": Variant(partial(go_through, BareWGANGP(*networks())), batches),
        },
        block=10,  # two rounds of the game
        rounds=rounds,
    )
    return ratio(seconds, name, "bare loop")


def mlp(name: str, rounds: int) -> Ratio:
    batches = random_batches((1, 28, 28))
    model = GAN(generator=DocsGenerator(), discriminator=DocsDiscriminator())
    bare = BareGAN(DocsGenerator(), DocsDiscriminator())
    seconds = interleave(
        {
            name: Variant(partial(our_fit, model), batches),
            "bare loop": Variant(partial(go_through, bare), batches),
        },
        block=25,
        rounds=rounds,
    )
    return ratio(seconds, name, "bare loop")
