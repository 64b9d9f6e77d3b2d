"""The games of f-GAN bound divergences that are known exactly, and tell no divergence from another."""

import math

import pytest
import torch
import torch.nn.functional as F

from lightning_gen import losses

P = torch.tensor([0.5, 0.3, 0.2], dtype=torch.double)
Q = torch.tensor([0.2, 0.2, 0.6], dtype=torch.double)
LOG2 = math.log(2)

GENERATORS = {  # f of each divergence, with D_f(p || q) = sum q f(p / q)
    "kl": lambda u: u * u.log(),
    "reverse_kl": lambda u: -u.log(),
    "pearson": lambda u: (u - 1).square(),
    "neyman": lambda u: (1 - u).square() / u,
    "squared_hellinger": lambda u: (u.sqrt() - 1).square(),
    "total_variation": lambda u: (u - 1).abs() / 2,
    "jensen_shannon": lambda u: u * u.log() - (u + 1) * ((u + 1) / 2).log(),
    "gan": lambda u: u * u.log() - (u + 1) * (u + 1).log(),
}
EXACT = {
    "kl": 0.360062,
    "reverse_kl": 0.394816,
    "pearson": 0.766667,
    "neyman": 1.013333,
    "squared_hellinger": 0.184826,
    "total_variation": 0.4,
    "jensen_shannon": 0.181132,
    "gan": -1.205163,
}
ROWS = {  # g and f*, as Tables 2 and 6 have them
    "kl": (lambda a: a, lambda t: (t - 1).exp()),
    "reverse_kl": (lambda a: -(-a).exp(), lambda t: -1 - (-t).log()),
    "pearson": (lambda a: a, lambda t: t.square() / 4 + t),
    "neyman": (lambda a: 1 - (-a).exp(), lambda t: 2 - 2 * (1 - t).sqrt()),
    "squared_hellinger": (lambda a: 1 - (-a).exp(), lambda t: t / (1 - t)),
    "total_variation": (lambda a: a.tanh() / 2, lambda t: t),
    "jensen_shannon": (lambda a: LOG2 - F.softplus(-a), lambda t: -(2 - t.exp()).log()),
    "gan": (lambda a: -F.softplus(-a), lambda t: -(1 - t.exp()).log()),
}
AT_ONE = {  # f'(1): the value of T where the densities are equal
    "kl": 1.0,
    "reverse_kl": -1.0,
    "pearson": 0.0,
    "neyman": 0.0,
    "squared_hellinger": 0.0,
    "jensen_shannon": 0.0,
    "gan": -LOG2,
}


def bound(divergence, table):
    """What the discriminator maximises, if each of three images is drawn as often as it should be."""
    objective, total = losses.FDivergence(divergence), torch.zeros((), dtype=torch.double)
    for p, q, a in zip(P, Q, table.split(1)):
        zero = torch.zeros_like(a)
        at_zero = objective(zero, zero).discriminator
        total = total + p * (at_zero - objective(a, zero).discriminator)
        total = total + q * (at_zero - objective(zero, a).discriminator)
    return total - at_zero


def best_table(divergence):
    """The logits that maximise the bound."""
    table = torch.zeros(3, dtype=torch.double, requires_grad=True)
    options = {"max_iter": 500, "line_search_fn": "strong_wolfe", "tolerance_change": 0}
    optimizer = torch.optim.LBFGS([table], tolerance_grad=1e-12, **options)

    def closure():
        optimizer.zero_grad()
        loss = -bound(divergence, table)
        loss.backward()
        return loss

    optimizer.step(closure)
    return table.detach()


@pytest.mark.parametrize("divergence", EXACT)
def test_best_discriminator_measures_the_divergence(divergence):
    exact = (Q * GENERATORS[divergence](P / Q)).sum()
    assert exact.item() == pytest.approx(EXACT[divergence], abs=1e-6)
    assert bound(divergence, best_table(divergence)).item() == pytest.approx(exact.item(), abs=1e-6)


