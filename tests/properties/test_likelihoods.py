"""Likelihoods are probabilities, and agree with what can be computed."""

from itertools import product
from math import exp, log

import pytest
import torch

from lightning_gen import losses
from lightning_gen.levels import from_levels
from lightning_gen.models.distributions import (
    Bernoulli,
    DiscretizedLogistic,
    Gaussian,
)
from lightning_gen.networks.encoders import MLPDecoder
from lightning_gen.randomness import Noise

EVERY_LEVEL = from_levels(torch.arange(256), dtype=torch.double).view(-1, 1, 1, 1)
EVERY_3X3 = torch.tensor(list(product([-1.0, 1.0], repeat=9)), dtype=torch.double).view(-1, 1, 3, 3)


def noise(count, *key, dtype=torch.double):
    return Noise(("test", *key), count, dtype=dtype)


def pixel(*parameters):
    """Parameters of one pixel for all levels, (256, P, 1, 1, 1)."""
    return (
        torch.tensor(parameters, dtype=torch.double).view(1, -1, 1, 1, 1).expand(256, -1, 1, 1, 1)
    )


# The losses


@pytest.mark.parametrize("mean", [0.0, -0.99, 0.9, 3.0, -0.5, 1 / 255])
@pytest.mark.parametrize("log_scale", [-7.0, -5.0, -3.0, -1.0, 0.0, 4.0])
def test_the_discretised_logistic_gives_all_levels_together_one(mean, log_scale):
    nll = losses.discretized_logistic_nll(
        torch.full_like(EVERY_LEVEL, mean), torch.full_like(EVERY_LEVEL, log_scale), EVERY_LEVEL
    )
    assert abs((-nll).exp().sum().item() - 1) < 1e-12


def test_the_discretised_logistic_is_the_difference_of_two_sigmoids():
    mean, log_scale = torch.tensor(0.1).double(), torch.tensor(-2.0).double()
    nll = losses.discretized_logistic_nll(
        mean.expand(256, 1), log_scale.expand(256, 1), EVERY_LEVEL.view(-1, 1)
    )
    edges = (torch.arange(255).double() + 0.5) / 127.5 - 1
    cdf = torch.sigmoid((edges - mean) / log_scale.exp())
    masses = torch.cat([cdf[:1], cdf.diff(), 1 - cdf[-1:]])
    torch.testing.assert_close((-nll).exp(), masses, rtol=0, atol=1e-14)


def test_the_discretised_logistic_and_its_gradient_stay_finite_in_float32():
    mean = torch.tensor([-20.0, 0.0, 20.0, 0.3]).repeat(4, 1).requires_grad_()
    log_scale = torch.tensor([[-7.0], [-2.0], [0.0], [8.0]]).repeat(1, 4).requires_grad_()
    for x in (-1.0, 0.2, 1.0):
        nll = losses.discretized_logistic_nll(mean, log_scale, torch.full((4, 4), x))
        gradients = torch.autograd.grad(nll.sum(), (mean, log_scale))
        assert all(value.isfinite().all() for value in (nll, *gradients))


def test_bernoulli_masses_sum_to_one_and_even_odds_cost_one_bit_per_pixel():
    logits = 5 * torch.randn(1, 9, dtype=torch.double)
    x = (EVERY_3X3.flatten(1) + 1) / 2
    total = (-losses.bernoulli_nll(logits.expand(512, -1), x)).exp().sum().item()
    assert abs(total - 1) < 1e-12
    even = losses.bernoulli_nll(torch.zeros(512, 9).double(), x)
    torch.testing.assert_close(even, torch.full_like(even, 9 * log(2)))


def test_a_sure_bernoulli_costs_nothing_when_right_and_its_logit_when_wrong():
    nll = losses.bernoulli_nll(torch.tensor([[200.0], [200.0]]), torch.tensor([[1.0], [0.0]]))
    assert nll.tolist() == [0, 200]


