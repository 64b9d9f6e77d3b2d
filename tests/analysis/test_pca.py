"""Principal components: the best of all linear maps of their size."""

import pytest
import torch

from lightning_gen.analysis.pca import PrincipalComponents


def images(count=50):
    torch.manual_seed(0)
    mixed = torch.randn(count, 6, dtype=torch.double) @ torch.randn(6, 6, dtype=torch.double)
    return (mixed + 3).view(count, 1, 2, 3)


def test_directions_and_variances_are_those_of_the_singular_values():
    x = images()
    found = PrincipalComponents([x], 3)
    centred = x.flatten(1) - x.flatten(1).mean(0)
    _, values, rows = torch.linalg.svd(centred, full_matrices=False)
    torch.testing.assert_close(found.variances, values.square() / 50)
    signs = (found.directions * rows[:3].T).sum(0).sign()
    torch.testing.assert_close(found.directions * signs, rows[:3].T)


def test_what_is_lost_is_the_variance_of_the_directions_left_out():
    x = images()
    for size in range(1, 7):
        found = PrincipalComponents([x], size)
        lost = (found.reconstruct(x) - x).square().sum((1, 2, 3)).mean()
        torch.testing.assert_close(lost, found.variances[size:].sum(), atol=1e-10, rtol=1e-8)
        assert found.encode(x).shape == (50, size)


def test_neither_batches_nor_processes_change_them():
    x = images()
    one = PrincipalComponents([x], 2)
    parts = PrincipalComponents(x.split(7), 2)
    torch.testing.assert_close(parts.variances, one.variances)
    twice = PrincipalComponents([x], 2, total=lambda part: 2 * part)  # another with the same
    torch.testing.assert_close(twice.variances, one.variances)


def test_single_precision_images_stay_so_but_lose_nothing_on_the_way():
    x = images().float()
    made = PrincipalComponents([x], 6).reconstruct(x)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, x)


@pytest.mark.parametrize("size", [0, 7])
def test_sizes_that_cannot_be_are_refused(size):
    with pytest.raises(ValueError, match="a size from 1 to 6, got 50 and"):
        PrincipalComponents([images()], size)
