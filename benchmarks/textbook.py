"""What one gains over the GAN that Lightning's documentation teaches."""

from functools import partial

from lightning_gen.models.gans.gan import GAN

from .loops import (
    TextbookGAN,
    as_floats,
    our_fit,
    random_batches,
    textbook_fit,
)
from .step import Networks, docs, grey
from .timing import Ratio, Variant, interleave, ratio, repeated


def run(rounds: int = 5) -> list[Ratio]:
    """Ratios for DCGAN and for the networks of the documentation, in batches of 64."""
    return [
        compare("DCGAN 32x32 grey width 32", grey, 8, rounds, ">= 1.3"),
        compare("fully connected GAN of the docs", docs, 25, rounds, ">= 1.5"),
    ]


def compare(name: str, networks: Networks, block: int, rounds: int, goal: str) -> Ratio:
    textbook = f"{name}, textbook"

    def measure() -> dict[str, list[float]]:
        generator, discriminator = networks()
        batches = random_batches(generator.shape)
        model = GAN(generator=generator, discriminator=discriminator)
        theirs = TextbookGAN(*networks())
        variants = {
            textbook: Variant(partial(textbook_fit, theirs), as_floats(batches)),
            "ours": Variant(partial(our_fit, model), batches),
        }
        return interleave(variants, block, rounds)

    return ratio(repeated(measure), textbook, "ours", goal)
