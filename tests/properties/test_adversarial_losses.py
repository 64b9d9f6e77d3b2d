"""Losses and penalties of the game against closed forms, in float64."""

import math

import pytest
import torch
from torch import nn

from lightning_gen import losses

ZERO = torch.zeros(4, dtype=torch.double)
PAIRS = {
    "non-saturating": (losses.cross_entropy_discriminator, losses.non_saturating_generator),
    "minimax": (losses.cross_entropy_discriminator, losses.minimax_generator),
    "least squares": (losses.least_squares_discriminator, losses.least_squares_generator),
    "wasserstein": (losses.wasserstein_discriminator, losses.wasserstein_generator),
}


@pytest.mark.parametrize(
    ("name", "critic", "generator"),
    [
        ("non-saturating", 2 * math.log(2), math.log(2)),
        ("minimax", 2 * math.log(2), -math.log(2)),
        ("least squares", 0.5, 0.5),
        ("wasserstein", 0.0, 0.0),
    ],
)
def test_values_where_the_discriminator_knows_nothing(name, critic, generator):
    discriminator_loss, generator_loss = PAIRS[name]
    assert discriminator_loss(ZERO, ZERO).item() == pytest.approx(critic)
    assert generator_loss(ZERO).item() == pytest.approx(generator)


@pytest.mark.parametrize(
    ("loss", "at_minus_4", "at_0"),
    [
        (losses.minimax_generator, -0.017986, -0.5),
        (losses.non_saturating_generator, -0.982014, -0.5),
        (losses.least_squares_generator, -5.0, -1.0),
        (losses.wasserstein_generator, -1.0, -1.0),
    ],
)
def test_what_the_generator_feels(loss, at_minus_4, at_0):
    """The gradient that tells the non-saturating loss from the minimax one."""
    logits = torch.tensor([-4.0, 0.0], dtype=torch.double, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(logits) * 2, logits)
    torch.testing.assert_close(
        slope, torch.tensor([at_minus_4, at_0], dtype=torch.double), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("name", PAIRS)
def test_extreme_logits_stay_finite(name):
    discriminator_loss, generator_loss = PAIRS[name]
    real = torch.tensor([1e4, -1e4], requires_grad=True)
    fake = torch.tensor([-1e4, 1e4], requires_grad=True)
    total = discriminator_loss(real, fake) + generator_loss(fake)
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(real.grad).all()
    assert torch.isfinite(fake.grad).all()


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half])
def test_logits_in_half_precision_are_reduced_in_single_and_double_ones_stay(name, dtype):
    discriminator_loss, generator_loss = PAIRS[name]
    real, fake = torch.randn(2, 999, dtype=torch.double).to(dtype)
    for narrow, exact in (
        (discriminator_loss(real, fake), discriminator_loss(real.double(), fake.double())),
        (generator_loss(fake), generator_loss(fake.double())),
    ):
        assert (narrow.dtype, exact.dtype) == (torch.float32, torch.float64)
        torch.testing.assert_close(narrow.double(), exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["non-saturating", "wasserstein"])
def test_swapping_the_roles_and_the_sign_changes_nothing(name):
    loss, _ = PAIRS[name]
    real, fake = torch.randn(2, 7, dtype=torch.double)
    torch.testing.assert_close(loss(real, fake), loss(-fake, -real))


@pytest.mark.parametrize("name", PAIRS)
def test_losses_are_means_over_images_and_patches(name):
    discriminator_loss, generator_loss = PAIRS[name]
    real, fake = torch.randn(2, 5, 1, 3, 3, dtype=torch.double)
    twice = torch.cat([real, real]), torch.cat([fake, fake])
    torch.testing.assert_close(discriminator_loss(*twice), discriminator_loss(real, fake))
    torch.testing.assert_close(generator_loss(twice[1]), generator_loss(fake))
    flat = discriminator_loss(real.flatten(), fake.flatten())
    torch.testing.assert_close(flat, discriminator_loss(real, fake))


def best_table(loss):
    """The logits that minimise a discriminator's loss over a finite space, by Newton's method."""
    logits = torch.zeros(3, dtype=torch.double, requires_grad=True)
    for _ in range(50):
        (slope,) = torch.autograd.grad(loss(logits), logits, create_graph=True)
        rows = [torch.autograd.grad(s, logits, retain_graph=True)[0] for s in slope]
        curvature = torch.stack(rows)
        logits = (logits - torch.linalg.solve(curvature, slope)).detach().requires_grad_()
    return logits


P = torch.tensor([0.5, 0.3, 0.2], dtype=torch.double)
Q = torch.tensor([0.2, 0.2, 0.6], dtype=torch.double)


def expected(loss, real_weight, fake_weight):
    """A discriminator's loss under given weights instead of samples."""

    def value(logits):
        total = logits.new_zeros(())
        for i in range(3):
            real_only = loss(logits[i : i + 1], ZERO[:1]) - loss(ZERO[:1], ZERO[:1])
            fake_only = loss(ZERO[:1], logits[i : i + 1]) - loss(ZERO[:1], ZERO[:1])
            total = total + real_weight[i] * real_only + fake_weight[i] * fake_only
        return total + loss(ZERO[:1], ZERO[:1])

    return value


