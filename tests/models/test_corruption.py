"""Corruptions: what they leave alone, how much they spoil, and that it is the images' own noise."""

import pytest
import torch

from lightning_gen.models.corruption import GaussianNoise, Masking, SaltAndPepper
from lightning_gen.randomness import Noise

N = 400
ALL = [GaussianNoise(0.3), Masking(0.3), SaltAndPepper(0.3)]


def noise(count, *key, **kwargs):
    return Noise(("test", *key), count, dtype=torch.double, **kwargs)


def images(count=N):
    return torch.rand(count, 1, 5, 5, dtype=torch.double) * 2 - 1


def close_to(share, measured, count):
    return abs(measured - share) < 3 * (share * (1 - share) / count) ** 0.5


@pytest.mark.parametrize("corruption", ALL[1:])
def test_what_is_not_touched_is_kept_bit_for_bit_and_the_rate_is_the_share(corruption):
    x = images()
    spoilt, touched = corruption(x, noise(N))
    assert torch.equal(spoilt[~touched], x[~touched])
    assert (spoilt[touched] != x[touched]).all()
    assert close_to(0.3, touched.double().mean(), x.numel())


def test_masking_makes_black_which_is_not_the_number_zero():
    x = images()
    spoilt, touched = Masking(0.3)(x, noise(N))
    assert set(spoilt[touched].tolist()) == {-1}
    hidden, touched = Masking(0.3)((x + 1) / 2, noise(N), low=0.0)
    assert set(hidden[touched].tolist()) == {0}


def test_salt_is_as_frequent_as_pepper():
    x = images()
    spoilt, touched = SaltAndPepper(0.4)(x, noise(N))
    assert set(spoilt[touched].tolist()) == {-1, 1}
    assert close_to(0.2, (spoilt == 1).double().mean(), x.numel())
    assert close_to(0.2, (spoilt == -1).double().mean(), x.numel())


def test_gaussian_noise_has_its_deviation_in_the_unit_of_the_images():
    x = images()
    spoilt, touched = GaussianNoise(0.3)(x, noise(N))
    error = spoilt - x
    assert touched.all()
    assert abs(error.std() - 0.3) < 0.3 * 3 / (2 * x.numel()) ** 0.5
    assert abs(error.mean()) < 0.3 * 3 / x.numel() ** 0.5
    hidden = GaussianNoise(0.3)(x, noise(N), low=0.0).images - x
    torch.testing.assert_close(hidden, error / 2)  # a range half as wide


@pytest.mark.parametrize("corruption", ALL)
def test_noise_is_new_each_time_and_the_same_for_the_same_key(corruption):
    x, own = images(), noise(N)
    first, second = corruption(x, own), corruption(x, own)
    assert not torch.equal(first.images, second.images)
    assert torch.equal(first.images, corruption(x, noise(N)).images)


@pytest.mark.parametrize("corruption", ALL)
def test_two_processes_spoil_images_as_one_does(corruption):
    x = images(8)
    whole = corruption(x, noise(8))
    parts = [corruption(x[k : k + 4], noise(4, total=8, start=k)) for k in (0, 4)]
    for field in range(2):
        assert torch.equal(whole[field], torch.cat([part[field] for part in parts]))


@pytest.mark.parametrize("kind", [GaussianNoise, Masking, SaltAndPepper])
def test_nothing_is_spoilt_by_an_amount_of_zero(kind):
    x = images()
    assert torch.equal(kind(0.0)(x, noise(N)).images, x)


def test_what_is_no_amount_is_refused():
    for kind in (Masking, SaltAndPepper):
        for share in (-0.1, 1.1, float("nan")):
            with pytest.raises(ValueError, match="probability"):
                kind(share)
    for sigma in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="sigma"):
            GaussianNoise(sigma)
