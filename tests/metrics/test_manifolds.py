import math

import numpy as np
import pytest
import torch

from lightning_gen.metrics import manifolds, radii
from tests.metrics import reference
from tests.metrics.processes import on_two_processes
from tests.metrics.reference import gaussians

REAL = gaussians(230, 8, "real")
FAKE = gaussians(190, 8, "fake", mean=0.3, scale=0.8)


def by_hand(real, fake, k=3, k_density=5):
    return reference.manifolds(real.double().numpy(), fake.double().numpy(), k, k_density)


@pytest.mark.parametrize(("k", "k_density"), [(3, 5), (1, 2), (7, 7)])
def test_all_four_equal_a_plain_count(k, k_density):
    found = manifolds(REAL, FAKE, k, k_density)
    assert list(found) == pytest.approx(by_hand(REAL, FAKE, k, k_density), rel=1e-12)
    assert len({round(each, 3) for each in found}) == 4  # so that none stands for another


def test_precision_and_recall_equal_torch_fidelity():
    fidelity = pytest.importorskip("torch_fidelity.metric_prc")
    found = manifolds(REAL, FAKE)
    for theirs in (
        fidelity.calculate_precision_recall_full(FAKE.double(), REAL.double()),
        fidelity.calculate_precision_recall_part(FAKE.double(), REAL.double()),
    ):
        assert (found.precision, found.recall) == pytest.approx(theirs, rel=1e-6)


def test_a_set_and_itself_are_one_and_far_sets_are_nothing():
    assert manifolds(REAL, REAL.clone()) == (1, 1, 1, 1)
    assert manifolds(REAL, FAKE + 100) == (0, 0, 0, 0)


def test_a_set_and_itself_are_one_with_copies_and_in_any_order():
    twice = torch.cat([REAL, REAL[:100]])
    found = manifolds(twice, twice[torch.randperm(330)], rows=64, columns=37)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density == pytest.approx(by_hand(twice, twice)[2], rel=1e-12)


def test_samples_of_one_image_are_precise_and_recall_nothing_else():
    collapsed = REAL[:1].repeat(60, 1)
    found = manifolds(REAL, collapsed)
    assert (found.precision, found.recall) == (1, 1 / 230)
    assert found.coverage < 0.1


def test_samples_in_half_of_the_data_have_precision_without_recall():
    two = torch.cat([REAL[:115], REAL[115:] + 50])
    found = manifolds(two, gaussians(200, 8, "half"))
    assert found.precision > 0.8
    assert 0.3 < found.recall < 0.55


@pytest.mark.parametrize(("rows", "columns"), [(1, 1000), (7, 3), (1000, 64), (230, 229)])
def test_chunks_do_not_matter(rows, columns):
    assert manifolds(REAL, FAKE, rows=rows, columns=columns) == manifolds(REAL, FAKE)


def test_features_far_from_the_origin_lose_no_digits():
    moved = [each.double() + 1e5 for each in (REAL, FAKE)]
    assert list(manifolds(*moved)) == pytest.approx(by_hand(*moved), rel=1e-12)
    torch.testing.assert_close(radii(moved[0], (3, 5)), radii(REAL, (3, 5)), rtol=1e-7, atol=0)


def test_a_radius_is_to_the_nearest_of_the_others():
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    found = radii(line, (1, 3), rows=3, columns=2)
    assert torch.allclose(found, torch.tensor([[1.0, 49], [1, 36], [4, 16], [16, 49]]).double())
    assert radii(REAL, (3,))[:, 0].sqrt().numpy() == pytest.approx(
        reference.ball_radii(REAL.double().numpy(), 3), rel=1e-9
    )


def test_known_radii_are_taken_as_they_are():
    known = radii(REAL, (3, 5))
    assert manifolds(REAL, FAKE, real_radii=known) == manifolds(REAL, FAKE)
    assert manifolds(REAL, FAKE, real_radii=known * 0).precision == 0


def test_a_set_with_nan_has_none_and_too_few_images_are_refused():
    spoiled = FAKE.clone()
    spoiled[0, 0] = torch.nan
    assert all(math.isnan(each) for each in manifolds(REAL, spoiled))
    with pytest.raises(ValueError, match="5 images have no neighbours number 5"):
        manifolds(REAL[:5], FAKE)


def test_two_processes_give_the_very_numbers_of_one(tmp_path):
    found = on_two_processes(
        tmp_path, lambda share: manifolds(REAL, FAKE, share=share, rows=30, columns=50)
    )
    assert found[0] == found[1] == manifolds(REAL, FAKE)
    assert np.isfinite(found[0]).all()