@pytest.mark.parametrize("shape", [(1, 3, 3), (1, 28, 28), (3, 8, 8)])
def test_signs_cost_what_binary_values_do_with_gradients_and_without(shape):
    torch.manual_seed(0)
    logits = (10 * torch.randn(4, *shape, dtype=torch.double)).requires_grad_()
    signs = torch.randn(4, *shape, dtype=torch.double).sign()
    expected = losses.bernoulli_nll(logits, (signs + 1) / 2)
    slopes = torch.autograd.grad(expected.sum(), logits)
    found = losses.sign_nll(logits, signs)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), logits), slopes)
    without = logits.detach().clone()
    found = losses.sign_nll(without, signs)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-13, atol=1e-13)
    assert torch.equal(without, logits)  # it works in place on numbers of its own


@pytest.mark.parametrize("gradients", [False, True])
def test_signs_cost_as_much_as_they_should_in_float32_however_sure_the_logits_are(gradients):
    for logit, sign, cost in ((0, 1, log(2)), (500, 1, 0), (-500, 1, 500), (500, -1, 500)):
        logits = torch.full((1, 2, 32, 32), float(logit), requires_grad=gradients)
        nll = losses.sign_nll(logits, torch.full_like(logits, sign)).detach()
        torch.testing.assert_close(nll, torch.tensor([2048.0 * cost]))
    half = losses.sign_nll(torch.zeros(1, 1, 8, 8, dtype=torch.bfloat16), torch.ones(1, 1, 8, 8))
    torch.testing.assert_close(half, torch.tensor([64 * log(2)]))


def test_categorical_masses_sum_to_one_and_shape_is_per_image():
    logits = torch.randn(1, 5, 2, dtype=torch.double)
    levels = torch.tensor(list(product(range(5), repeat=2)))
    nll = losses.categorical_nll(logits.expand(25, -1, -1), levels)
    assert nll.shape == (25,)
    assert abs((-nll).exp().sum().item() - 1) < 1e-12


def test_gaussians_agree_with_torch():
    mean, log_var, x = torch.randn(3, 7, 5, dtype=torch.double)
    expected = -torch.distributions.Normal(mean, (log_var / 2).exp()).log_prob(x).sum(1)
    torch.testing.assert_close(losses.gaussian_nll(mean, log_var, x), expected)
    zero = torch.zeros_like(x)
    torch.testing.assert_close(losses.standard_normal_nll(x), losses.gaussian_nll(zero, zero, x))


def test_the_divergence_agrees_with_monte_carlo():
    mean, log_var = torch.tensor([0.7, -1.2]).double(), torch.tensor([-1.5, 0.4]).double()
    kl = losses.gaussian_kl(mean[None], log_var[None]).item()
    eps = torch.randn(100_000, 2, dtype=torch.double)
    z = mean + (log_var / 2).exp() * eps
    q = losses.gaussian_nll(mean.expand_as(z), log_var.expand_as(z), z)
    ratio = losses.standard_normal_nll(z) - q
    assert abs(ratio.mean().item() - kl) < 4 * ratio.std().item() / 100_000**0.5


def test_the_divergence_is_positive_and_zero_only_at_the_prior():
    mean, log_var = torch.randn(2, 1000, 3, dtype=torch.double)
    assert (losses.gaussian_kl(mean, log_var) > 0).all()
    near = torch.tensor([[1e-4]])  # in float32, where exp(s) - 1 - s is lost to rounding
    torch.testing.assert_close(
        losses.gaussian_kl(0 * near, near), torch.tensor([2.5e-9]), rtol=1e-2, atol=0
    )
    assert losses.gaussian_kl(0 * near, 0 * near).item() == 0


def test_half_precision_is_left_before_summing():
    nll = losses.bernoulli_nll(torch.zeros(1, 3072, dtype=torch.bfloat16), torch.ones(1, 3072))
    assert nll.dtype == torch.float32
    torch.testing.assert_close(nll, torch.tensor([3072 * log(2)]))


def test_bits_per_dim_of_uniform_levels_is_eight():
    uniform = losses.categorical_nll(torch.zeros(1, 256, 3, 4, 4), torch.zeros(1, 3, 4, 4))
    torch.testing.assert_close(losses.bits_per_dim(uniform, 48), torch.tensor([8.0]))