@pytest.mark.parametrize("divergence", AT_ONE)
def test_best_discriminator_is_the_derivative_at_the_ratio(divergence):
    ratio = (P / Q).requires_grad_()
    (slope,) = torch.autograd.grad(GENERATORS[divergence](ratio).sum(), ratio)
    found = ROWS[divergence][0](best_table(divergence))
    torch.testing.assert_close(found, slope, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("divergence", EXACT)
def test_no_discriminator_measures_more(divergence):
    exact = (Q * GENERATORS[divergence](P / Q)).sum()
    for _ in range(50):
        assert bound(divergence, 3 * torch.randn(3, dtype=torch.double)) <= exact + 1e-12


@pytest.mark.parametrize("divergence", ROWS)
def test_both_losses_are_those_of_the_table(divergence):
    activation, conjugate = ROWS[divergence]
    real, fake = torch.randn(2, 7, dtype=torch.double)
    plain = losses.FDivergence(divergence)(real, fake)
    fakes = conjugate(activation(fake)).mean()
    torch.testing.assert_close(plain.discriminator, fakes - activation(real).mean())
    torch.testing.assert_close(plain.generator, -activation(fake).mean())
    saturating = losses.FDivergence(divergence, saturating=True)(real, fake)
    torch.testing.assert_close(saturating.discriminator, plain.discriminator)
    torch.testing.assert_close(saturating.generator, -fakes)


@pytest.mark.parametrize("divergence", AT_ONE)
def test_equal_densities_are_where_the_slope_is_that_of_f_at_one(divergence):
    """There the bound is f(1), and neither more nor less evidence makes it larger."""
    a = torch.tensor([AT_ONE[divergence]], dtype=torch.double)
    inverse = {  # of g
        "reverse_kl": lambda t: -(-t).log(),
        "neyman": lambda t: -(1 - t).log(),
        "squared_hellinger": lambda t: -(1 - t).log(),
        "jensen_shannon": lambda t: -(2 * (-t).exp() - 1).log(),
        "gan": lambda t: -((-t).exp() - 1).log(),
    }.get(divergence, lambda t: t)
    a = inverse(a).requires_grad_()
    loss = losses.FDivergence(divergence)(a, a).discriminator
    (slope,) = torch.autograd.grad(loss, a)
    at_one = GENERATORS[divergence](torch.ones(1, dtype=torch.double))
    torch.testing.assert_close(-loss, at_one[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-12, rtol=0)


@pytest.mark.parametrize("saturating", [True, False])
def test_the_row_of_gan_is_the_original_game(saturating):
    real, fake = torch.randn(2, 9)
    original = losses.minimax if saturating else losses.non_saturating
    for ours, theirs in zip(
        losses.FDivergence("gan", saturating)(real, fake), original(real, fake)
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("saturating", [True, False])
@pytest.mark.parametrize("divergence", ROWS)
@pytest.mark.parametrize("a", [1e4, -1e4])
@pytest.mark.parametrize("b", [1e4, -1e4])
def test_logits_of_any_size_leave_all_finite(divergence, saturating, a, b):
    real, fake = (torch.tensor([value, 0.5], requires_grad=True) for value in (a, b))
    found = losses.FDivergence(divergence, saturating)(real, fake)
    slopes = [
        *torch.autograd.grad(found.discriminator, (real, fake), retain_graph=True),
        *torch.autograd.grad(found.generator, fake),
    ]
    assert all(torch.isfinite(x).all() for x in (*found, *slopes))


@pytest.mark.parametrize("divergence", ROWS)
def test_more_evidence_is_what_the_generator_wants(divergence):
    for saturating in (True, False):
        fake = torch.linspace(-1, 3, 9, dtype=torch.double, requires_grad=True)
        loss = losses.FDivergence(divergence, saturating)(fake.detach(), fake).generator
        (slope,) = torch.autograd.grad(loss, fake)
        assert (slope < 0).all()


def test_exponentials_leave_their_tangent_at_twenty_only():
    from lightning_gen.losses.objectives import straight_exp

    x = torch.tensor([-50.0, 0.0, 19.999, 20.0, 21.0, 1e4], dtype=torch.double, requires_grad=True)
    y = straight_exp(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    at_20 = math.exp(20)
    torch.testing.assert_close(y[:4], x[:4].exp())
    torch.testing.assert_close(y[4:], at_20 * (1 + x[4:] - 20))
    torch.testing.assert_close(slope[[0, 1, 2, 4, 5]], x.clamp(max=20).exp()[[0, 1, 2, 4, 5]])


def test_an_unknown_divergence_is_refused():
    with pytest.raises(ValueError, match=r"must be one of kl, .*gan, got js"):
        losses.FDivergence("js")
