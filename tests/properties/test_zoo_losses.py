"""Objectives, energies, information and classes against values by hand and closed forms, in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_gen import losses
from tests.properties.test_adversarial_losses import Linear, best_table, expected

LOG2 = math.log(2)
ZERO = torch.zeros(4, dtype=torch.double)
P = torch.tensor([0.5, 0.3, 0.2], dtype=torch.double)
Q = torch.tensor([0.2, 0.2, 0.6], dtype=torch.double)
MEANS = {  # losses that are means over images
    "minimax": losses.minimax,
    "non-saturating": losses.non_saturating,
    "smoothed": lambda real, fake: losses.non_saturating(real, fake, 0.9),
    "least squares": losses.least_squares,
    "wasserstein": losses.wasserstein,
    "hinge": losses.hinge,
    "boundary seeking": losses.boundary_seeking,
    "b-GAN": losses.b_gan,
    "f-GAN": losses.FDivergence("kl"),
}
ALL = {
    **MEANS,
    "relativistic": losses.relativistic_average,
    "softmax": losses.softmax_gan,
    "loss-sensitive": lambda real, fake: losses.loss_sensitive(
        real, fake, torch.ones_like(real), real_weight=0.5
    ),
    "margin": lambda real, fake: losses.energy_margin(real, fake, 3.0),
    "equilibrium": lambda real, fake: losses.equilibrium(real, fake, 0.5),
}


def doubles(*values):
    return torch.tensor(values, dtype=torch.double, requires_grad=True)


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        ("minimax", 2 * LOG2, -LOG2),
        ("non-saturating", 2 * LOG2, LOG2),
        ("smoothed", 2 * LOG2, LOG2),
        ("least squares", 0.5, 0.5),
        ("wasserstein", 0.0, 0.0),
        ("hinge", 2.0, 0.0),
        ("boundary seeking", 2 * LOG2, 0.0),
        ("b-GAN", -0.5, 0.0),
        ("f-GAN", math.exp(-1), 0.0),
        ("relativistic", 2 * LOG2, 2 * LOG2),
        ("softmax", math.log(8), math.log(8)),
        ("loss-sensitive", 1 + 0.5 * LOG2, LOG2),
        ("margin", 3.0, 0.0),
        ("equilibrium", 0.0, 0.0),
    ],
)
def test_values_where_the_discriminator_knows_nothing(name, discriminator, generator):
    found = ALL[name](ZERO, ZERO)
    assert found.discriminator.item() == pytest.approx(discriminator)
    assert found.generator.item() == pytest.approx(generator)


@pytest.mark.parametrize(
    ("name", "at_minus_4", "at_0", "at_4"),
    [
        ("minimax", -0.017986, -0.5, -0.982014),
        ("non-saturating", -0.982014, -0.5, -0.017986),
        ("smoothed", -0.982014, -0.5, -0.017986),
        ("least squares", -5.0, -1.0, 3.0),
        ("wasserstein", -1.0, -1.0, -1.0),
        ("hinge", -1.0, -1.0, -1.0),
        ("boundary seeking", -4.0, 0.0, 4.0),
        ("b-GAN", -0.01798, 0.0, 2926.3598),
        ("f-GAN", -1.0, -1.0, -1.0),
        ("loss-sensitive", -0.982014, -0.5, -0.017986),
        ("margin", 1.0, 1.0, 1.0),
    ],
)
def test_what_the_generator_feels(name, at_minus_4, at_0, at_4):
    fake = doubles(-4.0, 0.0, 4.0)
    (slope,) = torch.autograd.grad(3 * ALL[name](fake.detach(), fake).generator, fake)
    wanted = torch.tensor([at_minus_4, at_0, at_4], dtype=torch.double)
    torch.testing.assert_close(slope, wanted, atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("real", [1e4, -1e4])
@pytest.mark.parametrize("fake", [1e4, -1e4])
@pytest.mark.parametrize("name", ALL)
def test_extreme_logits_stay_finite(name, real, fake):
    real, fake = (torch.tensor([value, 0.3], requires_grad=True) for value in (real, fake))
    for loss in ALL[name](real, fake):
        slopes = torch.autograd.grad(loss, (real, fake), retain_graph=True, allow_unused=True)
        assert torch.isfinite(loss)
        assert all(slope is None or torch.isfinite(slope).all() for slope in slopes)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half])
@pytest.mark.parametrize("name", ALL)
def test_logits_in_half_precision_are_reduced_in_single(name, dtype):
    real, fake = torch.randn(2, 999).to(dtype)
    for narrow, exact in zip(ALL[name](real, fake), ALL[name](real.double(), fake.double())):
        assert (narrow.dtype, exact.dtype) == (torch.float32, torch.float64)
        torch.testing.assert_close(narrow.double(), exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MEANS)
def test_losses_are_means_over_images_and_patches(name):
    real, fake = torch.randn(2, 6, 3, 3, dtype=torch.double)
    whole = MEANS[name](real, fake)
    for parts in (3, 2):
        each = [MEANS[name](a, b) for a, b in zip(real.chunk(parts), fake.chunk(parts))]
        torch.testing.assert_close(whole, losses.Losses(*(sum(x) / parts for x in zip(*each))))
    torch.testing.assert_close(whole, MEANS[name](real.flatten(), fake.flatten()))


@pytest.mark.parametrize("name", ["minimax", "wasserstein", "hinge", "relativistic"])
def test_swapping_the_roles_and_the_sign_changes_nothing_for_the_discriminator(name):
    real, fake = torch.randn(2, 7, dtype=torch.double)
    swapped = ALL[name](-fake, -real).discriminator
    torch.testing.assert_close(ALL[name](real, fake).discriminator, swapped)


@pytest.mark.parametrize("name", ALL)
def test_each_player_wants_what_it_should(name):
    """The discriminator tells the two apart, the generator does the opposite with its own."""
    energies = name in ("margin", "equilibrium")
    real, fake = doubles(0.2, 0.4), doubles(0.1, 0.3)
    found = ALL[name](real, fake)
    on_real, on_fake = torch.autograd.grad(found.discriminator, (real, fake), retain_graph=True)
    (own,) = torch.autograd.grad(found.generator, fake)
    sign = -1 if energies else 1
    assert (sign * on_real < 0).all() and (sign * on_fake > 0).all()
    if name not in ("boundary seeking", "b-GAN", "softmax"):  # which have a goal between
        assert (sign * own < 0).all()


def test_smoothing_is_one_sided_and_not_the_generators():
    value = expected(lambda r, f: MEANS["smoothed"](r, f).discriminator, P, Q)
    torch.testing.assert_close(best_table(value).sigmoid(), 0.9 * P / (P + Q))
    real, fake = torch.randn(2, 7, dtype=torch.double)
    plain = losses.non_saturating(real, fake).generator
    torch.testing.assert_close(MEANS["smoothed"](real, fake).generator, plain)


def test_least_squares_has_its_three_targets_in_their_places():
    real, fake = doubles(0.5, 2.0), doubles(-1.0, 3.0)
    found = losses.least_squares(real, fake, (-1.0, 1.0, 0.0))
    assert found.discriminator.item() == pytest.approx(0.5 * 0.625 + 0.5 * 8.0)
    assert found.generator.item() == pytest.approx(0.5 * 5.0)


def test_hinge_leaves_alone_what_is_beyond_the_margin():
    real, fake = doubles(-0.5, 0.5, 2.0), doubles(-3.0, -0.5, 1.0)
    found = losses.hinge(real, fake)
    assert found.discriminator.item() == pytest.approx((1.5 + 0.5) / 3 + (0.5 + 2) / 3)
    slopes = torch.autograd.grad(3 * found.discriminator, (real, fake))
    assert [slope.tolist() for slope in slopes] == [[-1, -1, 0], [0, 1, 1]]


def test_relativistic_average_compares_with_the_mean_of_the_other_kind():
    real, fake = doubles(1.0, 3.0), doubles(0.0, -2.0)
    found = losses.relativistic_average(real, fake)
    sp = lambda x: math.log1p(math.exp(x))  # noqa: E731
    assert found.discriminator.item() == pytest.approx(
        (sp(-2) + sp(-4)) / 2 + (sp(-2) + sp(-4)) / 2
    )
    assert found.generator.item() == pytest.approx((sp(2) + sp(4)) / 2 + (sp(2) + sp(4)) / 2)
    shifted = losses.relativistic_average(real + 5, fake + 5)
    torch.testing.assert_close(shifted, found)


def test_softmax_gan_by_hand():
    real, fake = doubles(1.0, 2.0), doubles(0.0, -1.0, 0.5)
    log_z = math.log(sum(math.exp(a) for a in (1, 2, 0, -1, 0.5)))
    found = losses.softmax_gan(real, fake)
    assert found.discriminator.item() == pytest.approx(log_z - 1.5)
    assert found.generator.item() == pytest.approx(log_z - 2.5 / 5)
    (slope,) = torch.autograd.grad(found.generator, fake)
    torch.testing.assert_close(slope, fake.detach().exp() / math.exp(log_z) - 1 / 5)


@pytest.mark.parametrize("constant", [-3.0, 0.0, 2.5])
def test_softmax_gan_of_equal_logits_is_the_log_of_how_many_there_are(constant):
    logits = torch.full((6,), constant, dtype=torch.double)
    for loss in losses.softmax_gan(logits, logits):
        assert loss.item() == pytest.approx(math.log(12))


def test_best_softmax_discriminator_leaves_no_probability_on_fakes():
    """The loss is the cross-entropy from even shares of the real images: at least their log."""
    real, fake = (torch.full((n,), a, dtype=torch.double) for n, a in ((5, 80.0), (7, -80.0)))
    assert losses.softmax_gan(real, fake).discriminator.item() == pytest.approx(math.log(5))


def test_boundary_seeking_is_half_the_squared_log_odds():
    fake = torch.randn(9, dtype=torch.double)
    d = fake.sigmoid()
    by_definition = 0.5 * (d.log() - (1 - d).log()).square().mean()
    torch.testing.assert_close(losses.boundary_seeking(ZERO, fake).generator, by_definition)


def test_best_density_ratio_is_that_of_the_densities_and_its_divergence_is_pearsons():
    best = (P / Q).log().requires_grad_()
    value = expected(lambda r, f: losses.b_gan(r, f).discriminator, P, Q)
    (slope,) = torch.autograd.grad(value(best), best)
    torch.testing.assert_close(slope, torch.zeros_like(slope))
    assert all(value(best + 0.1 * torch.randn(3)) > value(best) for _ in range(20))
    generator = sum(q * losses.b_gan(ZERO, a).generator for q, a in zip(Q, best.split(1)))
    torch.testing.assert_close(generator, 0.5 * ((P - Q).square() / Q).sum())


def test_loss_sensitive_by_hand_pair_by_pair():
    real, fake = doubles(2.0, -1.0), doubles(0.0, 1.0)
    margin = doubles(0.1, 0.7)
    sp = lambda x: math.log1p(math.exp(x))  # noqa: E731
    first, second = 0.1 + sp(-2) - sp(0), 0.7 + sp(1) - sp(-1)
    assert first < 0 < second
    found = losses.loss_sensitive(real, fake, margin, real_weight=0.3)
    wanted = 0.3 * (sp(-2) + sp(1)) / 2 + second / 2
    assert found.discriminator.item() == pytest.approx(wanted)
    assert found.generator.item() == pytest.approx((sp(0) + sp(-1)) / 2)


# Energies


def test_margin_stops_at_the_margin_image_by_image():
    real, fake = doubles(1.0, 2.0), doubles(1.0, 5.0)
    found = losses.energy_margin(real, fake, 3.0)
    assert (found.discriminator.item(), found.generator.item()) == (1.5 + 1.0, 3.0)
    (slope,) = torch.autograd.grad(found.discriminator, fake)
    assert slope.tolist() == [-0.5, 0.0]


@pytest.mark.parametrize(
    ("real", "fake", "before", "after"),
    [
        (2.0, 3.0, 2.5, 2.0),  # real images are under the margin, and fakes get away
        (6.0, 7.0, 6.5, 5.0),  # over the margin
        (2.0, 1.5, 1.0, 5.0),  # fakes have less energy than real images
        (2.0, 3.0, 3.5, 5.0),  # fakes still come closer
        (2.0, 3.0, math.inf, 5.0),  # the first epoch
    ],
)
def test_margin_falls_to_the_energy_of_real_images_when_fakes_get_away(real, fake, before, after):
    values = (torch.tensor(x) for x in (5.0, real, fake, before))
    assert losses.next_margin(*values).item() == after


def test_pulling_away_is_zero_for_orthogonal_codes_and_one_for_parallel_ones():
    orthogonal = torch.diag(doubles(1.0, -2.0, 3.0))
    assert losses.pulling_away(orthogonal).item() == pytest.approx(0)
    parallel = torch.outer(doubles(1.0, -2.0, 3.0), doubles(1.0, 1.0, 0.0))
    assert losses.pulling_away(parallel).item() == pytest.approx(1)


def test_pulling_away_is_the_mean_over_pairs():
    codes = torch.randn(5, 3, dtype=torch.double)
    pairs = [
        F.cosine_similarity(codes[i], codes[j], dim=0).square()
        for i in range(5)
        for j in range(5)
        if i != j
    ]
    torch.testing.assert_close(losses.pulling_away(codes), torch.stack(pairs).mean())
    torch.testing.assert_close(losses.pulling_away(7 * codes), torch.stack(pairs).mean())
    with pytest.raises(ValueError, match="two images or more"):
        losses.pulling_away(codes[:1])


def test_pulling_away_of_codes_without_length_is_finite():
    codes = torch.zeros(3, 2, requires_grad=True)
    losses.pulling_away(codes).backward()
    assert torch.isfinite(codes.grad).all()


def test_pulling_away_is_not_computed_in_half_precision():
    codes = torch.randn(32, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses.pulling_away(codes)
    torch.testing.assert_close(found, losses.pulling_away(codes), rtol=1e-5, atol=0)


def test_equilibrium_weighs_fakes_by_the_balance_for_the_discriminator_only():
    found = losses.equilibrium(doubles(1.0, 3.0), doubles(2.0, 6.0), 0.25)
    assert (found.discriminator.item(), found.generator.item()) == (2.0 - 1.0, 4.0)


@pytest.mark.parametrize("seed", range(20))
def test_balance_stays_in_bounds_and_rises_if_fakes_have_less_than_their_share(seed):
    torch.manual_seed(seed)
    balance, (real, fake) = torch.rand(()), 100 * torch.rand(2, 4)
    for ratio in (0.3, 0.5, 0.7):
        after = losses.next_balance(balance, real, fake, ratio, rate=1e-2)
        gain = ratio * real.mean() - fake.mean()
        assert 0 <= after <= 1
        assert (after > balance) == (gain > 0)
        small = losses.next_balance(balance, real / 1e3, fake / 1e3, ratio, rate=1e-2)
        torch.testing.assert_close(small, balance + 1e-5 * gain)


def test_balance_carries_no_graph():
    energies = torch.ones(3, requires_grad=True)
    assert not losses.next_balance(torch.zeros(()), energies, energies).requires_grad


def test_convergence_is_least_where_both_energies_are_in_balance():
    real = doubles(2.0, 2.0)
    assert losses.convergence(real, doubles(1.0, 1.0), ratio=0.5).item() == 2.0
    assert losses.convergence(real, doubles(0.0, 1.0), ratio=0.5).item() == 2.5
    assert losses.convergence(real, doubles(2.0, 1.0), ratio=0.5).item() == 2.5


# Information


def test_a_code_that_is_read_exactly_tells_the_log_of_its_classes():
    code = torch.arange(10)
    certain = 50 * F.one_hot(code, 10).double()
    assert losses.categorical_information(certain, code).item() == pytest.approx(math.log(10))
    unknowing = torch.full((10, 10), 3.0, dtype=torch.double)
    assert losses.categorical_information(unknowing, code).item() == pytest.approx(0)


@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0, 1e4])
def test_no_logits_tell_more_than_there_is(scale):
    logits, code = scale * torch.randn(64, 7, dtype=torch.double), torch.randint(7, (64,))
    assert losses.categorical_information(logits, code) <= math.log(7) + 1e-12
    assert losses.categorical_information(logits, logits.argmax(1)) <= math.log(7) + 1e-12


def test_classes_may_be_given_one_hot():
    logits, code = torch.randn(8, 5, dtype=torch.double), torch.randint(5, (8,))
    one_hot = losses.categorical_information(logits, F.one_hot(code, 5).double())
    torch.testing.assert_close(one_hot, losses.categorical_information(logits, code))
    narrow = F.one_hot(code, 5).bfloat16()
    assert losses.categorical_information(logits.bfloat16(), narrow).dtype == torch.float32


@pytest.mark.parametrize("deviation", [0.3, 1.0, 2.0])
def test_information_of_a_constant_gaussian_by_hand(deviation):
    """Of N(0, s²), whatever the image: log 2 - log s - log(2 pi) / 2 - E[c²] / (2 s²) each."""
    code = ((torch.arange(2000) + 0.5) / 1000 - 1).double()[:, None].expand(-1, 3)
    log_variance = torch.full_like(code, 2 * math.log(deviation))
    found = losses.gaussian_information(torch.zeros_like(code), log_variance, code)
    each = LOG2 - math.log(deviation) - 0.5 * math.log(2 * math.pi) - 1 / 3 / (2 * deviation**2)
    assert found.item() == pytest.approx(3 * each, abs=1e-5)
    assert found < 0  # it tells nothing


def test_best_unit_gaussian_has_the_bound_of_the_authors_code():
    code = torch.rand(9, 1, dtype=torch.double)
    found = losses.gaussian_information(code, torch.zeros_like(code), code)
    assert found.item() == pytest.approx(LOG2 - 0.5 * math.log(2 * math.pi))
    assert found.item() == pytest.approx(-0.226, abs=1e-3)


@pytest.mark.parametrize("log_variance", [-1e4, 1e4])
@pytest.mark.parametrize("error", [0.0, 2.0])
def test_no_variance_makes_information_infinite(log_variance, error):
    code = torch.zeros(4, 2)
    mean = torch.full((4, 2), error, requires_grad=True)
    spread = torch.full((4, 2), log_variance, requires_grad=True)
    found = losses.gaussian_information(mean, spread, code)
    found.backward()
    assert torch.isfinite(found) and torch.isfinite(mean.grad).all()
    assert torch.isfinite(spread.grad).all()
    assert found <= 2 * (LOG2 + 3 - 0.5 * math.log(2 * math.pi))


def test_information_reaches_what_reads_and_what_is_read():
    logits = torch.randn(4, 3, requires_grad=True)
    losses.categorical_information(logits, torch.tensor([0, 1, 2, 0])).backward()
    assert logits.grad.any()


# Classes


def test_evidence_is_the_log_odds_of_being_of_any_class():
    logits = torch.randn(6, 5, dtype=torch.double)
    z = logits.exp().sum(1)
    torch.testing.assert_close(losses.real_evidence(logits).sigmoid(), z / (z + 1))
    with_fake = torch.cat([logits, torch.zeros(6, 1, dtype=torch.double)], 1).softmax(1)
    torch.testing.assert_close(losses.real_evidence(logits).sigmoid(), 1 - with_fake[:, -1])


def test_semi_supervised_discriminator_by_its_k_plus_1_classes():
    labelled, real, fake = torch.randn(3, 6, 5, dtype=torch.double)
    labels = torch.randint(5, (6,))

    def with_fake(x):
        return torch.cat([x, torch.zeros(len(x), 1, dtype=torch.double)], 1).log_softmax(1)

    wanted = -labelled.log_softmax(1)[torch.arange(6), labels].mean()
    wanted = (
        wanted - (1 - with_fake(real)[:, -1].exp()).log().mean() - with_fake(fake)[:, -1].mean()
    )
    found = losses.semi_supervised_discriminator(labelled, labels, real, fake)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_semi_supervised_discriminator_is_finite_for_any_logits(size):
    logits = torch.full((2, 4), size, requires_grad=True)
    loss = losses.semi_supervised_discriminator(logits, torch.zeros(2).long(), logits, -logits)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def test_feature_matching_compares_means_not_images():
    real, fake = torch.randn(2, 8, 3, dtype=torch.double)
    found = losses.feature_matching(real, fake)
    torch.testing.assert_close(found, (real.mean(0) - fake.mean(0)).square().sum())
    torch.testing.assert_close(losses.feature_matching(real, real.flip(0)), torch.zeros_like(found))


def test_cat_gan_by_hand_and_at_its_best():
    def entropy(p):
        return -(p * p.log()).sum(-1)

    real, fake = torch.randn(2, 6, 4, dtype=torch.double)
    p, q = real.softmax(1), fake.softmax(1)
    found = losses.cat_gan(real, fake)
    wanted = -entropy(p.mean(0)) + entropy(p).mean() - entropy(q).mean()
    torch.testing.assert_close(found.discriminator, wanted)
    torch.testing.assert_close(found.generator, -entropy(q.mean(0)) + entropy(q).mean())
    sure, unsure = 1e4 * torch.eye(4), torch.zeros(4, 4)
    best = losses.cat_gan(sure, unsure)
    assert best.discriminator.item() == pytest.approx(-2 * math.log(4))
    assert best.generator.item() == pytest.approx(0)


# The penalty at real images


def test_penalty_at_images_of_a_linear_critic_is_its_squared_length():
    images = torch.randn(5, 3, 4, 4, dtype=torch.double)
    critic = Linear(torch.randn(48, dtype=torch.double))
    penalty = losses.zero_centred_penalty(critic, images)
    torch.testing.assert_close(penalty, critic.w.square().sum())
    penalty.backward()
    torch.testing.assert_close(critic.w.grad, 2 * critic.w.detach())
    assert not images.requires_grad


def test_penalty_at_images_is_taken_image_by_image():
    images = torch.randn(5, 3, 4, 4, dtype=torch.double)
    penalty = losses.zero_centred_penalty(
        lambda x: 0.5 * 0.7 * x.flatten(1).square().sum(1), images
    )
    wanted = (0.7 * images).flatten(1).square().sum(1).mean()
    torch.testing.assert_close(penalty, wanted)
    halves = [
        losses.zero_centred_penalty(lambda x: 0.35 * x.flatten(1).square().sum(1), half)
        for half in (images[:2], images[2:])
    ]
    torch.testing.assert_close(penalty, (2 * halves[0] + 3 * halves[1]) / 5)


def test_penalty_of_a_flat_critic_is_zero_and_has_a_gradient():
    critic = Linear(torch.zeros(48))
    losses.zero_centred_penalty(critic, torch.randn(3, 3, 4, 4)).backward()
    assert torch.isfinite(critic.w.grad).all()


def test_penalty_at_images_is_not_computed_in_half_precision():
    layer, images = nn.Linear(48, 1), torch.randn(4, 3, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        penalty = losses.zero_centred_penalty(lambda x: layer(x.flatten(1)), images)
    torch.testing.assert_close(penalty, layer.weight.square().sum(), rtol=1e-6, atol=0)
