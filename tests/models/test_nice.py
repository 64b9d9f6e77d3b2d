"""NICE: invertible, of the volume that it says, and a density that bounds the likelihood of levels."""

from math import log, log2

import pytest
import torch

from lightning_gen import losses
from lightning_gen.capabilities import Decoder, Encoder, Likelihood, Sampler
from lightning_gen.levels import from_levels, to_levels
from lightning_gen.models.flows import NICE
from lightning_gen.models.quantised import dequantise
from lightning_gen.networks.coupling import AdditiveCouplings
from lightning_gen.optimizers import FusedAdam
from lightning_gen.randomness import Noise


def make(shape=(1, 3, 3), couplings=4, widths=(16, 16), **kwargs):
    torch.manual_seed(0)
    model = NICE(AdditiveCouplings(shape, couplings, widths), **kwargs).double()
    for parameter in model.parameters():  # the shifts begin at zero
        parameter.data.uniform_(-0.5, 0.5)
    return model


def noise(count, *key):
    return Noise(("test", *key), count, dtype=torch.double)


def jacobian(flow, x):
    return torch.autograd.functional.jacobian(lambda v: flow(v.view_as(x))[0][0], x.flatten())


def test_it_can_do_what_the_catalogue_says():
    for capability in (Sampler, Likelihood, Encoder, Decoder):
        assert isinstance(make(), capability)
    assert make().nll_kind == "bound"
    assert make().dequantisation == "uniform"


@pytest.mark.parametrize("shape", [(1, 3, 3), (3, 2, 2), (2, 1, 1)])
@pytest.mark.parametrize("couplings", [1, 2, 3, 4])
def test_the_inverse_undoes_the_map(shape, couplings):
    flow, x = make(shape, couplings).flow, torch.randn(5, *shape).double()
    z, log_det = flow(x)
    assert z.shape == (5, torch.Size(shape).numel())
    assert log_det.shape == (5,)
    torch.testing.assert_close(flow.inverse(z), x, rtol=0, atol=1e-9)


@pytest.mark.parametrize("couplings", [1, 2, 3, 4])
def test_shifts_keep_volumes_and_scales_give_the_log_determinant(couplings):
    flow, x = make(couplings=couplings).flow, torch.randn(1, 1, 3, 3).double()
    slope = torch.linalg.slogdet(jacobian(flow, x))[1]
    torch.testing.assert_close(slope, flow(x)[1][0])
    torch.testing.assert_close(slope, flow.log_scale.sum())
    flow.log_scale.data.zero_()
    assert torch.linalg.slogdet(jacobian(flow, x))[1].item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("couplings", "dense"), [(1, False), (2, False), (3, True), (4, True)])
def test_with_three_couplings_every_code_depends_on_every_sub_pixel(couplings, dense):
    flow = make(couplings=couplings, widths=(64,)).flow
    seen = sum(jacobian(flow, torch.randn(1, 1, 3, 3).double()) != 0 for _ in range(8))
    assert bool((seen > 0).all()) is dense


@pytest.mark.parametrize("prior", ["logistic", "normal"])
def test_the_density_of_points_integrates_to_one(prior):
    model, step = make((2, 1, 1), widths=(8,), prior=prior), 0.1
    axis = torch.arange(-40, 40, step).double()
    x = torch.cartesian_prod(axis, axis).view(-1, 2, 1, 1)
    with torch.no_grad():
        z, log_det = model.flow(x)
        standard = {"logistic": losses.standard_logistic_nll, "normal": losses.standard_normal_nll}
        total = (-standard[prior](z) + log_det).exp().sum().item() * step**2
    assert total == pytest.approx(1, abs=1e-3)


def test_the_logistic_density_is_the_slope_of_its_distribution():
    x = torch.linspace(-15, 15, 101).double()[:, None].requires_grad_()
    (slope,) = torch.autograd.grad(x.sigmoid().sum(), x)
    torch.testing.assert_close(-losses.standard_logistic_nll(x), slope.log()[:, 0])


@pytest.mark.parametrize("prior", ["logistic", "normal"])
def test_the_likelihood_is_the_density_at_the_noise_in_units_of_levels(prior):
    model, x = make(prior=prior), from_levels(torch.randint(256, (6, 1, 3, 3)), dtype=torch.double)
    y = dequantise(x, noise(6))
    z, log_det = model.flow(y)
    logistic = torch.sigmoid(z) * torch.sigmoid(-z)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(z)
    log_p = (logistic.log() if prior == "logistic" else normal).sum(1) + log_det
    torch.testing.assert_close(model.nll(x, noise=noise(6)), -(log_p + 9 * log(2 / 255)))


