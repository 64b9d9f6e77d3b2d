"""What theory says of the games, checked on the models: closed forms, optima and toy densities."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_gen import losses
from lightning_gen.models.adversarial import Batch
from lightning_gen.models.gans import GAN, LSGAN, WGANGP
from lightning_gen.networks.mlp import MLPDiscriminator, MLPGenerator
from lightning_gen.nn.roles import Discriminator, Generator
from lightning_gen.optimizers import FusedAdam
from lightning_gen.randomness import Noise
from tests.game import TinyCritic, TinyGenerator, trainer


def batch_of(images: Tensor, *key: int) -> Batch:
    return Batch(images, None, Noise(("test", *key), len(images), dtype=images.dtype))


class Shift(Generator):
    """Moves its latents by what it has learned: images (latent_size, 1, 1)."""

    def __init__(self, by: list[float]):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by, dtype=torch.double))
        self.shape, self.latent_size = (len(by), 1, 1), len(by)

    def forward(self, z: Tensor) -> Tensor:
        return (z + self.by)[:, :, None, None]


class Flat(Generator):
    """Images of one learned level."""

    shape, latent_size = (1, 4, 4), 1

    def __init__(self, level: float):
        super().__init__()
        self.level = nn.Parameter(torch.tensor(level, dtype=torch.double))

    def forward(self, z: Tensor) -> Tensor:
        return self.level.expand(len(z), *self.shape)


class Linear(Discriminator):
    """D(x) = <w, x> + b."""

    def __init__(self, w: Tensor, b: float = 0.0):
        super().__init__()
        self.w, self.b = nn.Parameter(w.double()), b

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.w + self.b


class Listener(Discriminator):
    """Remembers what it was shown."""

    def __init__(self):
        super().__init__()
        self.w, self.seen = nn.Parameter(torch.ones((), dtype=torch.double)), []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return self.w * x.flatten(1).square().sum(1)


def softplus(t: float) -> float:
    return math.log1p(math.exp(t))


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


# The losses of each model, at a critic that says of an image its mean level: r and s of the two
# real images, f of all generated ones. Over the 16 pixels such a critic has the slope 1/4.
R, S, F = 0.7, -0.2, 0.4
CERTAIN = (softplus(-R) + softplus(-S)) / 2 + softplus(F)
SHARES = {"real": (sigmoid(R) + sigmoid(S)) / 2, "fake": sigmoid(F)}
MEANS = {"real": (R + S) / 2, "fake": F}
GAP = (R + S) / 2 - F
EXPECTED = [
    (GAN, {}, CERTAIN, softplus(-F), SHARES),
    (GAN, {"saturating": True}, CERTAIN, -softplus(F), SHARES),
    (
        GAN,
        {"real_target": 0.8},
        CERTAIN + 0.2 * (R + S) / 2,  # softplus(t) - softplus(-t) = t
        softplus(-F),
        SHARES,
    ),
    (GAN, {"real_target": 0.8, "saturating": True}, CERTAIN + 0.1 * (R + S), -softplus(F), SHARES),
    (
        LSGAN,
        {},
        ((R - 1) ** 2 + (S - 1) ** 2) / 4 + F**2 / 2,
        (F - 1) ** 2 / 2,
        MEANS,
    ),
    (
        LSGAN,
        {"targets": (-1.0, 1.0, 0.0)},
        ((R - 1) ** 2 + (S - 1) ** 2) / 4 + (F + 1) ** 2 / 2,
        F**2 / 2,
        MEANS,
    ),
    (
        WGANGP,
        {"penalty_weight": 3.0},
        -GAP + 3 * 0.75**2,
        -F,
        {"distance": GAP, "penalty": 0.75**2},
    ),
    (WGANGP, {"one_sided": True}, -GAP, -F, {"distance": GAP, "penalty": 0.0}),
]


@pytest.mark.parametrize(("cls", "options", "critic", "generator", "terms"), EXPECTED)
def test_each_player_minimises_what_its_paper_says(cls, options, critic, generator, terms):
    judge = Linear(torch.full((16,), 1 / 16))
    model = cls(generator=Flat(F), discriminator=judge, **options)
    levels = torch.tensor([R, S], dtype=torch.double)
    batch = batch_of(levels.view(2, 1, 1, 1).expand(2, 1, 4, 4).clone())
    found = {
        name: (value() if callable(value) else value).item()
        for name, value in model.discriminator_loss(batch).items()
    }
    assert found == pytest.approx({"loss": critic, **terms})
    assert model.generator_loss(batch)["loss"].item() == pytest.approx(generator)


@pytest.mark.parametrize(
    ("cls", "options"), [(GAN, {}), (GAN, {"saturating": True}), (LSGAN, {}), (WGANGP, {})]
)
def test_a_small_move_of_the_generator_makes_its_images_look_more_real(cls, options):
    model = cls(generator=TinyGenerator(), discriminator=TinyCritic(), **options).double()
    images = torch.rand(64, 1, 4, 4, dtype=torch.double)

    def opinion():
        with torch.no_grad():
            return model.discriminator(model.generate(batch_of(images))).mean()

    before = opinion()
    model.generator_loss(batch_of(images))["loss"].backward()
    with torch.no_grad():
        for p in model.generator.parameters():
            p -= 1e-3 * p.grad
    assert opinion() > before


# The original game over a finite space: counts instead of densities, a table of logits for D


def value(logits: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """V(D, G) of the loss that is trained, with the states as often as they are likely."""
    real, fake = logits.repeat_interleave(p), logits.repeat_interleave(q)
    return -losses.cross_entropy_discriminator(real, fake)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    return (torch.special.xlogy(p, p / middle) + torch.special.xlogy(q, q / middle)).nansum() / 2


def log_odds(p: Tensor, q: Tensor) -> Tensor:
    return (p / p.sum()).log() - (q / q.sum()).log()


def counts(n: int) -> tuple[Tensor, Tensor]:
    return torch.randint(1, 9, (2, n)).unbind()


def test_no_table_beats_the_log_odds_and_these_leave_the_jensen_shannon_divergence():
    for _ in range(20):
        p, q = counts(6)
        best = value(log_odds(p.double(), q.double()), p, q)
        torch.testing.assert_close(
            best, -math.log(4) + 2 * jensen_shannon(p.double(), q.double()), atol=1e-12, rtol=0
        )
        near = log_odds(p.double(), q.double()) + torch.randn(20, 6, dtype=torch.double)
        far = 5 * torch.randn(20, 6, dtype=torch.double)
        assert all(value(table, p, q) <= best for table in (*near, *far))
        assert best > -math.log(4) or torch.equal(p * q.sum(), q * p.sum())


def test_the_value_is_lowest_where_both_densities_agree_and_the_discriminator_knows_nothing():
    p, _ = counts(6)
    assert torch.equal(log_odds(p.double(), p.double()), torch.zeros(6, dtype=torch.double))
    assert value(torch.zeros(6, dtype=torch.double), p, 2 * p).item() == pytest.approx(-math.log(4))
    assert jensen_shannon(p.double(), 2 * p.double()).item() == pytest.approx(0, abs=1e-15)


def test_where_supports_are_disjoint_the_divergence_is_ln_2_and_a_sure_discriminator_has_no_loss():
    p, q = torch.tensor([4, 3, 0, 0]), torch.tensor([0, 0, 1, 6])
    divergence = jensen_shannon(p.double(), q.double()).item()
    assert divergence == pytest.approx(math.log(2))
    sure = torch.tensor([60.0, 60.0, -60.0, -60.0], dtype=torch.double)
    assert value(sure, p, q).item() == pytest.approx(-math.log(4) + 2 * divergence, abs=1e-12)


def test_the_saturating_game_is_zero_sum_and_the_other_is_not():
    fake = torch.randn(7, dtype=torch.double, requires_grad=True)
    real = torch.randn(7, dtype=torch.double)

    def slope(loss):
        return torch.autograd.grad(loss, fake)[0]

    of_critic = slope(losses.cross_entropy_discriminator(real, fake))
    torch.testing.assert_close(slope(losses.minimax_generator(fake)), -of_critic)
    assert not torch.allclose(slope(losses.non_saturating_generator(fake)), -of_critic)


def test_the_saturating_loss_vanishes_far_from_the_data_and_the_others_do_not():
    """Data N(0, 1), fakes N(10, 1); the best discriminator says -10 x + 50."""

    def pull(cls, sharpness, **options):
        far = Linear(torch.tensor([-10.0 * sharpness]), 50.0 * sharpness)
        model = cls(generator=Shift([10.0]), discriminator=far, **options)
        batch = batch_of(torch.randn(4096, 1, 1, 1, dtype=torch.double))
        model.generator_loss(batch)["loss"].backward()
        return model.generator.by.grad.item()

    at_first = pull(GAN, 0.05, saturating=True)
    assert 0 < pull(GAN, 1.0, saturating=True) < 1e-2 * at_first
    for sharpness in (0.05, 0.3, 1.0):  # sigmoid(a) + sigmoid(-a) = 1: they share D's slope
        both = pull(GAN, sharpness) + pull(GAN, sharpness, saturating=True)
        assert both == pytest.approx(10 * sharpness)
        assert pull(WGANGP, sharpness) == pytest.approx(10 * sharpness)
    assert pull(GAN, 1.0) == pytest.approx(10, rel=1e-3)
    assert pull(LSGAN, 1.0) == pytest.approx(10 * (50 + 1), rel=0.02)


# WGAN-GP


def test_the_penalty_is_taken_at_one_uniform_point_between_each_image_and_the_fake_that_was_judged():
    listener = Listener()
    model = WGANGP(generator=TinyGenerator(), discriminator=listener).double()

    def places(*key):
        listener.seen.clear()
        images = torch.randn(2048, 1, 4, 4, dtype=torch.double)
        model.discriminator_loss(batch_of(images, *key))
        real, fake, between = (x.detach().flatten(1) for x in listener.seen)
        assert torch.equal(real, images.flatten(1))
        whole = (fake - real).norm(dim=1)
        parts = (between - real).norm(dim=1) + (fake - between).norm(dim=1)
        torch.testing.assert_close(parts, whole)  # on the segment, so one place for all pixels
        return (between - real).norm(dim=1) / whole

    t = places(0)
    assert len(t.unique()) == len(t)
    steps = (torch.arange(2048) + 0.5).double() / 2048
    assert (t.sort().values - steps).abs().max() < 0.035  # Kolmogorov and Smirnov, 1 %
    assert not torch.isclose(t, places(1), rtol=0, atol=1e-9).any()
    latents = batch_of(torch.zeros(2048, 1, dtype=torch.double), 0).noise
    assert not torch.isclose(t, latents.uniform(), rtol=0, atol=1e-9).any()  # not drawn alike


def test_the_penalty_of_the_model_is_each_images_own():
    """D(x) = |x|^2 / 2 has the slope |x|; nothing else than the mean over images gives this."""
    listener = Listener()
    model = WGANGP(generator=TinyGenerator(), discriminator=listener, penalty_weight=2.5).double()
    with torch.no_grad():
        listener.w.fill_(0.5)
    terms = model.discriminator_loss(batch_of(torch.randn(9, 1, 4, 4, dtype=torch.double)))
    real, fake, between = (x.detach().flatten(1).norm(dim=1) for x in listener.seen)
    penalty = (between - 1).square().mean()
    distance = (real.square() - fake.square()).mean() / 2
    torch.testing.assert_close(terms["penalty"], penalty)
    torch.testing.assert_close(terms["loss"], -distance + 2.5 * penalty)


def test_the_penalty_of_a_curved_critic_moves_the_critic_and_neither_reals_nor_fakes():
    listener = Listener()
    real, fake = torch.randn(2, 5, 1, 4, 4, dtype=torch.double).requires_grad_().unbind()
    t = torch.rand(5, dtype=torch.double)
    penalty = losses.gradient_penalty(listener, real.detach(), fake, t)
    assert listener.seen[0].is_leaf
    assert torch.autograd.grad(penalty, fake, retain_graph=True, allow_unused=True) == (None,)
    norms = listener.seen[0].detach().flatten(1).norm(dim=1)  # the slope is 2 w |x|, at w = 1
    (of_critic,) = torch.autograd.grad(penalty, listener.w)
    torch.testing.assert_close(of_critic, (2 * (2 * norms - 1) * 2 * norms).mean())


def lines(distance: float, critic: Discriminator, **options):
    """Fakes on a line at x = distance, and batches of images on the line x = 0."""
    model = WGANGP(generator=Shift([distance, 0.0]), discriminator=critic, **options).double()

    def batch(n, key):
        images = torch.rand(n, 2, 1, 1, generator=torch.Generator().manual_seed(key)).double()
        return batch_of(images * torch.tensor([0.0, 1.0]).view(2, 1, 1), key)

    class Segment(Shift):
        def forward(self, z):
            ahead = torch.tensor([0.0, 0.5], dtype=torch.double)  # from U(-1, 1) to U(0, 1)
            return (z * ahead + ahead + self.by)[:, :, None, None]

    model.generator = Segment([distance, 0.0])
    model.prior = "uniform"
    return model, batch


@pytest.mark.parametrize("weight", [0.1, 10.0])
@pytest.mark.parametrize("distance", [0.25, 1.0, -2.0])
def test_the_best_linear_critic_overestimates_the_distance_as_the_penalty_allows(distance, weight):
    """Two points a distance d apart: the best slope is 1 + d / (2 lambda)."""
    model = WGANGP(
        generator=Shift([distance, 0.0]),
        discriminator=Linear(torch.tensor([0.4, 0.3])),
        penalty_weight=weight,
    )
    apart = torch.tensor([distance, 0.0], dtype=torch.double).view(2, 1, 1)
    fakes = model.generate(batch_of(torch.zeros(64, 2, 1, 1, dtype=torch.double))).detach()

    def terms():
        return model.discriminator_loss(batch_of(fakes - apart))

    optimizer = torch.optim.LBFGS(
        model.discriminator.parameters(),
        max_iter=200,
        tolerance_grad=1e-12,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        loss = terms()["loss"]
        loss.backward()
        return loss

    optimizer.step(closure)
    d = abs(distance)
    estimate = terms()["distance"]().item()
    assert estimate == pytest.approx(d * (1 + d / (2 * weight)), rel=1e-5)
    slope = model.discriminator.w.detach()
    assert slope.norm().item() == pytest.approx(1 + d / (2 * weight), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("distance", [0.0, 0.5, 2.0])
def test_a_trained_critic_measures_how_far_two_parallel_lines_are_apart(distance):
    """Arjovsky's first example: the earth mover's distance is d where the JSD is ln 2."""
    critic = MLPDiscriminator((2, 1, 1), (64, 64))
    model, batch = lines(distance, critic)
    optimizer = FusedAdam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9))
    estimates = []
    for step in range(1200):
        terms = model.discriminator_loss(batch(256, step))
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        estimates.append(terms["distance"]().item())
    estimate = sum(estimates[-100:]) / 100
    expected = distance * (1 + distance / 20)
    assert estimate == pytest.approx(expected, abs=0.005 * max(1.0, distance))


@pytest.mark.slow
def test_wgan_gp_finds_all_eight_modes_of_a_ring():
    """The ring of the authors' code at half its size, so that tanh reaches it; so is lambda."""
    radius, sigma, rounds, size = 2 / 1.414 / 2, 0.02 / 1.414 / 2, 1500, 128
    angle = torch.arange(8) * math.pi / 4
    centres = radius * torch.stack([angle.cos(), angle.sin()], 1)
    which = torch.randint(8, (rounds * 5, size))
    points = centres[which] + sigma * torch.randn(rounds * 5, size, 2)

    def adam(params):
        return FusedAdam(params, lr=5e-4, betas=(0.5, 0.9))

    class Ring(WGANGP):
        def _close_round(self, observed):
            super()._close_round(observed)
            if observed:
                estimates.append(self.last_terms["discriminator/distance"].item())

    estimates = []
    model = Ring(
        generator=MLPGenerator((2, 1, 1), 2, (128, 128, 128)),
        discriminator=MLPDiscriminator((2, 1, 1), (128, 128, 128)),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        penalty_weight=0.05,
    )
    batches = [(x[:, :, None, None], y) for x, y in zip(points, which)]
    player = trainer(max_steps=rounds, max_epochs=-1, log_every_n_steps=10)
    player.fit(model, DataLoader(batches, batch_size=None))
    samples = model.sample(4000, noise=Noise(("ring",), 4000)).flatten(1)
    away, nearest = torch.cdist(samples, centres).min(1)
    close = away < 0.05
    share = torch.bincount(nearest[close], minlength=8) / 4000
    assert (share > 0.01).all(), share
    assert close.float().mean() > 0.5
    assert sum(estimates[-5:]) / 5 < max(estimates) / 5
