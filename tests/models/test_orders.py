"""Mixtures of orders: MADE with many masks, and Deep NADE, which is trained on all orders at once."""

from itertools import permutations, product
from math import comb, log

import pytest
import torch

from lightning_gen import losses
from lightning_gen.capabilities import Completer, Likelihood, Sampler
from lightning_gen.levels import from_levels, to_levels
from lightning_gen.models.autoregressive import MADE, DeepNADE
from lightning_gen.models.autoregressive.deep_nade import random_mask
from lightning_gen.models.autoregressive.drawing import inverse_cdf
from lightning_gen.models.base import Batch
from lightning_gen.networks.deep_nade import DeepNADENetwork
from lightning_gen.networks.made import ManyOrdersMADE
from lightning_gen.optimizers import FusedAdam
from lightning_gen.randomness import Noise
from tests.game import fit
from tests.pixels import bars_and_stripes, every_image

MODELS = {
    "MADE": lambda *size, **kwargs: MADE(ManyOrdersMADE(*size, widths=(80, 80), **kwargs)),
    "MADE, direct": lambda *size, **kwargs: MADE(
        ManyOrdersMADE(*size, widths=(40,), direct=True, **kwargs)
    ),
    "Deep NADE": lambda *size, **kwargs: DeepNADE(
        DeepNADENetwork(*size, widths=(20, 20), **kwargs)
    ),
}


def make(kind, shape=(1, 3, 3), levels=2, count=3, seed=0):
    torch.manual_seed(0)
    model = MODELS[kind](shape, levels, count=count, seed=seed).double()
    for parameter in model.parameters():  # far from even odds
        parameter.data.uniform_(-1, 1)
    return model


def noise(count, *key):
    return Noise(("test", *key), count, dtype=torch.double)


def place(shape, index):
    """(channel, row, column) of a sub-pixel, counted by rows and by colours within a pixel."""
    pixel, channel = divmod(index, shape[0])
    return channel, *divmod(pixel, shape[2])


# What both promise


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("shape", [(1, 3, 3), (3, 2, 1)])
def test_every_order_and_their_mixture_sum_to_one(kind, shape):
    model, x = make(kind, shape), every_image(*shape)
    with torch.no_grad():
        for order in range(3):
            assert abs((-model.order_nll(x, order)).exp().sum().item() - 1) < 1e-10
        assert abs((-model.nll(x)).exp().sum().item() - 1) < 1e-10


@pytest.mark.parametrize("kind", MODELS)
def test_the_mixture_is_of_the_joint_probabilities(kind):
    model, x = make(kind), every_image(1, 3, 3)
    each = torch.stack([model.order_nll(x, order) for order in range(3)])
    torch.testing.assert_close((-model.nll(x)).exp(), (-each).exp().mean(0))
    assert (model.nll(x) <= each.mean(0) + 1e-12).all()
    assert model.nll(x).sum() < each.mean(0).sum() - 1


def test_a_mean_of_logits_is_no_distribution():
    """Which is why published numbers that average conditionals are not likelihoods."""
    model, x = make("MADE"), every_image(1, 3, 3)
    logits = torch.stack([model.network.along(x, order) for order in range(3)]).mean(0)
    total = (-losses.categorical_nll(logits, to_levels(x, 2))).exp().sum().item()
    assert abs(total - 1) > 1e-2


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("shape", [(1, 3, 3), (3, 2, 2)])
def test_a_logit_sees_all_that_comes_before_it_in_its_order_and_nothing_else(kind, shape):
    model, x = make(kind, shape, 4), torch.rand(64, *shape).double() * 2 - 1
    for k, order in enumerate(model.network.orders.tolist()):
        before = model.network.along(x, k)
        for t, index in enumerate(order):
            changed = x.clone()
            changed[:, *place(shape, index)] += 1
            differs = (model.network.along(changed, k) != before).any(0).any(0)
            for s, other in enumerate(order):
                assert differs[place(shape, other)] == (t < s)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(("shape", "levels"), [((1, 3, 3), 2), ((3, 2, 2), 5)])
def test_samples_are_those_of_whole_passes(kind, shape, levels):
    model, n = make(kind, shape, levels), 12
    drawn, u = model.sample(n, noise=noise(n)), noise(n).uniform(torch.Size(shape).numel())
    which = noise(n).spawn("orders").integers(3)
    assert len(which.unique()) == 3
    for i in range(n):
        x = torch.zeros(1, *shape).double()
        for index in model.network.orders[which[i]].tolist():
            at = place(shape, index)
            logits = model.network.along(x, int(which[i]))[:, :, *at]
            x[:, *at] = from_levels(inverse_cdf(logits, u[i : i + 1, index]), levels, x.dtype)
        assert torch.equal(drawn[i], x[0])


@pytest.mark.parametrize("kind", MODELS)
def test_samples_follow_the_likelihood(kind):
    model, n, x = make(kind, (1, 1, 3)), 20_000, every_image(1, 1, 3)
    p = (-model.nll(x)).exp().detach()
    drawn = model.sample(n, noise=noise(n)).flatten(1)
    counts = (drawn[:, None] == x.flatten(1)).all(2).double().mean(0)
    assert ((counts - p).abs() < 4.5 * (p * (1 - p) / n).sqrt()).all()


@pytest.mark.parametrize("kind", MODELS)
def test_sampling_computes_no_whole_pass(kind, monkeypatch):
    model = make(kind)
    monkeypatch.setattr(type(model.network), "along", None)
    monkeypatch.setattr(type(model.network), "forward", None)
    assert set(model.sample(20).unique().tolist()) == {-1, 1}


