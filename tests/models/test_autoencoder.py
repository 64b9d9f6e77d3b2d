"""Autoencoders: the linear ones that are known, what they are shown, and what they do not claim."""

from math import log

import pytest
import torch
from torch import nn

from lightning_gen import losses
from lightning_gen.analysis.pca import PrincipalComponents
from lightning_gen.capabilities import Decoder as Decodes
from lightning_gen.capabilities import Encoder as Encodes
from lightning_gen.capabilities import Likelihood, Sampler
from lightning_gen.losses.reconstruction import reconstruction_error
from lightning_gen.models.autoencoders import Autoencoder
from lightning_gen.models.base import Batch
from lightning_gen.models.corruption import GaussianNoise, Masking, SaltAndPepper
from lightning_gen.networks.bottleneck import (
    ConvCoder,
    MLPCoder,
    StackedCoder,
    StackedDecoder,
    UpsamplingDecoder,
)
from lightning_gen.networks.encoders import MLPDecoder
from lightning_gen.nn.bottleneck import Coder
from lightning_gen.nn.roles import Decoder
from lightning_gen.randomness import Noise
from tests.game import fit

SHAPE = (1, 4, 4)


class LinearCoder(Coder):
    def __init__(self, size, latent_size):
        super().__init__()
        self.shape, self.latent_size = (1, 1, size), latent_size
        self.matrix = nn.Linear(size, latent_size, bias=False)

    def forward(self, x):
        return self.matrix(x.flatten(1))


class LinearDecoder(Decoder):
    outputs = 1

    def __init__(self, size, latent_size):
        super().__init__()
        self.shape, self.latent_size = (1, 1, size), latent_size
        self.matrix = nn.Linear(latent_size, size, bias=False)

    def forward(self, z, labels=None):
        return self.matrix(z).unflatten(1, (1, *self.shape))


def linear(size, latent_size, **kwargs):
    torch.manual_seed(0)
    networks = LinearCoder(size, latent_size), LinearDecoder(size, latent_size)
    return Autoencoder(*networks, **kwargs).double()


def make(corruption=None, **kwargs):
    torch.manual_seed(0)
    networks = MLPCoder(SHAPE, 3, (8,)), MLPDecoder(SHAPE, 3, (8,))
    return Autoencoder(*networks, corruption, **kwargs).double()


def stacked(corruption=None, **kwargs):
    torch.manual_seed(0)
    networks = StackedCoder(SHAPE, (6, 5)), StackedDecoder(SHAPE, (6, 5))
    return Autoencoder(*networks, corruption, **{"level_images": 100, **kwargs}).double()


def noise(count, *key):
    return Noise(("test", *key), count, dtype=torch.double)


def batch(x):
    return Batch(x, None, noise(len(x)))


def images(count=5):
    return torch.rand(count, *SHAPE, dtype=torch.double) * 2 - 1


