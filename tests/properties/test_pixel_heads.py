"""Heads of pixels are probabilities, and what is drawn colour by colour is what is trained."""

from itertools import product
from math import log

import pytest
import torch

from lightning_gen import losses
from lightning_gen.levels import from_levels, to_levels
from lightning_gen.models.heads import Logistic, Softmax
from lightning_gen.models.logistic_mixture import LogisticMixture

HEADS = [Softmax(), Logistic(), LogisticMixture(1), LogisticMixture(3)]


def random_numbers(head, channels, levels, count=1, height=1, width=1):
    torch.manual_seed(0)
    colors = 1 if head.couples else channels
    size = (count, head.outputs(channels, levels), colors, height, width)
    return torch.randn(size, dtype=torch.double)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("channels", "levels"), [(1, 2), (1, 256), (2, 12), (3, 5)])
def test_the_masses_of_all_values_of_a_pixel_sum_to_one(head, channels, levels):
    every = torch.tensor(list(product(range(levels), repeat=channels)))
    x = from_levels(every, levels, torch.double)[:, :, None, None]
    numbers = random_numbers(head, channels, levels).expand(len(x), -1, -1, -1, -1)
    assert abs((-head.nll(numbers, x, levels)).exp().sum().item() - 1) < 1e-12


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_colour_by_colour_the_distribution_is_that_of_the_likelihood(head, channels):
    levels, size = 7, (4, channels, 2, 3)
    x = from_levels(torch.randint(levels, size), levels, torch.double)
    numbers = random_numbers(head, channels, levels, 4, 2, 3)
    nats = torch.zeros(4).double()
    for c, i, j in product(range(channels), range(2), range(3)):
        of_color = numbers[:, :, 0 if head.couples else c, i, j]
        log_p = head.logits(of_color, x[:, :c, i, j], channels, levels).log_softmax(1)
        nats -= log_p.gather(1, to_levels(x, levels)[:, c, i, j].long()[:, None])[:, 0]
    torch.testing.assert_close(head.nll(numbers, x, levels), nats)


@pytest.mark.parametrize("head", [Logistic(), LogisticMixture(2)])
def test_the_logits_of_logistic_heads_are_log_probabilities(head):
    numbers, known = random_numbers(head, 3, 256, 5)[:, :, 0, 0, 0], torch.rand(5, 2).double()
    total = head.logits(numbers, known, 3, 256).logsumexp(1)
    torch.testing.assert_close(total, torch.zeros_like(total), rtol=0, atol=1e-12)


def test_the_mixture_is_that_of_pixelcnn_plus_plus():
    """Weights, then for each component 3 locations, 3 log-scales and 3 coefficients."""
    head, levels = LogisticMixture(2), 256
    assert head.outputs(3, levels) == 10 * 2
    assert head.outputs(1, levels) == 3 * 2
    numbers = random_numbers(head, 3, levels)[0, :, 0, 0, 0]
    r, g, b = x = from_levels(torch.tensor([30, 200, 77]), dtype=torch.double)
    total = 0
    for k in range(2):
        m, s, c = numbers[2 + 9 * k : 11 + 9 * k].view(3, 3)
        c = c.tanh()
        at = [m[0], m[1] + c[0] * r, m[2] + c[1] * r + c[2] * g]
        p = numbers[:2].softmax(0)[k]
        for color in range(3):
            low, high = x[color] - 1 / 255, x[color] + 1 / 255
            scale = s[color].exp()
            p = p * (((high - at[color]) / scale).sigmoid() - ((low - at[color]) / scale).sigmoid())
        total = total + p
    nll = head.nll(numbers.view(1, -1, 1, 1, 1), x.view(1, 3, 1, 1), levels)
    torch.testing.assert_close(nll, -total.log()[None])


def test_one_component_of_gray_images_is_a_logistic_distribution():
    x = from_levels(torch.randint(256, (3, 1, 2, 2)), dtype=torch.double)
    numbers = random_numbers(LogisticMixture(1), 1, 256, 3, 2, 2)
    expected = Logistic().nll(numbers[:, 1:], x, 256)
    torch.testing.assert_close(LogisticMixture(1).nll(numbers, x, 256), expected)


def test_a_softmax_over_two_levels_is_a_bernoulli_distribution():
    logits, x = torch.randn(3, 1, 2, 2).double(), torch.randn(3, 1, 2, 2).double().sign()
    numbers = torch.stack([torch.zeros_like(logits), logits], 1)
    expected = losses.bernoulli_nll(logits, (x + 1) / 2)
    torch.testing.assert_close(Softmax().nll(numbers, x, 2), expected)


def test_even_logits_cost_eight_bits():
    x = from_levels(torch.randint(256, (2, 3, 4, 4)))
    nll = Softmax().nll(torch.zeros(2, 256, 3, 4, 4), x, 256)
    torch.testing.assert_close(losses.bits_per_dim(nll, 48), torch.full((2,), 8.0))
    torch.testing.assert_close(nll, torch.full((2,), 48 * 8 * log(2)))


@pytest.mark.parametrize("head", [Logistic(), LogisticMixture(2)])
def test_far_locations_and_small_scales_have_finite_losses_and_gradients(head):
    size = (4, head.outputs(3, 256), 1 if head.couples else 3, 1, 1)
    numbers = (30 * torch.randn(size)).requires_grad_()
    nll = head.nll(
        numbers, torch.tensor([-1.0, 0.2, 1.0]).view(1, 3, 1, 1).expand(4, -1, 1, 1), 256
    )
    (gradient,) = torch.autograd.grad(nll.sum(), numbers)
    assert nll.isfinite().all()
    assert gradient.isfinite().all()


def test_log_scales_are_raised_to_the_least():
    for head in (Logistic(-2.0), LogisticMixture(1, -2.0)):
        a, b = (torch.full((1, head.outputs(1, 256), 1, 1, 1), s) for s in (-2.0, -9.0))
        a[:, :-1], b[:, :-1] = 0.3, 0.3
        x = torch.zeros(1, 1, 1, 1)
        assert torch.equal(head.nll(a, x, 256), head.nll(b, x, 256))


@pytest.mark.parametrize("head", [Logistic(), LogisticMixture(3)])
def test_draws_from_numbers_in_half_precision_are_of_the_masses_that_training_counts(head):
    numbers = random_numbers(head, 3, 256, 4)[:, :, 0, 0, 0].bfloat16()
    known = from_levels(torch.randint(256, (4, 2)))
    half = head.logits(numbers, known, 3, 256)
    assert half.dtype == torch.float32
    assert torch.equal(half, head.logits(numbers.float(), known, 3, 256))


def test_bad_heads_are_refused():
    with pytest.raises(ValueError, match="components must be at least 1, got 0"):
        LogisticMixture(0)
    with pytest.raises(ValueError, match="min_log_scale must be finite"):
        Logistic(float("nan"))
