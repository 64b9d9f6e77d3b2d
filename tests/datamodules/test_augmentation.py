"""What changes training images is drawn for the global batch, and never touches an evaluation."""

import pytest
import torch
from PIL import Image

from datamodules import CIFAR10, MNIST, BinarizedMNIST, Digits, ImageFolder
from datamodules.base import flip
from lightning_gen.randomness import Noise

from .tiny import fit, write_mnist


@pytest.fixture
def halves(tmp_path):
    """Images whose left half is dark; image i has level 10 * i + 9 on the right."""
    for k in range(24):
        image = Image.new("L", (4, 4))
        image.paste(10 * k + 9, (2, 0, 4, 4))
        (tmp_path / "images").mkdir(exist_ok=True)
        image.save(tmp_path / "images" / f"{k:02}.png")

    def data(**kwargs):
        options = {"size": 4, "channels": 1, "batch_size": 4, "num_workers": 0}
        return ImageFolder(tmp_path / "images", **{**options, **kwargs})

    return data


def test_a_flip_mirrors_about_half_of_the_images_left_to_right():
    images = torch.arange(6, dtype=torch.uint8).reshape(1, 1, 2, 3).expand(2000, -1, -1, -1)
    flipped = flip(images, Noise((0, 0), 2000))
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    kept = (flipped == images).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 900 < mirrored.sum() < 1100


def test_flips_differ_between_steps_and_not_between_numbers_of_processes(halves, tmp_path):
    (one,) = fit(halves(), max_epochs=2)
    two = fit(halves(), world=2, folder=tmp_path, max_epochs=2)
    together = [torch.cat(pair) for pair in zip(two[0]["images"], two[1]["images"], strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(one["images"], together, strict=True))
    mirrored = [(batch[:, 0, 0, 0] > 0).tolist() for batch in one["images"]]
    assert 0 < sum(map(sum, mirrored)) < 40
    assert len({tuple(batch) for batch in mirrored}) > 3


@pytest.mark.parametrize("in_memory", [True, False])
def test_evaluation_is_never_flipped(halves, in_memory):
    for split in ("train", "val", "test"):
        for images, _ in halves(in_memory=in_memory).loader(split):
            assert (images[..., 0] == 0).all()


def test_flipping_can_be_turned_off(halves):
    (run,) = fit(halves(flip=False), max_epochs=1)
    assert all((batch[..., 0] == 0).all() for batch in run["images"])


def test_digits_are_never_flipped():
    noise = Noise((0,), 50)
    images = torch.randint(256, (50, 1, 28, 28), dtype=torch.uint8)
    for data in (Digits(), MNIST()):
        assert torch.equal(data.augment(images, noise), images)
    assert not torch.equal(CIFAR10().augment(images, noise), images)


def test_dynamic_binarization_is_white_with_probability_level_over_255():
    data = BinarizedMNIST("dynamic")
    levels = torch.tensor([0, 1, 64, 128, 254, 255], dtype=torch.uint8)
    images = levels.expand(40_000, 1, 1, 6)
    drawn = data.augment(images, Noise((0,), 40_000))
    assert set(drawn.unique().tolist()) == {0, 255}
    share = (drawn == 255).double().mean((0, 1, 2))
    exact = levels.double() / 255
    assert share[0] == 0
    assert share[-1] == 1
    assert ((share - exact).abs() <= 4 * (exact * (1 - exact) / 40_000).sqrt()).all()


def test_dynamic_binarization_draws_anew_in_training_and_once_for_evaluation(tmp_path):
    write_mnist(tmp_path, train=30)

    def data():
        return BinarizedMNIST(root=tmp_path, val_size=10, batch_size=20, download=False)

    (run,) = fit(data(), max_epochs=2)
    first, second = (batch.sort(0).values for batch in run["images"])
    assert not torch.equal(first, second)  # the same twenty images, in another order
    assert set(first.unique().tolist()) == {0, 255}
    for split in ("train", "val", "test"):
        again = [torch.cat([images for images, _ in data().loader(split)]) for _ in range(2)]
        assert torch.equal(*again)
        assert set(again[0].unique().tolist()) == {0, 255}


def test_dynamic_binarization_is_the_same_on_any_number_of_processes(tmp_path):
    write_mnist(tmp_path, train=30)

    def data():
        return BinarizedMNIST(root=tmp_path, val_size=10, batch_size=10, download=False)

    (one,) = fit(data(), max_epochs=1)
    two = fit(data(), world=2, folder=tmp_path, max_epochs=1)
    together = [torch.cat(pair) for pair in zip(two[0]["images"], two[1]["images"], strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(one["images"], together, strict=True))
