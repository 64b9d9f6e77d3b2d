"""Coloured digits: what attributes say of them, their masks, and what is drawn once."""

import pytest
import torch

from datamodules import ColouredDigits
from datamodules.coloured_digits import HUES, RGB, Paint, Painted, paint_for, painted
from datamodules.images import InMemory

N = 600


def grey(count=N):
    torch.manual_seed(0)
    pixels = torch.randint(256, (count, 1, 4, 4), dtype=torch.uint8)
    pixels[:, :, 0], pixels[:, :, 1] = 0, 255
    return InMemory(pixels, torch.arange(count) % 10)


def made(masks=False, split="train"):
    return Painted(grey(), paint_for(N, split), masks)


def test_attributes_are_one_digit_one_hue_and_another_for_the_ground():
    images = made()
    groups = images.labels.split([10, len(HUES), len(HUES)], 1)
    assert images.labels.dtype == torch.int64
    for group in groups:
        assert torch.equal(group.sum(1), torch.ones(N).long())
    assert torch.equal(groups[0].argmax(1), grey().labels)
    assert torch.equal(torch.stack([group.argmax(1) for group in groups[1:]], 1), images.paint.hues)
    assert (groups[1].argmax(1) != groups[2].argmax(1)).all()
    counts = (groups[1].T @ groups[2]).flatten()  # each pair of two hues
    assert (counts == 0).sum() == len(HUES)
    assert counts[counts > 0].min() > 5


def test_where_a_digit_is_whole_it_has_its_hue_and_elsewhere_is_the_ground():
    images = made()
    pixels, labels = images[torch.arange(N)]
    front, back = (labels[:, k : k + 6].argmax(1) for k in (10, 16))
    for rows, hue in ((pixels[:, :, 1], front), (pixels[:, :, 0], back)):
        assert torch.equal(rows > 0, (RGB[hue] > 0)[..., None].expand(-1, -1, 4))


def test_a_mask_is_the_share_of_the_foreground():
    pixels, _ = made(masks=True)[torch.arange(N)]
    assert pixels.shape == (N, 4, 4, 4)
    assert torch.equal(pixels[:, :3], made()[torch.arange(N)][0])
    assert torch.equal(pixels[:, 3:], grey().pixels)
    paint = Paint(torch.tensor([[0, 4]]), torch.tensor([[1.0, 0.5]]), torch.zeros(1, 2))
    half = painted(torch.full((1, 1, 2, 2), 51, dtype=torch.uint8), paint)  # a fifth
    assert half[0, :, 0, 0].tolist() == [51, 0, 102]


def test_a_ground_gets_brighter_to_one_side():
    paint = Paint(torch.tensor([[0, 2]]), torch.tensor([[1.0, 0.5]]), torch.tensor([[0.2, -0.1]]))
    ground = painted(torch.zeros(1, 1, 3, 3, dtype=torch.uint8), paint)[0, 1].float() / 255
    expected = 0.5 * torch.tensor([[0.9, 1.1, 1.3], [0.8, 1.0, 1.2], [0.7, 0.9, 1.1]])
    torch.testing.assert_close(ground, expected, rtol=0, atol=0.5 / 255 + 1e-6)


def test_what_is_drawn_is_drawn_once_and_differs_between_splits():
    images, places = made(), torch.tensor([3, 1, 3])
    first, _ = images[places]
    assert torch.equal(first, images[places][0])
    assert torch.equal(first[0], first[2])
    assert torch.equal(first, images.subset(places)[torch.arange(3)][0])
    digests = {made().digest(), made(split="val").digest()}
    assert len(digests) == 2
    assert made().digest() in digests


@pytest.mark.data
def test_it_is_mnist_in_colours(real_data):
    data = ColouredDigits(root=real_data, masks=True)
    assert data.shape == (4, 28, 28)
    assert data.num_classes is None
    assert data.num_attributes == len(data.label_names) == 22
    assert [len(data.images(s)) for s in ("train", "val", "test")] == [50_000, 10_000, 10_000]
    images, labels = next(iter(data.loader("test")))
    assert (images.shape, labels.shape) == ((500, 4, 28, 28), (500, 22))
    assert labels[0, :10].argmax() == 7
