"""Deep NADE: trained on all orders at once, it completes images whatever is known of them."""

from itertools import permutations, product
from math import comb

import pytest
import torch

from lightning_gen import losses
from lightning_gen.levels import from_levels, to_levels
from lightning_gen.models.autoregressive.deep_nade import random_mask
from lightning_gen.models.autoregressive.drawing import inverse_cdf
from lightning_gen.models.base import Batch
from lightning_gen.networks.deep_nade import DeepNADEPlaces
from tests.orders import make, noise, place
from tests.pixels import every_image


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
    monkeypatch.setattr(type(model.network), "forward", None)
    numbers = DeepNADEPlaces.numbers
    monkeypatch.setattr(DeepNADEPlaces, "numbers", lambda *args: passes.append(1) or numbers(*args))
    known = torch.tensor([[False, True], [False, True]])
    x = torch.tensor([[0.0, 1.0], [0.0, -1.0]]).double().expand(n, 1, 2, 2)
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


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_completions_in_colour_are_those_of_whole_passes(temperature):
    model, seen = make("Deep NADE", (3, 2, 3), 5), []
    x = from_levels(torch.randint(5, (4, 3, 2, 3)), 5, torch.double)
    kept = torch.tensor([[False, True, False], [True, False, False]])
    drawn = model.complete(
        x, kept, None, noise(4), temperature, lambda steps: seen.extend(steps) or steps
    )
    assert seen == [[0, 0], [0, 2], [1, 1], [1, 2]]
    u, known, before = noise(4).uniform(3, 2, 3), kept.expand(x.shape).clone(), x.clone()
    for i, j in seen:
        for c in range(3):
            logits = model.network(x, known)[:, :, c, i, j] / temperature
            x[:, c, i, j] = from_levels(inverse_cdf(logits, u[:, c, i, j]), 5, x.dtype)
            known[:, c, i, j] = True
    assert torch.equal(drawn, x)
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        model.complete(x, kept, temperature=0)
    assert torch.equal(model.complete(before, torch.ones(2, 3).bool()), before)