# The distributions of decoders


def test_a_gaussian_with_noise_bounds_the_probability_of_the_level():
    """The mean over the noise is the logarithm's mean, below the logarithm of the bin's mass."""
    mean, log_var, x = 0.1, -6.0, EVERY_LEVEL[140:141]
    half = 1 / 255
    normal = torch.distributions.Normal(torch.tensor(mean).double(), exp(log_var / 2))
    mass = (normal.cdf(x + half) - normal.cdf(x - half)).item()
    u = (torch.arange(10_000).double() + 0.5) / 10_000
    targets = (x.flatten() + (u - 0.5) * 2 * half).view(-1, 1, 1, 1)
    parameters = pixel(mean, log_var)[:1].expand(len(u), -1, 1, 1, 1)
    nll = Gaussian().nll(parameters, targets)
    assert abs((-nll).exp().mean().item() - mass) < 1e-9
    assert nll.mean().item() > -log(mass)


def test_the_gaussian_fills_the_bins_evenly():
    x = torch.zeros(20_000, 1, 1, 1).double()
    targets = Gaussian().targets(x, noise(len(x)))
    assert targets.abs().max() <= 1 / 255
    assert abs(targets.var().item() * 255**2 * 12 / 4 - 1) < 0.05


@pytest.mark.parametrize("distribution", [DiscretizedLogistic(), Bernoulli(), Gaussian()])
def test_pixels_are_drawn_as_the_likelihood_says(distribution):
    parameters = pixel(*[0.3, -3.5][: distribution.parameters])
    if isinstance(distribution, Bernoulli):
        levels = torch.tensor([-1.0, 1.0]).double()
        masses = (-distribution.nll(parameters[:2], levels.view(2, 1, 1, 1))).exp()
    else:
        levels = EVERY_LEVEL.flatten()
        masses = (-distribution.nll(parameters, EVERY_LEVEL)).exp()
    n = 50_000
    drawn = distribution.sample(parameters[:1].expand(n, -1, 1, 1, 1), noise(n)).flatten()
    counts = (drawn[:, None] == levels).double().mean(0)
    assert counts.sum() == 1  # nothing is drawn between the levels
    assert ((counts - masses).abs() < 5 * (masses * (1 - masses) / n).sqrt() + 1e-3).all()


@pytest.mark.parametrize("distribution", [DiscretizedLogistic(), Bernoulli(), Gaussian()])
def test_each_image_meets_its_own_rows_of_parameters(distribution):
    torch.manual_seed(0)
    parameters = torch.randn(3, 2, distribution.parameters, 1, 2, 4, dtype=torch.double)
    targets = torch.randn(3, 1, 2, 4, dtype=torch.double).sign()
    found = distribution.nll_of_draws(parameters, targets)
    for i, k in ((0, 0), (0, 1), (1, 0), (2, 1)):
        alone = distribution.nll(parameters[i, k : k + 1], targets[i : i + 1])
        torch.testing.assert_close(found[i, k], alone[0])
    assert found.shape == (3, 2)
    assert distribution.nll_of_draws(parameters[:0], targets[:0]).shape == (0, 2)


def test_the_decoder_gives_all_images_together_one_for_any_code():
    torch.manual_seed(0)
    decoder = MLPDecoder((1, 3, 3), 2, (8,)).double()
    parameters = decoder(torch.randn(1, 2).double()).expand(512, -1, -1, -1, -1)
    targets = Bernoulli().targets(EVERY_3X3, noise(512))
    assert abs((-Bernoulli().nll(parameters, targets)).exp().sum().item() - 1) < 1e-10


def test_repeating_every_pixel_doubles_the_reconstruction():
    x, logits = EVERY_3X3[300:310], torch.randn(10, 1, 1, 3, 3).double()
    once = Bernoulli().nll(logits, Bernoulli().targets(x, noise(10)))
    wide = Bernoulli().nll(
        logits.repeat_interleave(2, -1), Bernoulli().targets(x.repeat_interleave(2, -1), noise(10))
    )
    torch.testing.assert_close(wide, 2 * once)