@pytest.mark.parametrize("kind", MODELS)
def test_levels_that_the_network_does_not_have_are_refused(kind):
    with pytest.raises(ValueError, match="has 2 levels but the data has others"):
        fit(MODELS[kind]((1, 4, 4), 2, count=2), max_steps=1)
    fit(MODELS[kind]((1, 4, 4), 256, count=2), max_steps=1)


def test_they_can_do_what_the_catalogue_says():
    for capability in (Sampler, Likelihood):
        assert all(isinstance(make(kind), capability) for kind in MODELS)
    assert isinstance(make("Deep NADE"), Completer)
    assert not isinstance(make("MADE"), Completer)


# MADE


def test_orders_take_turns_in_training():
    model, x = make("MADE"), every_image(1, 3, 3)[:8]
    for step in range(6):
        model.images_seen = 8 * step
        loss = model.terms(Batch(x, None, noise(8)))["loss"]
        torch.testing.assert_close(loss, model.order_nll(x, step % 3).mean())


# Deep NADE


@pytest.mark.parametrize(("shape", "levels"), [((1, 3, 4), 2), ((3, 2, 2), 5)])
def test_along_an_order_logits_are_those_of_a_pass_for_each_place(shape, levels):
    model, x = make("Deep NADE", shape, levels), torch.rand(5, *shape).double() * 2 - 1
    for k, order in enumerate(model.network.orders.tolist()):
        along, known = model.network.along(x, k), torch.zeros(5, *shape, dtype=torch.bool)
        for index in order:
            at = place(shape, index)
            alone = model.network(x, known)[:, :, *at]
            torch.testing.assert_close(along[:, :, *at], alone)
            known[:, *at] = True


def test_what_is_not_known_has_no_say_and_black_is_not_unknown():
    model, x = make("Deep NADE"), every_image(1, 3, 3)[::50].clone()
    known = torch.rand(x.shape) < 0.5
    other = torch.where(known, x, torch.randn(x.shape).double())
    assert torch.equal(model.network(x, known), model.network(other, known))
    black = torch.full_like(x, -1)
    assert not torch.allclose(
        model.network(black, known), model.network(black, torch.zeros_like(known))
    )


def test_the_loss_estimates_the_mean_over_all_orders():
    """All masks of 4 pixels, as often as the first d of an order are these, against all 24 orders."""
    shape, x = (1, 2, 2), every_image(1, 2, 2)
    model = make("Deep NADE", shape)
    expected = torch.zeros(16, dtype=torch.double)
    for order in permutations(range(4)):
        model.network.orders[0] = torch.tensor(order)
        expected += model.order_nll(x, 0).detach() / 24
    found = torch.zeros(16, dtype=torch.double)
    for mask in product([False, True], repeat=4):
        if (d := sum(mask)) < 4:
            known = torch.tensor(mask).view(1, *shape).expand(16, *shape)
            nll = losses.orderless_nll(model.network(x, known), to_levels(x, 2), known)
            found += nll.detach() / (4 * comb(4, d))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_masks_show_each_number_of_sub_pixels_as_often_and_never_all():
    n, x = 30_000, torch.zeros(30_000, 1, 2, 2)
    masks = random_mask(x, noise(n)).flatten(1)
    counts = masks.sum(1).bincount(minlength=4)
    assert len(counts) == 4
    assert (counts / n - 0.25).abs().max() < 0.02
    for d in (1, 2, 3):
        shown = masks[masks.sum(1) == d].double()
        assert (shown.mean(0) - d / 4).abs().max() < 0.03
        assert len(shown.unique(dim=0)) == comb(4, d)


def test_training_minimises_the_estimate():
    model, x = make("Deep NADE"), every_image(1, 3, 3)[:6]
    known = random_mask(x, noise(6))
    expected = losses.orderless_nll(model.network(x, known), to_levels(x, 2), known).mean()
    torch.testing.assert_close(model.terms(Batch(x, None, noise(6)))["loss"], expected)


def test_completion_keeps_what_is_known_wherever_it_is_and_takes_a_pass_for_the_rest(monkeypatch):
    model, n, passes = make("Deep NADE", (1, 2, 2)), 20_000, []
    known = torch.tensor([[False, True], [False, True]])
    x = torch.tensor([[0.0, 1.0], [0.0, -1.0]]).double().expand(n, 1, 2, 2)
    forward = type(model.network).forward
    monkeypatch.setattr(
        type(model.network), "forward", lambda *args: passes.append(1) or forward(*args)
    )
    drawn = model.complete(x, known, noise=noise(n))
    assert len(passes) == 2
    assert torch.equal(drawn[..., known], x[..., known])
    model.network.orders[0] = torch.tensor([1, 3, 0, 2])  # the known ones, then the rest
    images = every_image(1, 2, 2)
    images = images[(images[..., known] == x[0, ..., known]).all(-1).flatten()]
    p = (-model.order_nll(images, 0)).exp().detach()
    p = p / p.sum()
    counts = (drawn.flatten(1)[:, None] == images.flatten(1)).all(2).double().mean(0)
    assert ((counts - p).abs() < 4.5 * (p * (1 - p) / n).sqrt()).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "most"),
    [
        (lambda: MADE(ManyOrdersMADE((1, 4, 4), widths=(128, 128), count=4)), 3.45),
        (lambda: DeepNADE(DeepNADENetwork((1, 4, 4), widths=(128, 128), count=4)), 4.2),
    ],
)
def test_bars_and_stripes_are_learnt_in_several_orders(model, most):
    torch.manual_seed(0)
    model, x, steps = model(), bars_and_stripes(), 2000
    optimizer = FusedAdam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        optimizer.zero_grad()
        model.terms(Batch(x, None, Noise(("train", step), len(x))))["loss"].backward()
        optimizer.step()
        schedule.step()
        model.images_seen += len(x)
    nll = model.double().nll(x.double()).mean().item()
    assert log(30) <= nll <= most
