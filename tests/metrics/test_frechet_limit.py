import math

import numpy as np
import pytest
import torch

from lightning_gen.metrics import distance_to, intervals, limit
from lightning_gen.metrics.frechet import Moments, frechet_distance, moments_of
from lightning_gen.metrics.frechet_limit import PARTS, enough, interval, resample
from lightning_gen.randomness import stream
from tests.metrics.processes import on_two_processes
from tests.metrics.reference import gaussians
from tests.metrics.test_frechet import by_scipy


def truth(dimensions: int) -> Moments:
    """The Gaussian that `gaussians` draws from."""
    scales = 1.0 / torch.arange(1, dimensions + 1).double()
    return torch.full((dimensions,), 3.0).double(), torch.diag(scales)


def curve(real: Moments, fake: torch.Tensor) -> list[float]:
    """The mean distance of equal parts, by scipy."""
    found = []
    for parts in PARTS:
        ends = [k * len(fake) // parts for k in range(parts + 1)]
        each = [
            frechet_distance(real, moments_of(fake[a:b])).item() for a, b in zip(ends, ends[1:])
        ]
        found.append(np.mean(each))
    return found


def test_it_is_where_a_parabola_in_one_over_n_meets_zero():
    real, fake = truth(6), gaussians(403, 6, "fake", mean=0.2)
    x = [parts / 403 for parts in PARTS]
    assert limit(real, fake) == pytest.approx(np.polyfit(x, curve(real, fake), 2)[-1], rel=1e-8)


def test_samples_of_the_very_gaussian_are_at_no_distance_though_at_n_they_seem_to_be():
    at_n, without_end = intervals(truth(24), gaussians(600, 24, "same"), resamples=40)
    assert without_end.low < 0 < without_end.high
    assert 0 < at_n.low < at_n.value < at_n.high
    assert without_end.value == pytest.approx(limit(truth(24), gaussians(600, 24, "same")))


def test_the_limit_has_less_bias_over_many_draws():
    real = truth(16)
    found = torch.tensor([limit(real, gaussians(200, 16, f"draw {i}")) for i in range(60)])
    at_n = torch.tensor(
        [distance_to(real, gaussians(200, 16, f"draw {i}")).item() for i in range(60)]
    )
    assert abs(found.mean()) < 3 * found.std() / 60**0.5
    assert at_n.mean() > 20 * at_n.std() / 60**0.5


def test_the_interval_covers_redraws_of_the_samples():
    """Half of the width is, over a few draws, two standard deviations of independent draws."""
    real = truth(8)
    draws = [gaussians(400, 8, f"again {i}", mean=0.3) for i in range(80)]
    spread = np.std([distance_to(real, fake).item() for fake in draws])
    for pair in zip(*(intervals(real, fake, resamples=40) for fake in draws[:8]), strict=True):
        half = np.mean([(each.high - each.low) / 2 for each in pair])
        assert half == pytest.approx(1.96 * spread, rel=0.3)


@pytest.mark.parametrize("resamples", [3, 20, 100])
def test_intervals_of_few_resamples_hold_the_expectation_in_95_of_100_draws(resamples):
    """The resamples' own mean is off, as that of distances is, and does not matter."""
    generator, held = stream("coverage"), 0
    for _ in range(2000):
        value = torch.randn(1, generator=generator, dtype=torch.float64)
        others = torch.randn(resamples, generator=generator, dtype=torch.float64) + value + 5
        found = interval(torch.cat([value, others]))
        held += found.low < 0 < found.high
    assert 0.93 < held / 2000 < 0.97


def test_intervals_of_distances_hold_the_distance_in_95_of_100_draws():
    real, held = truth(3), 0
    for i in range(120):
        fake = gaussians(160, 3, f"held {i}", mean=0.4)
        found = intervals(real, fake, 20)[1]
        held += found.low < 3 * 0.4**2 < found.high
    assert held >= 109  # one time in a thousand fewer, of 95 %


def test_resamples_are_drawn_with_replacement_and_kept():
    assert len(resample(1000, 1).unique()) == pytest.approx(632, abs=40)
    assert torch.equal(resample(1000, 1), resample(1000, 1))
    assert not torch.equal(resample(1000, 1), resample(1000, 2))


def test_small_parts_are_told_apart():
    assert enough(8196, 2048) and not enough(8195, 2048)


@pytest.mark.parametrize(("n", "m"), [(40, 30), (20, 90), (90, 20), (80, 70)])
def test_few_images_on_a_side_give_the_same_distance(n, m):
    real, fake = gaussians(n, 50, "real"), gaussians(m, 50, "fake", mean=0.1)
    by_covariances = frechet_distance(moments_of(real), moments_of(fake)).item()
    assert distance_to(moments_of(real), fake).item() == pytest.approx(by_covariances, rel=1e-7)
    if min(n, m) > 50:
        assert by_covariances == pytest.approx(by_scipy(real, fake), rel=1e-9)


@pytest.mark.parametrize("count", [30, 200])
def test_a_set_is_at_no_distance_from_itself_and_nan_spoils(count):
    one = gaussians(count, 50, "one")
    scale = one.var(0).sum().item()
    assert distance_to(moments_of(one), one).item() < 1e-9 * scale
    spoiled = one.clone()
    spoiled[2, 3] = torch.nan
    assert distance_to(moments_of(one), spoiled).isnan()
    assert distance_to(moments_of(spoiled), one).isnan()
    assert math.isnan(limit(moments_of(one), spoiled))
    assert math.isnan(intervals(moments_of(one), spoiled, 3)[0].low)


def test_two_gaussians_have_the_distance_of_the_closed_form():
    real = truth(5)
    fake = gaussians(200_000, 5, "many", mean=0.5, scale=1.5)
    expected = 5 * 0.25 + 0.25 * real[1].trace()
    assert distance_to(real, fake).item() == pytest.approx(expected.item(), rel=0.02)


def test_moments_do_not_depend_on_chunks():
    x = gaussians(101, 7, "x") + 1000
    mean, covariance = moments_of(x, chunk=13)
    torch.testing.assert_close(mean, x.double().mean(0))
    torch.testing.assert_close(covariance, x.double().T.cov(), rtol=1e-10, atol=1e-12)


def test_two_processes_give_the_very_numbers_of_one(tmp_path):
    real, fake = truth(6), gaussians(200, 6, "fake")
    found = on_two_processes(tmp_path, lambda share: intervals(real, fake, 5, share))
    assert found[0] == found[1] == intervals(real, fake, 5)


def test_too_few_of_anything_is_refused():
    with pytest.raises(ValueError, match="two resamples"):
        intervals(truth(3), gaussians(20, 3, "x"), 1)
    with pytest.raises(ValueError, match="four samples"):
        limit(truth(3), gaussians(3, 3, "x"))
