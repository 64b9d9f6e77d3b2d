"""Which units of a code say something of the image."""

import pytest
import torch

from lightning_gen.analysis.units import active_units, activity


def test_activity_is_the_variance_of_posterior_means_over_images():
    codes = torch.tensor([[0.0, 5.0, 0.2], [2.0, 5.0, 0.0], [4.0, 5.0, 0.1]])
    expected = torch.tensor([4.0, 0.0, 0.01]).double()
    torch.testing.assert_close(activity(codes), expected, rtol=0, atol=1e-8)


def test_a_unit_is_active_if_its_mean_depends_on_the_image():
    """Not if it is far from zero for all images alike."""
    torch.manual_seed(0)
    codes = torch.randn(1000, 4) * torch.tensor([1.0, 0.2, 0.05, 0.0]) + 3
    assert active_units(codes).tolist() == [True, True, False, False]
    assert active_units(codes, 1e-4).tolist() == [True, True, True, False]


def test_one_image_has_no_variance():
    with pytest.raises(ValueError, match="at least 2"):
        activity(torch.zeros(1, 3))
