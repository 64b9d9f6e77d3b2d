"""Points of the plane: their scales, that they never change, and that they go through a loader."""

from math import pi

import pytest
import torch

from datamodules import Grid, ParallelLines, Ring, StackedMNIST, SwissRoll
from datamodules.images import InMemory
from datamodules.stacked_mnist import Stacked, stack
from lightning_gen.randomness import Noise

SETS = (Ring, Grid, SwissRoll, ParallelLines)


def points(data, split: str = "train") -> torch.Tensor:
    return data.images(split).pixels.flatten(1)


@pytest.mark.parametrize("kind", SETS)
def test_points_are_floats_of_one_pixel_and_two_channels(kind):
    data = kind(batch_size=16)
    images, labels = next(iter(data.train_dataloader()))
    assert images.shape == (16, 2, 1, 1)
    assert images.dtype == torch.float32
    assert labels.shape == (16,)
    assert labels.dtype == torch.int64
    assert [len(data.images(split)) for split in ("train", "val", "test")] == [
        50_000,
        10_000,
        10_000,
    ]


def test_fingerprints_are_of_the_points_and_never_change():
    """They are rounded from double precision, so the same on every processor."""
    assert Ring().fingerprint("test") == "f40d66da693f"
    assert Grid().fingerprint("test") == "c13b548fdd68"
    assert SwissRoll().fingerprint("test") == "2a421b6d3b94"
    assert ParallelLines().fingerprint("test") == "33ef551420af"
    assert ParallelLines(0.5).fingerprint("test") != "33ef551420af"
    prints = {kind().fingerprint(split) for kind in SETS for split in ("train", "val", "test")}
    assert len(prints) == 12


def test_the_seed_of_a_run_changes_the_order_and_not_the_points():
    one, other = (
        Ring(seed=1, train_size=256, batch_size=256),
        Ring(seed=2, train_size=256, batch_size=256),
    )
    assert one.fingerprint("train") == other.fingerprint("train")
    a, b = (next(iter(data.train_dataloader()))[0].flatten(1) for data in (one, other))
    assert not torch.equal(a, b)
    assert torch.equal(a.unique(dim=0), b.unique(dim=0))


def test_training_goes_on_with_the_next_points():
    data = Ring(train_size=64, batch_size=16, seed=0)
    whole = [images for images, _ in data.train_dataloader()]
    later = Ring(train_size=64, batch_size=16, seed=0)
    later.load_state_dict({"images_consumed": 32})
    again = [images for images, _ in later.train_dataloader()]
    assert torch.equal(torch.cat(again[:2]), torch.cat(whole[2:]))


def test_points_are_not_augmented():
    data, images = Ring(), torch.randn(4, 2, 1, 1)
    assert torch.equal(data.augment(images, Noise((0,), 4)), images)


@pytest.mark.parametrize(("kind", "modes", "radius"), [(Ring, 8, 2 / 1.414), (Grid, 25, None)])
def test_modes_have_the_scales_of_the_authors_code(kind, modes, radius):
    data = kind()
    assert data.centres.shape == (modes, 2)
    assert data.num_classes == modes
    labels, x = data.images("train").labels, points(data).double()
    assert torch.bincount(labels).min() > 0.9 * 50_000 / modes
    rest = x - data.centres[labels]
    assert rest.std(0).tolist() == pytest.approx([data.deviation] * 2, rel=0.02)
    assert rest.mean(0).abs().max() < 0.05 * data.deviation
    if radius is not None:
        torch.testing.assert_close(data.centres.norm(dim=1), torch.full((8,), radius).double())
    assert x.std(0).tolist() == pytest.approx([1, 1], abs=0.02)  # what the divisors are for


def test_the_ring_and_the_grid_are_the_ones_that_papers_draw():
    assert Ring.deviation == pytest.approx(0.01414427)
    assert Ring().centres[0].tolist() == pytest.approx([1.41443, 0], abs=1e-5)
    assert Grid.deviation == pytest.approx(0.01768034)
    assert torch.pdist(Grid().centres).min().item() == pytest.approx(0.707214, abs=1e-5)
    assert Grid().centres.abs().max().item() == pytest.approx(1.414427, abs=1e-5)


def test_the_roll_is_a_spiral():
    x = points(SwissRoll()).double() * 7.5
    radius, angle = x.norm(dim=1), torch.atan2(x[:, 1], x[:, 0])
    turns = ((radius - angle) / (2 * pi)).round()  # of r = phi + 2 pi k
    assert ((radius - angle - 2 * pi * turns).abs() < 5 * 0.25 * 1.5).all()
    assert radius.min() > 1.5 * pi - 1.5
    assert radius.max() < 4.5 * pi + 1.5
    assert (radius.max() - radius.min()).item() == pytest.approx(3 * pi, abs=2)


def test_lines_stand_where_they_are_told():
    x = points(ParallelLines(theta=-0.5))
    assert (x[:, 0] == -0.5).all()
    assert x[:, 1].min() >= 0
    assert x[:, 1].max() <= 1
    assert x[:, 1].mean().item() == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ValueError, match="theta must be finite, got nan"):
        ParallelLines(theta=float("nan"))


def test_a_set_without_points_is_refused():
    with pytest.raises(ValueError, match="train_size must be at least 1 point, got 0"):
        Ring(train_size=0)


def test_three_digits_become_the_colours_and_the_label_reads_them():
    pixels = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(-1, 1, 28, 28)
    grey = InMemory(pixels, torch.arange(10))
    stacked = Stacked(grey, torch.tensor([[4, 0, 7], [1, 2, 3]]))
    images, labels = stacked[torch.tensor([0, 1, 0])]
    assert images.shape == (3, 3, 28, 28)
    assert images.dtype == torch.uint8
    assert labels.tolist() == [407, 123, 407]
    assert images[:, :, 5, 5].tolist() == [[4, 0, 7], [1, 2, 3], [4, 0, 7]]
    part = stacked.subset(torch.tensor([1]))
    assert part[torch.tensor([0])][1].tolist() == [123]
    assert len(part) == 1


def test_what_is_stacked_is_known_by_its_digits_and_by_who_meets():
    def made(level: int = 0, split: str = "train") -> str:
        return stack(
            InMemory(torch.full((5, 1, 2, 2), level, dtype=torch.uint8)), 9, split
        ).digest()

    assert made() == made()
    assert len({made(), made(1), made(split="test")}) == 3


@pytest.mark.data
def test_stacked_mnist_keeps_test_digits_apart(real_data):
    data = StackedMNIST(root=real_data, batch_size=50)
    assert data.shape == (3, 28, 28)
    assert [len(data.images(s)) for s in ("train", "val", "test")] == [128_000, 10_000, 26_000]
    sizes = [len(data.images(s).grey) for s in ("train", "val", "test")]
    assert sizes == [50_000, 10_000, 10_000]
    assert data.fingerprint("test") == "55c88f8ebabb"
    images, labels = next(iter(data.loader("test")))
    assert images.shape == (500, 3, 28, 28)
    assert data.images("train").labels.unique().numel() == 1000
    assert labels[0].item() == 703
    for channel, digit in enumerate((7, 0, 3)):  # as the classifier reads them, too
        from lightning_gen.metrics import DigitClassifier

        _, logits = DigitClassifier().with_logits(images[:1, channel : channel + 1])
        assert logits.argmax(1).item() == digit
    assert len(StackedMNIST(root=real_data, val_size=0).images("val")) == 0
