"""Mixtures of orders: MADE with many masks, and Deep NADE, which is trained on all orders at once."""

from math import log

import pytest
import torch

from lightning_gen import losses
from lightning_gen.capabilities import Completer, Likelihood, Sampler
from lightning_gen.levels import from_levels, to_levels
from lightning_gen.models.autoregressive import MADE, DeepNADE
from lightning_gen.models.autoregressive.drawing import inverse_cdf
from lightning_gen.models.base import Batch
from lightning_gen.networks.deep_nade import DeepNADENetwork
from lightning_gen.networks.made import ManyOrdersMADE
from lightning_gen.optimizers import FusedAdam
from lightning_gen.randomness import Noise
from tests.game import fit
from tests.orders import MODELS, make, noise, place
from tests.pixels import bars_and_stripes, every_image

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


@pytest.mark.parametrize("kind", MODELS)
def test_temperature_divides_the_log_probabilities_of_each_sub_pixel(kind):
    model, n = make(kind, (1, 1, 3), 4, count=1), 5000
    with torch.no_grad():
        first = int(model.network.orders[0, 0])
        logits = model.network.along(torch.zeros(1, 1, 1, 3).double(), 0)[0, :, 0, 0, first]
    for temperature in (0.3, 3.0):
        drawn = model.sample(n, noise=noise(n), temperature=temperature)[:, 0, 0, first]
        counts = to_levels(drawn, 4).long().bincount(minlength=4) / n
        assert (counts - (logits / temperature).softmax(0)).abs().max() < 0.03
    cold = model.sample(20, noise=noise(20), temperature=1e-4)
    assert len(cold.unique(dim=0)) == 1
    for bad in (0.0, -1.0):
        with pytest.raises(ValueError, match="temperature must be positive"):
            model.sample(2, temperature=bad)


@pytest.mark.parametrize("kind", MODELS)
def test_progress_sees_every_place_of_each_order_that_is_drawn(kind):
    model, seen = make(kind), []
    model.sample(12, noise=noise(12), progress=lambda steps: seen.extend(steps) or steps)
    assert seen == [[order, place] for order in range(3) for place in range(9)]
    plain = model.sample(12, noise=noise(12))
    assert torch.equal(model.sample(12, noise=noise(12), progress=lambda steps: steps), plain)


# MADE


def test_a_network_that_would_be_compiled_anew_for_each_order_is_not_compiled():
    with pytest.raises(ValueError, match="compile_networks is not for MADE of several orders"):
        MADE(ManyOrdersMADE((1, 2, 2), widths=(4,)), compile_networks=True)


def test_orders_take_turns_in_training():
    model, x = make("MADE"), every_image(1, 3, 3)[:8]
    for step in range(6):
        model.images_seen = 8 * step
        loss = model.terms(Batch(x, None, noise(8)))["loss"]
        torch.testing.assert_close(loss, model.order_nll(x, step % 3).mean())


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