def gaussian(count, size, spread=0.5):
    """Images of a Gaussian with mean 0, and its covariance."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(size, size, generator=generator, dtype=torch.double)
    root = spread * root + torch.eye(size)
    draws = torch.randn(count, size, generator=generator, dtype=torch.double)
    return (draws @ root.T).view(count, 1, 1, size), root @ root.T


def minimise(model, x, steps=100):
    """Fits a model to images whose noise stays the same; its loss."""
    line_search = {"line_search_fn": "strong_wolfe", "tolerance_change": 1e-12}
    optimizer = torch.optim.LBFGS(model.parameters(), 1.0, steps, **line_search)

    def loss():
        optimizer.zero_grad()
        value = model.terms(batch(x))["loss"]
        value.backward()
        return value

    optimizer.step(loss)
    return model.terms(batch(x))["loss"].item()


def product(model):
    """The matrix of a linear autoencoder."""
    return (model.decoder.matrix.weight @ model.encoder.matrix.weight).detach()


def test_it_claims_no_likelihood_and_no_samples():
    model = make()
    assert isinstance(model, Encodes)
    for capability in (Sampler, Likelihood, Decodes):
        assert not isinstance(model, capability)
    assert model.prior == "none"


def test_a_linear_autoencoder_finds_the_principal_components():
    x = gaussian(300, 6)[0]
    x = x - x.mean(0)
    model, known = linear(6, 2), PrincipalComponents([x], 2)
    residual = known.variances[2:].sum().item()
    assert minimise(model, x) == pytest.approx(residual, rel=1e-6)
    found = torch.linalg.qr(model.decoder.matrix.weight.detach()).Q
    outside = found - known.directions @ (known.directions.T @ found)
    assert torch.linalg.matrix_norm(outside, 2) < 1e-3  # the sine of the largest angle
    assert torch.linalg.matrix_rank(product(model)) == 2


def test_a_code_as_long_as_the_image_loses_nothing_and_one_number_does_not_suffice():
    x = gaussian(300, 4)[0]
    x = x - x.mean(0)
    assert minimise(linear(4, 4), x) < 1e-8
    assert minimise(linear(4, 1), x) > 0.5


def test_the_best_linear_denoiser_is_found():
    """It is S (S + sigma^2)^-1; one that has to rebuild the noise as well is the identity."""
    sigma = 0.7
    x, s = gaussian(20_000, 4)
    model = linear(4, 4, corruption=GaussianNoise(sigma))
    minimise(model, x)
    best = s @ torch.linalg.inv(s + sigma**2 * torch.eye(4))
    error = torch.linalg.matrix_norm(product(model) - best) / torch.linalg.matrix_norm(best)
    assert error < 0.02
    assert torch.linalg.matrix_norm(product(model) - torch.eye(4)) > 0.3


def test_what_a_denoiser_changes_is_the_slope_of_the_log_density():
    sigma = 0.2
    x, s = gaussian(40_000, 4, spread=0.1)
    model = linear(4, 4, corruption=GaussianNoise(sigma))
    minimise(model, x, steps=40)
    slope = (product(model) - torch.eye(4)) / sigma**2
    score = -torch.linalg.inv(s)  # of the density without the noise, which is small
    assert torch.linalg.matrix_norm(slope - score) < 0.1 * torch.linalg.matrix_norm(score)


def test_a_denoiser_beats_the_identity():
    sigma = 0.7
    x, _ = gaussian(5000, 4)
    model = linear(4, 4, corruption=GaussianNoise(sigma))
    assert minimise(model, x) < 0.9 * 4 * sigma**2


def test_noise_of_size_zero_gives_the_autoencoder():
    x = images()
    plain, silent = make(), make(GaussianNoise(0.0))
    for model in (plain, silent):
        model.terms(batch(x))["loss"].backward()
    for a, b in zip(plain.parameters(), silent.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


@pytest.mark.parametrize("corruption", [GaussianNoise(0.5), Masking(0.3), SaltAndPepper(0.3)])
def test_what_is_shown_is_corrupted_and_what_is_to_be_rebuilt_is_not(corruption):
    model, x = make(corruption), images()
    shown, _ = corruption(x, noise(5))
    made = model.decoder(model.encoder(shown))[:, 0]
    terms = model.terms(batch(x))
    torch.testing.assert_close(terms["loss"], (made - x).square().sum((1, 2, 3)).mean())
    torch.testing.assert_close(terms["mse"], ((made - x) / 2).square().mean())


def test_codes_and_reconstructions_are_never_of_corrupted_images():
    model, plain, x = make(Masking(0.9)), make(), images()
    for mode in (True, False):
        model.train(mode)
        assert torch.equal(model.encode(x), plain.encode(x))
        assert torch.equal(model.reconstruct(x), plain.reconstruct(x))
        assert torch.equal(model.reconstruct(x), model.decode(model.encode(x)))


def test_spoilt_sub_pixels_can_count_more():
    corruption, x = Masking(0.4), images()
    model = make(corruption, corrupted_weight=3.0, kept_weight=0.5)
    shown, touched = corruption(x, noise(5))
    squares = (model.decoder(model.encoder(shown))[:, 0] - x).square()
    expected = (3 * squares[touched].sum() + 0.5 * squares[~touched].sum()) / 5
    torch.testing.assert_close(model.terms(batch(x))["loss"], expected)


def test_the_error_is_a_sum_over_sub_pixels():
    made, x = images(), images()
    twice = [torch.cat([t, t], -1) for t in (made, x)]
    for kind in ("squared", "cross_entropy"):
        once = reconstruction_error(made, x, kind)
        torch.testing.assert_close(reconstruction_error(*twice, kind), 2 * once)


def test_cross_entropy_is_of_greys_between_black_and_white():
    x = images()
    even = reconstruction_error(torch.zeros_like(x), x, "cross_entropy")
    torch.testing.assert_close(even, torch.full_like(even, 16 * log(2)))
    logits, binary = images(), images().sign()
    expected = losses.bernoulli_nll(logits, (binary + 1) / 2)
    torch.testing.assert_close(reconstruction_error(logits, binary, "cross_entropy"), expected)
    best = torch.logit((x + 1) / 2).requires_grad_()
    reconstruction_error(best, x, "cross_entropy").sum().backward()
    assert best.grad.abs().max() < 1e-12
    model = make(error="cross_entropy")
    made = model.decoder(model.encoder(x))[:, 0].sigmoid() * 2 - 1
    torch.testing.assert_close(model.reconstruct(x), made)
    torch.testing.assert_close(model.terms(batch(x))["mse"], ((made - x) / 2).square().mean())


def test_levels_are_fitted_one_by_one_and_then_as_one():
    model, x = stacked(), images()
    moved = {}
    for seen in (0, 99, 100, 199, 200, 10_000):
        model.images_seen = seen
        model.zero_grad()
        model.terms(batch(x))["loss"].backward()
        moved[seen] = {name for name, p in model.named_parameters() if p.grad is not None}
    every = {name for name, _ in model.named_parameters()}
    lowest = {n for n in every if n.startswith(("encoder.levels.0", "decoder.levels.1"))}
    assert moved[0] == moved[99] == lowest and moved[100] == moved[199] == every - lowest
    assert moved[200] == moved[10_000] == every


def test_a_level_rebuilds_what_it_reads_of_clean_images_from_that_corrupted():
    corruption, x = Masking(0.5), images(200)
    model = stacked(corruption)
    model.images_seen = 100
    hidden = model.encoder.levels[0](x)
    shown, touched = corruption(hidden, noise(200), low=0.0)
    assert (shown[touched] == 0).all()
    made = model.decoder.levels[0](model.encoder.levels[1](shown))
    torch.testing.assert_close(
        model.terms(batch(x))["loss"], (made - hidden).square().sum(1).mean()
    )


def test_levels_make_one_network():
    model, x = stacked(), images()
    hidden = model.encoder.levels[1](model.encoder.levels[0](x))
    assert torch.equal(model.encode(x), hidden) and hidden.shape == (5, 5)
    made = model.decoder.levels[1](model.decoder.levels[0](hidden))
    assert torch.equal(model.decoder(hidden), made) and made.shape == (5, 1, *SHAPE)


def test_the_switches_of_pooling_are_used_where_both_networks_know_of_any():
    torch.manual_seed(0)
    coder = ConvCoder(SHAPE, 3, (4, 5), down="pool")
    for up in ("unpool", "nearest"):
        model = Autoencoder(coder, UpsamplingDecoder(SHAPE, 3, (4, 5), up)).double()
        x = images()
        alone = model.decode(model.encode(x))
        assert torch.equal(model.reconstruct(x), alone) == (up != "unpool")
        code, switches = model.encoder.with_switches(x)
        kept = {"switches": switches} if up == "unpool" else {}
        made = model.decoder(code, **kept)[:, 0]
        torch.testing.assert_close(model.reconstruct(x), made.clamp(-1, 1))
        loss = (made - x).square().sum((1, 2, 3)).mean()
        torch.testing.assert_close(model.terms(batch(x))["loss"], loss)


@pytest.mark.parametrize("build", [make, stacked])
def test_it_trains(build):
    model = build(Masking(0.3), ema_half_life=10.0)
    fit(model, max_steps=3)
    assert all(term.isfinite() for term in model.last_terms.values())
    assert model.images_seen == 24
    x = images()
    with torch.no_grad():
        averaged = model.averages["encoder"].network(x)
    assert torch.equal(model.encode(x), averaged) and not torch.equal(averaged, model.encoder(x))


def test_what_does_not_fit_is_refused():
    coder, decoder = MLPCoder(SHAPE, 3, (8,)), MLPDecoder(SHAPE, 3, (8,))
    pooled = ConvCoder(SHAPE, 3, (4, 5), down="pool")
    for networks, arguments, sentence in (
        ((coder, MLPDecoder(SHAPE, 4)), {}, "latent_size is 3 but the decoder's is 4"),
        ((coder, MLPDecoder((1, 2, 8), 3)), {}, "shape"),
        ((coder, MLPDecoder(SHAPE, 3, outputs=2)), {}, "outputs must be 1 per sub-pixel, got 2"),
        ((pooled, UpsamplingDecoder(SHAPE, 3, (5, 4), "unpool")), {}, "widths of the decoder"),
        ((coder, decoder), {"error": "absolute"}, "squared or cross_entropy"),
        ((coder, decoder), {"corrupted_weight": 2.0}, "need a corruption that leaves some"),
        (
            (coder, decoder),
            {"corruption": GaussianNoise(), "kept_weight": 0.5},
            "need a corruption that leaves some",
        ),
        ((coder, decoder), {"kept_weight": -1.0}, "not negative"),
        ((coder, decoder), {"level_images": 10}, "as many levels, such as StackedCoder"),
        ((coder, decoder), {"level_images": -1}, "level_images must not be negative"),
    ):
        with pytest.raises(ValueError, match=sentence):
            Autoencoder(*networks, **arguments)