def test_best_discriminator_is_p_over_p_plus_q_and_leaves_the_jensen_shannon_divergence():
    value = expected(losses.cross_entropy_discriminator, P, Q)
    best = best_table(value)
    torch.testing.assert_close(best.sigmoid(), P / (P + Q))
    middle = (P + Q) / 2
    jsd = 0.5 * ((P * (P / middle).log()).sum() + (Q * (Q / middle).log()).sum())
    torch.testing.assert_close(-value(best), -math.log(4) + 2 * jsd)


def test_one_sided_smoothing_leaves_no_fakes_in_the_numerator():
    value = expected(lambda r, f: losses.cross_entropy_discriminator(r, f, target=0.9), P, Q)
    torch.testing.assert_close(best_table(value).sigmoid(), 0.9 * P / (P + Q))


def test_best_least_squares_discriminator_and_its_chi_square():
    a, b, c = -1.0, 1.0, 0.0
    best = best_table(expected(lambda r, f: losses.least_squares_discriminator(r, f, a, b), P, Q))
    torch.testing.assert_close(best, (b * P + a * Q) / (P + Q))
    generator = 0.5 * (P * (best - c).square()).sum() + 0.5 * (Q * (best - c).square()).sum()
    chi_square = ((2 * Q - (P + Q)).square() / (P + Q)).sum()
    torch.testing.assert_close(2 * generator, chi_square)
    assert chi_square.item() == pytest.approx(0.34857, abs=1e-5)


def test_a_linear_discriminator_finds_the_log_odds_of_two_gaussians():
    torch.manual_seed(0)
    layer = nn.Linear(1, 1).double()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    for step in range(1500):
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * (1 - step / 1500)
        real, fake = torch.randn(2, 2048, 1, dtype=torch.double)
        loss = losses.cross_entropy_discriminator(layer(real), layer(fake + 1.5))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert layer.weight.item() == pytest.approx(-1.5, abs=0.05)
    assert layer.bias.item() == pytest.approx(1.125, abs=0.05)


class Linear(nn.Module):
    """D(x) = <w, x> + b."""

    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x):
        return x.flatten(1) @ self.w + 3


def images(n=5):
    return torch.randn(2, n, 3, 4, 4, dtype=torch.double), torch.rand(n, dtype=torch.double)


def test_penalty_of_a_linear_critic_and_its_gradient():
    (real, fake), t = images()
    critic = Linear(torch.randn(48, dtype=torch.double))
    penalty = losses.gradient_penalty(critic, real, fake, t)
    torch.testing.assert_close(penalty, (critic.w.norm() - 1).square())
    penalty.backward()
    w = critic.w.detach()
    torch.testing.assert_close(critic.w.grad, 2 * (w.norm() - 1) * w / w.norm())


def test_penalty_is_taken_image_by_image_at_the_given_points():
    (real, fake), t = images()
    points = real + t.view(-1, 1, 1, 1) * (fake - real)
    penalty = losses.gradient_penalty(
        lambda x: 0.5 * 0.7 * x.flatten(1).square().sum(1), real, fake, t
    )
    slopes = 0.7 * points.flatten(1).norm(dim=1)
    torch.testing.assert_close(penalty, (slopes - 1).square().mean())


def test_penalty_is_independent_of_how_the_batch_is_cut():
    (real, fake), t = images(6)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    whole = losses.gradient_penalty(critic, real, fake, t)
    parts = [losses.gradient_penalty(critic, real[i::2], fake[i::2], t[i::2]) for i in (0, 1)]
    torch.testing.assert_close(whole, sum(parts) / 2)


def test_penalty_of_a_constant_critic_is_one_with_finite_gradients():
    (real, fake), t = images()
    critic = Linear(torch.zeros(48, dtype=torch.double))
    penalty = losses.gradient_penalty(critic, real, fake, t)
    penalty.backward()
    assert penalty.item() == 1
    assert torch.isfinite(critic.w.grad).all()


def test_one_sided_penalty_forgives_slopes_below_one():
    (real, fake), t = images()
    w = torch.randn(48, dtype=torch.double)
    for norm, value in ((0.5, 0.0), (1.0, 0.0), (3.0, 4.0)):
        critic = Linear(w / w.norm() * norm)
        penalty = losses.gradient_penalty(critic, real, fake, t, one_sided=True)
        assert penalty.item() == pytest.approx(value, abs=1e-12)


def test_penalty_reaches_the_critic_but_not_the_generator():
    (real, fake), t = images()
    fake.requires_grad_()
    critic = Linear(torch.randn(48, dtype=torch.double))
    losses.gradient_penalty(critic, real, fake, t).backward()
    assert fake.grad is None
    assert critic.w.grad.any()


def test_penalty_works_in_full_precision_under_autocast():
    (real, fake), t = images()
    critic = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, 1))
    real, fake, t = real.float(), fake.float(), t.float()
    expected = losses.gradient_penalty(critic, real, fake, t)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(losses.gradient_penalty(critic, real, fake, t), expected)


def test_penalty_refuses_batches_of_different_sizes():
    (real, fake), t = images()
    with pytest.raises(ValueError, match="must match"):
        losses.gradient_penalty(Linear(torch.randn(48)), real, fake[:3], t)
