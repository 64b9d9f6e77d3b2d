"""Which modes are covered, counted by hand."""

from math import inf, isnan, log, nan

import pytest
import torch

from datamodules import Grid, Ring
from lightning_gen.metrics import DigitClassifier
from lightning_gen.metrics.modes import covered, nearest_modes, stacked_classes, unevenness


def test_a_point_belongs_to_the_mode_within_whose_radius_it_lies():
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    x = torch.tensor([[0.1, 0], [0.9, 0.3], [0.5, 0], [0.79, 0], [0.81, 0]])
    assert nearest_modes(x, centres, 0.2).tolist() == [0, 2, 2, 2, 1]


def test_what_is_no_number_lies_nowhere():
    centres = torch.zeros(1, 2)
    x = torch.tensor([[nan, 0], [inf, 0], [-inf, inf], [0, 0]])
    assert nearest_modes(x, centres, 1e9).tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize("kind", [Ring, Grid])
def test_the_data_cover_their_own_modes(kind):
    """Within 3 deviations in the plane lie 1 - exp(-9 / 2) of a Gaussian."""
    data = kind()
    x = data.images("test").pixels.flatten(1)
    modes = nearest_modes(x, data.centres, 3 * data.deviation)
    counts = torch.bincount(modes, minlength=len(data.centres) + 1)[:-1]
    assert covered(counts, len(x), 0.01) == len(data.centres)
    assert counts.sum().item() / len(x) == pytest.approx(0.98889, abs=0.003)
    assert unevenness(counts) < 0.003
    inside = modes < len(data.centres)
    assert torch.equal(modes[inside], data.images("test").labels[inside])


def test_a_mode_with_less_than_its_share_of_all_samples_is_not_covered():
    counts = torch.tensor([10, 9, 500, 0])
    assert covered(counts, 1000, 0.01) == 2
    assert covered(counts, 1000) == 3
    assert covered(torch.zeros(4, dtype=torch.int64), 1000) == 0


def test_unevenness_is_0_for_equal_shares_and_log_k_for_one_mode():
    assert unevenness(torch.full((8,), 5)) == pytest.approx(0, abs=1e-15)
    assert unevenness(torch.tensor([0, 0, 7, 0])) == pytest.approx(log(4))
    assert unevenness(torch.tensor([1, 3])) == pytest.approx(0.25 * log(0.5) + 0.75 * log(1.5))
    assert isnan(unevenness(torch.zeros(4, dtype=torch.int64)))


@pytest.mark.data
def test_digits_in_channels_are_read_as_one_number(real_data):
    from datamodules import StackedMNIST

    data = StackedMNIST(root=real_data).images("test")
    images, labels = data[torch.arange(2000)]
    found = stacked_classes(DigitClassifier(), images)
    assert (found == labels).double().mean() > 0.95
    assert (
        stacked_classes(DigitClassifier(), images[:, :1]) == labels // 100
    ).double().mean() > 0.98
    assert torch.equal(stacked_classes(DigitClassifier(), images[:, 1:]), found % 100)
