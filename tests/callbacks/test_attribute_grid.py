"""Rows of an image, the nearest one by attributes, and samples of the same attributes."""

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import LightningModule
from torch.utils.data import DataLoader

from callbacks import FID, AttributeGrid, SampleGrid
from callbacks.images import grid
from callbacks.sampling import draw
from datamodules import ImageData
from datamodules.images import InMemory, Splits
from lightning_gen.levels import to_levels
from lightning_gen.randomness import Noise
from tests.callbacks.parts import TinyModel, trainer


class Faces(ImageData):
    """Random images of three attributes."""

    name, shape, num_attributes = "faces", (3, 4, 4), 3

    def read(self):
        def part(count, seed):
            generator = torch.Generator().manual_seed(seed)
            pixels = torch.randint(
                256, (count, *self.shape), generator=generator, dtype=torch.uint8
            )
            return InMemory(pixels, torch.randint(2, (count, 3), generator=generator))

        return Splits(part(40, 0), part(5, 1), part(5, 2))


class Painter(TinyModel):
    """An image is its code, and each attribute a colour."""

    def latent(self, n, noise=None):
        return noise.normal(16)

    def decode(self, z, labels=None):
        return (z.view(-1, 1, 4, 4) / 4 + labels[:, :, None, None] - 0.5).clamp(-1, 1)


def test_rows_are_an_image_its_nearest_and_samples_of_its_attributes(tmp_path):
    data, model = Faces(), Painter(3)
    run = trainer(tmp_path, AttributeGrid(rows=4, columns=2))
    run.validate(model, data, verbose=False)
    images, labels = data.images("val")[torch.arange(4)]
    train = data.images("train")
    near = [(train.labels != label).sum(1).argmin() for label in labels]
    codes = Noise(("grid",), 2).normal(16)
    cells = []
    for k in range(4):
        made = model.decode(codes, labels[k].expand(2, -1))
        cells += [images[k], train.pixels[near[k]], *to_levels(made)]
    drawn = np.asarray(Image.open(tmp_path / "samples" / "attributes-latest.png"))
    assert np.array_equal(drawn, grid(torch.stack(cells), 4))


def test_a_training_image_is_not_shown_as_the_nearest_to_itself(tmp_path, monkeypatch):
    rows = []
    monkeypatch.setattr(
        "callbacks.attribute_grid.grid",
        lambda cells, *_, **__: rows.append(cells) or np.zeros((2, 2, 3), np.uint8),
    )
    data = Faces()
    trainer(tmp_path, AttributeGrid(rows=4, columns=2, split="train")).validate(
        Painter(3), data, verbose=False
    )
    train = data.images("train")
    shown, near = rows[0][0::4], rows[0][1::4]
    assert torch.equal(shown, train.pixels[:4])
    for image, label in zip(near, train.labels[:4]):
        assert torch.equal(image, train.pixels[4 + (train.labels[4:] != label).sum(1).argmin()])


@pytest.mark.parametrize("unknown", [2, 5])
def test_images_without_attributes_have_no_row(tmp_path, capsys, unknown):
    class Some(Faces):
        def read(self):
            splits = super().read()
            splits.val.labels[:unknown] = -1
            return splits

    trainer(tmp_path, AttributeGrid(rows=5, columns=2)).validate(Painter(3), Some(), verbose=False)
    drawn = tmp_path / "samples" / "attributes-latest.png"
    if unknown == 5:
        assert not drawn.exists()
        assert capsys.readouterr().out.count("the first val images have no attributes") == 1
        return
    assert np.asarray(Image.open(drawn)).shape == grid(torch.zeros(3 * 4, 3, 4, 4), 4).shape


