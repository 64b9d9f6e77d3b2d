import math

import numpy as np
import pytest
import torch

from lightning_gen.metrics import kernel_distance
from lightning_gen.metrics.kernel import squared_discrepancy, subset
from tests.metrics import reference
from tests.metrics.processes import on_two_processes
from tests.metrics.reference import gaussians

REAL, FAKE = gaussians(90, 12, "real"), gaussians(75, 12, "fake", mean=0.2)


def by_subsets(estimate, count: int, size: int) -> list[float]:
    """What an estimate of ours or of others gives of the very subsets that are drawn here."""
    pairs = [subset(REAL, FAKE, size, i) for i in range(count)]
    return [float(estimate(x.double().numpy(), y.double().numpy())) for x, y in pairs]


def test_it_is_the_mean_over_subsets_of_the_formula():
    found = kernel_distance(REAL, FAKE, count=5, size=20)
    values = by_subsets(reference.kernel_distance, 5, 20)
    assert found.value == pytest.approx(np.mean(values), rel=1e-10)
    assert found.standard_error == pytest.approx(np.std(values, ddof=1) / math.sqrt(5), rel=1e-9)


def test_it_equals_torch_fidelity_and_torchmetrics_on_the_same_subsets():
    fidelity = pytest.importorskip("torch_fidelity.metric_kid")
    from torchmetrics.image.kid import poly_mmd

    found = kernel_distance(REAL, FAKE, count=7, size=40)

    def theirs(x, y):
        kernel = {
            "kid_kernel": "poly",
            "kid_kernel_poly_degree": 3,
            "kid_kernel_poly_gamma": None,
            "kid_kernel_poly_coef0": 1,
        }
        return fidelity.kernel_mmd(x, y, **kernel)

    def torchmetrics(x, y):
        return poly_mmd(torch.from_numpy(x), torch.from_numpy(y), 3, None, 1.0)

    for each in (theirs, torchmetrics):
        assert found.value == pytest.approx(np.mean(by_subsets(each, 7, 40)), rel=1e-11)


def test_torchmetrics_own_class_agrees_within_the_spread_of_subsets():
    pytest.importorskip("torch_fidelity")
    from torchmetrics.image.kid import KernelInceptionDistance

    metric = KernelInceptionDistance(feature=torch.nn.Identity(), subsets=200, subset_size=60)
    metric.update(REAL, real=True)
    metric.update(FAKE, real=False)
    theirs, spread = metric.compute()
    ours = kernel_distance(REAL, FAKE, count=200, size=60)
    assert abs(ours.value - theirs.item()) < 4 * spread.item() / 200**0.5 * 2**0.5


def test_it_has_no_bias_at_any_number_of_images():
    """The mean over many small sets of one distribution is zero, which the biased estimate is far from."""
    values = torch.stack(
        [squared_discrepancy(*gaussians(24, 6, f"bias {i}").double().split(12)) for i in range(600)]
    )
    assert abs(values.mean()) < 3 * values.std() / 600**0.5
    x, y = gaussians(24, 6, "bias 0").double().split(12)
    biased = squared_discrepancy(x, y) + ((x.square().sum(1) / 6 + 1) ** 3).mean() / 6
    assert biased > 5 * values.std() / 600**0.5


def test_the_default_is_of_a_hundred_subsets_of_a_thousand_or_of_all():
    real, fake = gaussians(1100, 3, "many"), gaussians(1001, 3, "more")
    sizes = [len(each) for each in subset(real, fake, 1000, 3)]
    assert sizes == [1000, 1000]
    assert kernel_distance(real, fake) == kernel_distance(real, fake, 100, 1000)
    assert kernel_distance(REAL, FAKE) == kernel_distance(REAL, FAKE, 100, 75)


def test_subsets_are_drawn_without_replacement_and_differ():
    whole = torch.arange(50).view(-1, 1)
    drawn = [subset(whole, whole, 30, i) for i in range(4)]
    every = [tuple(each.flatten().tolist()) for pair in drawn for each in pair]
    assert all(len(set(each)) == 30 for each in every)
    assert len(set(every)) == 8


def test_far_sets_are_far_and_a_spoiled_set_is_nan():
    near = kernel_distance(REAL, FAKE, size=50).value
    assert kernel_distance(REAL, FAKE + 1, size=50).value > 10 * abs(near)
    spoiled = FAKE.clone()
    spoiled[3, 4] = torch.nan
    assert math.isnan(kernel_distance(REAL, spoiled, size=75).value)


def test_one_image_is_refused():
    with pytest.raises(ValueError, match="got 100 of 1"):
        kernel_distance(REAL[:1], FAKE)


def test_two_processes_give_the_very_number_of_one(tmp_path):
    found = on_two_processes(tmp_path, lambda share: kernel_distance(REAL, FAKE, 9, 30, share))
    assert found[0] == found[1] == kernel_distance(REAL, FAKE, 9, 30)
