"""What trained latent models say of 30 images of bars and stripes, whose entropy is ln 30 = 3.40 nats."""

from functools import cache
from math import log

import pytest
import torch

from lightning_gen.models.autoencoders import DRAW, IWAE, VAE, PixelVAE
from lightning_gen.models.base import Batch
from lightning_gen.networks.causal import GatedCausalStack
from lightning_gen.networks.draw import DRAWNetwork
from lightning_gen.networks.encoders import MLPDecoder, MLPEncoder
from lightning_gen.nn.flows import IAF, PlanarFlows
from lightning_gen.randomness import Noise
from tests.pixels import bars_and_stripes

SHAPE, D, HIDDEN = (1, 4, 4), 4, (32,)
K = (1, 5, 50)

pytestmark = pytest.mark.slow


def noise(count, *key):
    return Noise(("test", *key), count, dtype=torch.double)


def networks(outputs=1, context=0):
    return MLPEncoder(SHAPE, D, HIDDEN, context_size=context), MLPDecoder(SHAPE, D, HIDDEN, outputs)


def pixel_vae(depth):
    sizes = {"width": 8, "head": 8, "first_kernel": 3, "depth": depth}
    return PixelVAE(*networks(8), GatedCausalStack(1, 2, context=8, **sizes))


MAKE = {
    "VAE": lambda: VAE(*networks()),
    "planar": lambda: VAE(*networks(context=8), flow=PlanarFlows(D, 8, 4)),
    "IAF": lambda: VAE(*networks(context=8), flow=IAF(D, 8, 2, (16,))),
    "IWAE": lambda: IWAE(*networks(), k=5),
    "DRAW": lambda: DRAW(DRAWNetwork(SHAPE, 4, D, 24)),
    "PixelVAE of depth 0": lambda: pixel_vae(0),
    "PixelVAE of depth 1": lambda: pixel_vae(1),
    "PixelVAE of depth 3": lambda: pixel_vae(3),
}


@cache
def trained(name, steps=700):
    torch.manual_seed(0)
    model, x = MAKE[name]().double(), bars_and_stripes().double().repeat(2, 1, 1, 1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        optimizer.zero_grad()
        model.terms(Batch(x, None, noise(60, step)))["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def bounds(name):
    """Mean and standard error over many draws of the bound with k samples, for each k."""
    model, x = trained(name), bars_and_stripes().double().repeat(40, 1, 1, 1)
    found = {}
    for k in K:
        nats = model.importance_nll(x, k, noise=noise(len(x), k)).view(40, 30).mean(1)
        found[k] = nats.mean().item(), nats.std().item() / 40**0.5
    return found


@pytest.mark.parametrize("name", MAKE)
def test_more_samples_never_loosen_a_trained_bound(name):
    found = bounds(name)
    for fewer, more in ((1, 5), (5, 50)):
        (loose, a), (tight, b) = found[fewer], found[more]
        assert tight < loose + 3 * (a * a + b * b) ** 0.5
    assert log(30) - 3 * found[50][1] < found[50][0] < 11.09  # that of independent pixels
    x = bars_and_stripes().double().repeat(40, 1, 1, 1)
    closed = trained(name).nll(x, noise=noise(len(x), "closed"))  # k = 1 is the bound
    error = closed.view(40, 30).mean(1).std().item() / 40**0.5 + found[1][1]
    assert closed.mean().item() == pytest.approx(found[1][0], abs=4 * error)


def test_a_model_that_is_fitted_by_five_samples_is_better_by_many():
    assert bounds("IWAE")[50][0] < bounds("VAE")[50][0]


def test_steps_that_see_what_is_missing_are_better_than_one():
    assert bounds("DRAW")[1][0] < bounds("VAE")[1][0]


def test_codes_say_less_the_more_the_network_sees():
    x = bars_and_stripes().double()
    kl = [
        trained(f"PixelVAE of depth {depth}").bound(x, None, noise(30)).divergence.sum(1).mean()
        for depth in (0, 1, 3)
    ]
    assert kl[0] > kl[1] + 0.1 > kl[2] + 0.2