@pytest.mark.parametrize("masks", [False, True])
def test_a_model_says_whether_the_fourth_channel_is_a_mask(tmp_path, masks):
    class Cut(Faces):
        shape = (4, 4, 4)

    class Layered(Painter):
        has_masks = masks

        def decode(self, z, labels=None):
            return torch.cat([super().decode(z, labels), z.view(-1, 1, 4, 4).clamp(-1, 1)], 1)

    run = trainer(tmp_path, AttributeGrid(rows=3, columns=2))
    run.validate(Layered(3), Cut(), verbose=False)
    drawn = np.asarray(Image.open(tmp_path / "samples" / "attributes-latest.png"))
    rows = 6 if masks else 3
    assert drawn.shape == grid(torch.zeros(rows * 4, 3, 4, 4), 4).shape


# Samples whose attributes are made up


class Teller(TinyModel):
    """Keeps what it was told of its images."""

    def sample(self, n, labels=None, noise=None):
        self.told = labels
        return torch.zeros(n, 3, 4, 4)


def rows_of(labels):
    return {tuple(row) for row in labels.tolist()}


class Pairs(Faces):
    """Of 40 training images ten have attributes: the first one of three, or both others."""

    known = 10

    def read(self):
        splits = super().read()
        two = torch.tensor([[1, 0, 0], [0, 1, 1]])
        splits.train.labels[:] = two[torch.arange(40) % 2]
        splits.train.labels[self.known :] = -1
        return splits


OF_IMAGES = {(1, 0, 0), (0, 1, 1)}


def test_samples_have_the_attributes_of_training_images(tmp_path):
    model, data = Teller(3), Pairs()
    score = FID(n=100, extractor="seeded", batch_size=100, reference_split="train")
    trainer(tmp_path, score).test(model, data, verbose=False)
    assert rows_of(model.told) == OF_IMAGES
    told = model.told
    noise = Noise(("metrics", 0), 30, 500, 70, model.device)
    draw(model, noise)  # the same attributes in smaller batches
    assert torch.equal(model.told, told[70:])


def test_a_grid_has_a_row_for_the_attributes_of_some_training_images(tmp_path):
    model = Teller(3)
    trainer(tmp_path, SampleGrid(rows=8, columns=2)).test(model, Pairs(), verbose=False)
    assert rows_of(model.told) == OF_IMAGES
    assert torch.equal(model.told[::2], model.told[1::2])
    drawn = np.asarray(Image.open(tmp_path / "samples" / "latest.png"))
    assert drawn.shape == grid(torch.zeros(16, 3, 4, 4), 2).shape


def test_a_grid_shows_images_above_what_their_masks_leave(tmp_path):
    class Masked(Teller):
        has_masks = True

        def sample(self, n, labels=None, noise=None):
            return torch.cat([torch.zeros(n, 3, 4, 4), -torch.ones(n, 1, 4, 4)], 1)

    trainer(tmp_path, SampleGrid(rows=1, columns=2)).test(Masked(3), Pairs(), verbose=False)
    drawn = np.asarray(Image.open(tmp_path / "samples" / "latest.png"))
    expected = torch.cat([torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)])
    assert np.array_equal(drawn, grid(expected, 2))


def test_where_no_attributes_are_known_there_are_no_samples(tmp_path):
    class Unknown(Pairs):
        known = 0

    with pytest.raises(ValueError, match="faces knows those of none"):
        trainer(tmp_path, SampleGrid()).test(Teller(3), Unknown(), verbose=False)

    class Attributed(Teller):
        of_attributes = True

    loaders = DataLoader([0])
    with pytest.raises(ValueError, match="sample it with a data module that has 3 attributes"):
        trainer(tmp_path, SampleGrid()).test(Attributed(3), loaders, verbose=False)


def test_it_needs_attributes_and_a_decoder(tmp_path):
    with pytest.raises(ValueError, match="needs a model of the attributes that the data has"):
        trainer(tmp_path, AttributeGrid()).validate(Painter(2), Faces(), verbose=False)
    with pytest.raises(ValueError, match="at least 1"):
        AttributeGrid(rows=0)

    class Mute(LightningModule):
        def validation_step(self, batch, batch_idx):
            pass

    trainer(tmp_path, AttributeGrid()).validate(Mute(), Faces(), verbose=False)
    assert not (tmp_path / "samples").exists()
