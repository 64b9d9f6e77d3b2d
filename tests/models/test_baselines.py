"""What any model has to beat: closed forms, against their formulas and against other libraries."""

from math import exp, log, log2, pi

import pytest
import torch
from torch.distributions import MultivariateNormal

from lightning_gen.capabilities import Likelihood, Sampler
from lightning_gen.levels import from_levels, to_levels
from lightning_gen.losses import bits_per_dim
from lightning_gen.models.autoregressive import GaussianModel, IndependentModel, UniformModel
from lightning_gen.models.base import Batch
from lightning_gen.models.quantised import BIN_WIDTH, dequantise
from lightning_gen.randomness import Noise
from tests.game import TinyData, trainer, two_processes
from tests.pixels import bars_and_stripes, every_image

SHAPE = (1, 4, 4)


def noise(count, *key):
    return Noise(("test", *key), count, dtype=torch.double)


def fitted(model, x, batches=1):
    """After one epoch over images."""
    for i, part in enumerate(x.chunk(batches)):
        model.terms(Batch(part, None, noise(len(part), i)))
    return model


def correlated(count, deviation=20.0):
    """Images 1x3 of a Gaussian that is much wider than a level, and its parameters in levels."""
    factor = deviation * torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0], [-0.5, 0.5, 0.7]]).double()
    eps = torch.randn(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    levels = (128 + eps @ factor.T).round().clamp(0, 255)
    return from_levels(levels.view(-1, 1, 1, 3), dtype=torch.double), factor


def test_they_can_do_what_the_catalogue_says():
    for model in (UniformModel(), IndependentModel(), GaussianModel()):
        assert isinstance(model, Sampler)
        assert isinstance(model, Likelihood)
    assert GaussianModel().nll_kind == "bound"
    assert GaussianModel().dequantisation == "uniform"
    assert UniformModel().nll_kind == IndependentModel().nll_kind == "exact"


# Uniform


def test_uniform_is_eight_bits_per_dimension():
    x = torch.zeros(3, 3, 32, 32)
    bits = bits_per_dim(UniformModel((3, 32, 32)).nll(x), 3 * 32 * 32)
    torch.testing.assert_close(bits, torch.full((3,), 8.0), rtol=0, atol=1e-6)
    binary = UniformModel(levels=2).nll(torch.ones(1, 1, 28, 28).double())
    assert binary.item() == pytest.approx(543.43, abs=0.005)


def test_uniform_draws_all_levels():
    drawn = to_levels(UniformModel(SHAPE, 5).sample(5000, noise=noise(5000)), 5)
    share = drawn.flatten().bincount(minlength=5) / drawn.numel()
    assert (share - 0.2).abs().max() < 0.01


# Independent


def test_independent_is_the_histogram_of_each_sub_pixel():
    x = from_levels(torch.randint(4, (50, 3, 2, 2)), 4, torch.double)
    model = fitted(IndependentModel((3, 2, 2), 4, 0.5), x, batches=3)
    levels, expected = to_levels(x, 4), torch.zeros(50).double()
    for place in range(12):
        column = levels.flatten(1)[:, place]
        p = (column.bincount(minlength=4) + 0.5) / (50 + 4 * 0.5)
        expected -= p[column.long()].log()
    torch.testing.assert_close(model.nll(x), expected)


def test_independent_sums_to_one_and_knows_no_bars_and_stripes():
    model = fitted(IndependentModel(SHAPE, 2, 1e-9), bars_and_stripes().double())
    assert abs((-model.nll(every_image(*SHAPE))).exp().sum().item() - 1) < 1e-10
    assert model.nll(bars_and_stripes().double()).mean().item() == pytest.approx(11.090, abs=1e-3)


def test_independent_draws_what_it_counted():
    x = from_levels(torch.tensor([0, 0, 3, 1]).view(4, 1, 1, 1).expand(4, 1, 1, 2), 4)
    model = fitted(IndependentModel((1, 1, 2), 4, 1e-9), x)
    drawn = to_levels(model.sample(20_000, noise=noise(20_000)), 4)[:, 0, 0].long()
    for column in drawn.unbind(1):
        share = column.bincount(minlength=4) / 20_000
        assert (share - torch.tensor([0.5, 0.25, 0, 0.25])).abs().max() < 0.02
    assert (drawn[:, 0] != drawn[:, 1]).any()


# Gaussian


def test_the_gaussian_is_the_formula_with_the_moments_of_the_dequantised_images():
    x, _ = correlated(40)
    model = fitted(GaussianModel((1, 1, 3), ridge=1e-12), x)
    y = dequantise(x, noise(40, 0)).flatten(1)
    covariance = y.T.cov(correction=0)
    centred = y - y.mean(0)
    squares = (centred @ torch.linalg.inv(covariance) * centred).sum(1)
    density = 0.5 * (squares + torch.linalg.slogdet(covariance)[1] + 3 * log(2 * pi))
    expected = density - 3 * log(BIN_WIDTH)
    torch.testing.assert_close(model.nll(x, noise=noise(40, 0)), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [(1 / 256, 0.0, 8.0), (1.0, 0.0, 0.0), (2 / 256, -1.0, 7.0)])
def test_bits_do_not_depend_on_the_range_of_the_values(scale):
    """Fitted to values a k + b, the density says the same once log2 of the bin's width is taken."""
    a, b, correction = scale
    x, _ = correlated(500)
    model = fitted(GaussianModel((1, 1, 3), ridge=1e-12), x)
    bits = bits_per_dim(model.nll(x, noise=noise(500, 0)), 3)
    y = (dequantise(x, noise(500, 0)).flatten(1) + 1) * 127.5 * a + b
    fit = MultivariateNormal(y.mean(0), y.T.cov(correction=0))
    expected = -fit.log_prob(y) / (3 * log(2)) + correction
    torch.testing.assert_close(bits, expected, rtol=0, atol=1e-6)


def test_data_of_a_known_gaussian_costs_its_entropy():
    x, factor = correlated(20_000)
    model = fitted(GaussianModel((1, 1, 3)), x, batches=7)
    bits = bits_per_dim(model.nll(x, noise=noise(20_000)), 3).mean().item()
    entropy = log2(2 * pi * exp(1)) / 2 + torch.linalg.slogdet(factor)[1].item() / log(2) / 3
    assert bits == pytest.approx(entropy, abs=0.01)


def test_the_more_a_gaussian_may_say_the_better_it_fits():
    x, _ = correlated(500)
    x[..., 0] = x[..., 0] * 0.5 + 0.002  # so that the variances differ
    x = from_levels(to_levels(x), dtype=torch.double)
    full, diagonal, isotropic = (
        fitted(GaussianModel((1, 1, 3), kind), x).nll(x, noise=noise(500)).mean().item()
        for kind in ("full", "diagonal", "isotropic")
    )
    assert full < diagonal - 0.1
    assert diagonal < isotropic - 0.1


def test_fewer_images_than_sub_pixels_are_enough():
    x = from_levels(torch.randint(256, (5, *SHAPE)))
    model = fitted(GaussianModel(SHAPE), x)
    assert model.nll(x, noise=noise(5)).isfinite().all()
    assert model.nll(x, noise=noise(5)).dtype == torch.float32


def test_a_gaussian_that_has_seen_nothing_has_a_likelihood_all_the_same():
    model = GaussianModel(SHAPE)
    assert model.nll(torch.zeros(2, *SHAPE)).isfinite().all()
    assert model.sample(2).shape == (2, *SHAPE)


def test_a_gaussian_draws_with_its_moments():
    x, factor = correlated(20_000)
    drawn = fitted(GaussianModel((1, 1, 3)), x).sample(20_000, noise=noise(20_000))
    levels = to_levels(drawn).double().flatten(1)
    torch.testing.assert_close(levels.T.cov(), factor @ factor.T, rtol=0.05, atol=8)
    assert (levels.mean(0) - 128).abs().max() < 1


def test_a_sub_pixel_that_is_nearly_constant_costs_the_bits_of_its_noise():
    """Far from zero: in single precision the difference of the moments would be lost."""
    x = from_levels(torch.randint(256, (20_000, 1, 1, 2)), dtype=torch.double)
    x[..., 1] = 1
    y = dequantise(x, noise(20_000, 0)).flatten(1)
    model = fitted(GaussianModel((1, 1, 2), ridge=1e-12), x)
    torch.testing.assert_close(
        model.density().covariance_matrix, y.T.cov(correction=0), rtol=1e-6, atol=1e-11
    )
    bits = bits_per_dim(model.nll(x, noise=noise(20_000)), 2).mean().item()
    of_noise = log2(2 * pi * exp(1) / 12) / 2
    assert bits == pytest.approx((8 + of_noise) / 2 + of_noise / 2, abs=0.01)


@pytest.mark.parametrize("kind", ["full", "diagonal", "isotropic"])
def test_a_gaussian_is_fitted_again_when_it_saw_more_and_only_then(kind, monkeypatch):
    calls, factorise = [], torch.linalg.cholesky
    monkeypatch.setattr(torch.linalg, "cholesky", lambda a: calls.append(1) or factorise(a))
    x = torch.rand(40, *SHAPE).double() * 2 - 1
    model, other = fitted(GaussianModel(SHAPE, kind), x), fitted(GaussianModel(SHAPE, kind), -x)
    first = [model.nll(x, noise=noise(40)) for _ in range(3)]
    assert len(calls) == 1
    assert torch.equal(first[0], first[2])
    model.sample(2)
    assert len(calls) == 1
    model.load_state_dict(other.state_dict())  # of as many images
    assert torch.equal(model.nll(x, noise=noise(40)), other.nll(x, noise=noise(40)))
    assert not torch.allclose(model.nll(x, noise=noise(40)), first[0])
    fitted(model, x[:1])
    model.nll(x)
    assert len(calls) == 4


# In training

MODELS = [
    lambda: IndependentModel(SHAPE),
    lambda: GaussianModel(SHAPE),
    lambda: UniformModel(SHAPE),
]


def run(model, **kwargs):
    player = trainer(**{"max_epochs": 1, **kwargs})
    player.fit(model, TinyData(32))
    return player


@pytest.mark.parametrize("make", MODELS)
def test_an_epoch_adds_up_all_images_and_counts_its_steps(make, tmp_path):
    model = make()
    player = run(model)
    assert player.global_step == 4
    assert model.images_seen == 32
    player.save_checkpoint(tmp_path / "it.ckpt")
    again = make()
    again.load_state_dict(torch.load(tmp_path / "it.ckpt", weights_only=True)["state_dict"])
    x = from_levels(torch.arange(8).view(-1, 1, 1, 1).expand(-1, *SHAPE))
    assert torch.equal(model.nll(x, noise=noise(8)), again.nll(x, noise=noise(8)))
    if isinstance(model, IndependentModel):
        assert model.counts.counts[:32].eq(1).all()
        assert not model.counts.counts[32:].any()


@pytest.mark.slow
@pytest.mark.parametrize("make", MODELS[:2])
def test_two_processes_add_up_what_one_does(make, tmp_path):
    alone, shared = make(), make()
    run(alone).save_checkpoint(tmp_path / "1.ckpt")
    run(shared, **two_processes()).save_checkpoint(tmp_path / "2.ckpt")
    one, two = (torch.load(tmp_path / f"{n}.ckpt", weights_only=True)["state_dict"] for n in (1, 2))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: IndependentModel(smoothing=0), "smoothing must be positive images, got 0"),
        (
            lambda: GaussianModel(covariance="tied"),
            "covariance must be full, diagonal or isotropic, got tied",
        ),
        (lambda: GaussianModel(ridge=0), "ridge must be a positive share"),
        (lambda: UniformModel(levels=0), "levels must be from 2 to 256, got 0"),
        (lambda: UniformModel(levels=300), "levels must be from 2 to 256, got 300"),
        (lambda: IndependentModel(levels=1), "levels must be from 2 to 256, got 1"),
        (lambda: IndependentModel((1, 0, 4)), "shape must be one or more sizes of at least 1"),
        (lambda: GaussianModel((1, -4, 4)), "shape must be one or more sizes of at least 1"),
        (lambda: UniformModel(levels=2).check(torch.zeros(1, 1, 2, 2)), "the model has 2 levels"),
    ],
)
def test_bad_arguments_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
