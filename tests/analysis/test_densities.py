"""The best discriminator on known densities, and the two lines."""

from math import log

import pytest
import torch

from lightning_gen.analysis import densities as known


def tables(count: int = 20, cells: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.rand(count, cells, dtype=torch.float64).softmax(1) for _ in range(2))


def test_the_value_of_the_best_discriminator_is_twice_the_divergence_less_ln_4():
    p, q = tables()
    best = known.value(p, q, known.optimal_discriminator(p, q))
    torch.testing.assert_close(best, known.optimal_value(p, q), atol=1e-12, rtol=0)
    torch.testing.assert_close(best, 2 * known.jensen_shannon(p, q) - log(4), atol=1e-12, rtol=0)


def test_no_discriminator_is_better_than_the_best():
    p, q = tables()
    for _ in range(50):
        assert (known.value(p, q, torch.rand_like(p)) <= known.optimal_value(p, q)).all()


def test_equal_densities_leave_it_undecided_and_the_value_least():
    p, _ = tables()
    assert (known.optimal_discriminator(p, p) == 0.5).all()
    torch.testing.assert_close(known.optimal_value(p, p), torch.full((20,), -log(4)).double())
    p, q = tables()
    assert (known.optimal_value(p, q) >= -log(4)).all()


def test_the_divergence_of_tables_that_do_not_touch_is_ln_2_and_the_other_is_infinite():
    p, q = torch.tensor([[3, 7, 0, 0], [0, 0, 4, 6]]).double() / 10
    assert known.jensen_shannon(p, q).item() == pytest.approx(log(2), abs=1e-15)
    assert known.kullback_leibler(p, q).item() == torch.inf
    assert known.optimal_value(p, q).item() == pytest.approx(0, abs=1e-15)


def test_cells_without_mass_do_not_spoil_the_value():
    p, q = torch.tensor([[2, 2, 0], [1, 3, 0]]).double() / 4
    best = known.value(p, q, known.optimal_discriminator(p, q))
    assert best.item() == pytest.approx(known.optimal_value(p, q).item(), abs=1e-12)


def test_label_smoothing_scales_the_best_discriminator():
    """It is where the gradient of the smoothed loss vanishes."""
    p, q = tables(1)
    d = known.optimal_discriminator(p, q, real_target=0.9).requires_grad_()
    loss = (p * (0.9 * d.log() + 0.1 * (1 - d).log()) + q * (1 - d).log()).sum()
    (slope,) = torch.autograd.grad(loss, d)
    assert slope.abs().max() < 1e-12


def test_the_earth_mover_distance_of_a_shift_is_the_shift():
    p = torch.tensor([2, 5, 3, 0, 0, 0]).double() / 10
    assert known.earth_mover(p, p.roll(3), width=0.5).item() == pytest.approx(1.5)
    assert known.earth_mover(p, p).item() == 0


def test_the_divergence_of_two_normals_is_that_of_quadrature():
    x = torch.linspace(-12, 13, 20_001, dtype=torch.float64)
    width = (x[1] - x[0]).item()
    p, q = (torch.distributions.Normal(m, 1.0).log_prob(x).exp() * width for m in (0.0, 1.5))
    assert known.optimal_value(p, q).item() == pytest.approx(-0.9440, abs=1e-4)
    assert known.earth_mover(p, q, width).item() == pytest.approx(1.5, abs=1e-6)


def test_the_logits_of_two_normals_are_a_line():
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)
    p, q = (torch.distributions.Normal(m, 1.0).log_prob(x) for m in (0.0, 1.5))
    logits = known.optimal_logits(p, q)
    torch.testing.assert_close(logits, -1.5 * x + 1.125)
    torch.testing.assert_close(logits.sigmoid(), known.optimal_discriminator(p.exp(), q.exp()))


def test_lines_part_at_once_for_the_divergence_and_slowly_for_the_earth_mover():
    theta = torch.tensor([-2.0, -0.25, 0.0, 2**-20, 1.0]).double()
    assert known.lines_jensen_shannon(theta).tolist() == [log(2), log(2), 0, log(2), log(2)]
    assert known.lines_earth_mover(theta).tolist() == [2, 0.25, 0, 2**-20, 1]
    torch.testing.assert_close(
        known.lines_penalised(torch.tensor([0.25, 0.5, 1, 2]).double()),
        torch.tensor([0.253125, 0.5125, 1.05, 2.2]).double(),
    )


def test_no_other_slope_pleases_a_penalised_critic_more():
    slopes = torch.linspace(0, 5, 5001, dtype=torch.float64)
    for theta in (-1.0, 0.5, 2.0):
        for weight in (0.5, 10.0):
            pleased = abs(theta) * slopes - weight * (slopes - 1) ** 2
            best = slopes[pleased.argmax()]
            found = known.lines_penalised(torch.tensor(theta).double(), weight).item()
            assert found == pytest.approx(abs(theta) * best.item(), abs=2e-3)
