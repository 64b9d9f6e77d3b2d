"""What importance weighting costs beside the decoder, which no estimate can do without."""

from collections.abc import Callable
from functools import partial

import torch

from lightning_gen.metrics import PlacedNoise
from lightning_gen.models.autoencoders import VAE
from lightning_gen.models.autoencoders.codes import CODES
from lightning_gen.networks.encoders import MLPDecoder, MLPEncoder

from .timing import Ratio, keep_memory, ratio, timed

SHAPE, LATENT, WIDTHS = (1, 28, 28), 20, (400, 400)
IMAGES, SAMPLES = 500, 128  # of a batch in tests, and for each of them


def run(rounds: int = 9) -> list[Ratio]:
    """The ratio for a small VAE of binary images; that of 10,000 is that of 20 batches."""
    keep_memory()
    torch.manual_seed(0)
    networks = MLPEncoder(SHAPE, LATENT, WIDTHS), MLPDecoder(SHAPE, LATENT, WIDTHS)
    model = VAE(*networks).eval()
    seconds = timed(
        {f"nll/iw{SAMPLES}": weighted(model), "decoder": partial(decoded, model)}, rounds
    )
    rate = f"{IMAGES / sorted(seconds[f'nll/iw{SAMPLES}'])[rounds // 2]:.0f} images/s of one core"
    return [ratio(seconds, f"nll/iw{SAMPLES}", "decoder", "<= 1.1", rate)]


def weighted(model: VAE) -> Callable[[], object]:
    """The bound of a batch of images, with the noise that a test gives them."""
    x = torch.randn(IMAGES, *SHAPE).sign()
    return lambda: model.importance_nll(
        x, SAMPLES, noise=PlacedNoise(("nll", "test"), torch.arange(IMAGES))
    )


@torch.no_grad()
def decoded(model: VAE) -> None:
    """As many codes through the decoder alone, in pieces of the same size."""
    for codes in torch.randn(IMAGES * SAMPLES, LATENT).split(CODES):
        model.decoder(codes)
