"""What a gradient penalty adds to a critic's step."""

from functools import partial

from lightning_gen import losses
from lightning_gen.models.adversarial import Terms
from lightning_gen.models.base import Batch
from lightning_gen.models.gans.base import LatentGAN
from lightning_gen.models.gans.wgan_gp import WGANGP, wgan_gp_adam
from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lightning_gen.nn.norm import Norm

from .loops import our_fit, random_batches
from .timing import Ratio, Variant, interleave, ratio, repeated

NEVER = 10**9  # n_critic so large that the generator does not move


class Unpenalised(LatentGAN):
    """WGAN-GP with neither penalty nor clipping, which diverges: for the clock only."""

    def discriminator_loss(self, batch: Batch) -> Terms:
        real, fake = self.discriminator(batch.images), self.discriminator(self.generate(batch))
        return {"loss": losses.wasserstein_discriminator(real, fake)}

    def generator_loss(self, batch: Batch) -> Terms:
        return {"loss": losses.wasserstein_generator(self.discriminator(self.generate(batch)))}


def run(rounds: int = 5) -> list[Ratio]:
    """Ratios for DCGAN's critic, in batches of 64, without and with layer normalisation."""
    return [compare("none", rounds), compare("layer", rounds)]


def compare(norm: Norm, rounds: int) -> Ratio:
    name = f"WGAN-GP critic 32x32 grey width 32 norm {norm}"

    def build(model: type[LatentGAN]) -> LatentGAN:
        return model(
            generator=DCGANGenerator(32, 1, width=32),
            discriminator=DCGANDiscriminator(32, 1, 32, norm),
            discriminator_optimizer=wgan_gp_adam,
            n_critic=NEVER,
        )

    def measure() -> dict[str, list[float]]:
        batches = random_batches((1, 32, 32))
        variants = {
            name: Variant(partial(our_fit, build(WGANGP)), batches),
            "without penalty": Variant(partial(our_fit, build(Unpenalised)), batches),
        }
        return interleave(variants, 8, rounds)

    return ratio(repeated(measure), name, "without penalty", "<= 2.1")