def test_the_mean_over_the_noise_bounds_the_probability_of_the_level():
    """A flow that is nothing but a narrow scale, of which all masses are known."""
    model, half = make((1, 1, 2), widths=(4,)), 1 / 255
    for parameter in model.flow.shifts.parameters():
        parameter.data.zero_()
    model.flow.log_scale.data.fill_(6.0)
    x, n = from_levels(torch.tensor([128, 127]), dtype=torch.double), 20_000
    scale = model.flow.log_scale.exp()
    mass = ((x + half) * scale).sigmoid() - ((x - half) * scale).sigmoid()
    nll = model.nll(x.view(1, 1, 1, 2).expand(n, -1, -1, -1), noise=noise(n))
    assert abs((-nll).exp().mean().item() - mass.prod().item()) < 5 * (-nll).exp().std() / n**0.5
    assert nll.mean() > -mass.log().sum() + 5 * nll.std() / n**0.5


def test_published_numbers_agree_in_nats_and_in_bits():
    cifar = losses.bits_per_dim(torch.tensor(-5371.78), 3072).item() - log2(2 / 256)
    assert cifar == pytest.approx(4.477, abs=5e-4)  # the table has 4.48
    mnist = losses.bits_per_dim(torch.tensor(-1980.50), 784).item() - log2(1 / 256)
    assert mnist == pytest.approx(4.356, abs=5e-4)
    # 5.4 bits for each pixel of three colours, which were divided by their deviation of 64.15 levels
    diffusion = losses.bits_per_dim(torch.tensor(-5.4 * log(2)), 3).item() - log2(1 / 64.15)
    assert diffusion == pytest.approx(4.20, abs=5e-3)


def test_twice_the_range_is_another_density_but_the_same_likelihood():
    """If the first layers and the scales undo it, the density falls by D ln 2, and the bins grow."""
    model, x = make(couplings=1), torch.randn(4, 1, 3, 3).double()
    z, log_det = model.flow(x)
    model.flow.log_scale.data -= log(2)
    model.flow.shifts[0][0].weight.data /= 2
    for part in (model.flow.shifts[0][-1].weight, model.flow.shifts[0][-1].bias):
        part.data *= 2
    twice, shrunk = model.flow(2 * x)
    torch.testing.assert_close(twice, z)
    torch.testing.assert_close(shrunk, log_det - 9 * log(2))


def test_codes_and_images_are_each_others():
    model, x = make(), torch.rand(4, 1, 3, 3).double() * 1.8 - 0.9
    torch.testing.assert_close(model.decode(model.encode(x)), x)
    assert model.decode(100 * model.latent(4)).abs().max() <= 1


@pytest.mark.parametrize(("prior", "variance"), [("logistic", torch.pi**2 / 3), ("normal", 1)])
def test_samples_are_decoded_draws_of_the_prior_at_levels(prior, variance):
    model = make(prior=prior)
    z = model.latent(20_000, noise(20_000))
    assert z.mean().abs() < 0.02
    assert z.var().item() == pytest.approx(variance, rel=0.03)
    drawn = model.sample(20, noise=noise(20))
    expected = model.decode(model.latent(20, noise(20)))
    assert (drawn - expected).abs().max() <= 0.5 / 127.5 + 1e-9
    assert torch.equal(drawn, from_levels(to_levels(drawn), dtype=torch.double))


def test_it_begins_as_the_identity():
    flow, x = AdditiveCouplings((1, 3, 3), 4, (8,)), torch.randn(2, 1, 3, 3)
    assert torch.equal(flow(x)[0], x.flatten(1))
    assert not flow(x)[1].any()


@pytest.mark.slow
def test_it_learns_what_a_gaussian_cannot():
    """Points on an arc: a second sub-pixel that is the square of the first."""
    first = torch.linspace(-0.9, 0.9, 512)
    x = torch.stack([first, first.square()], 1).view(-1, 1, 1, 2)
    x = from_levels(to_levels(x))
    torch.manual_seed(0)
    model = NICE(AdditiveCouplings((1, 1, 2), 4, (64, 64)))
    optimizer = FusedAdam(model.parameters(), lr=3e-3)
    for step in range(1000):
        optimizer.zero_grad()
        model.nll(x, noise=Noise(("train", step), len(x))).mean().backward()
        optimizer.step()
    y = dequantise(x.double(), noise(len(x))).flatten(1)
    gaussian = torch.distributions.MultivariateNormal(y.mean(0), y.T.cov())
    bits = losses.bits_per_dim(model.nll(x, noise=noise(len(x))), 2).mean().item()
    rival = (-gaussian.log_prob(y).mean() - 2 * log(2 / 255)).item() / (2 * log(2))
    assert 4 < bits < rival - 1  # that the first is uniform costs 8 bits, so 4 per dimension


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: make(prior="cauchy"), "prior must be logistic or normal, got cauchy"),
        (lambda: AdditiveCouplings((1, 1, 1)), "shape must have two halves"),
        (lambda: AdditiveCouplings(couplings=0), "couplings must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()
