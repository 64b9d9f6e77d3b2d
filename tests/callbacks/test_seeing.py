"""Pictures of what a model sees: exact to the pixel on models in closed form."""

import numpy as np
import pytest
import torch
from PIL import Image

from callbacks import Completions, LikelihoodMap, ReceptiveField
from callbacks.heat import RAMP, heat, with_strip
from callbacks.images import grid
from callbacks.receptive_field import BLIND, LATER, PLACE, draw
from lightning_gen.levels import to_levels
from lightning_gen.randomness import Noise
from tests.callbacks.parts import TinyData, TinyModel, trainer


def read(folder, name) -> np.ndarray:
    return np.asarray(Image.open(folder / "samples" / f"{name}-latest.png"))


class Colours(TinyData):
    """The same with red, green and blue."""

    shape = (3, 8, 8)


class Completes(TinyModel):
    """Fills in noise, or the class where there are classes."""

    def complete(self, x, known, labels=None, noise=None):
        assert not self.training
        drawn = noise.uniform(1, 8, 8) * 2 - 1
        if labels is not None:
            drawn = labels.view(-1, 1, 1, 1) / 4 + 0 * drawn
        return torch.where(known, x, drawn)


class Costs(TinyModel):
    """A sub-pixel costs what the one above it and the last of the row above it say."""

    def pixel_nll(self, x, labels=None):
        assert labels is None or len(labels) == len(x)
        above = torch.nn.functional.pad(x[:, :, :-1] + 1, (0, 0, 1, 0))
        return above + 0.01 * above[..., -1:] + 0 * self.weight


@pytest.mark.parametrize(("keep", "rows"), [(0.5, 4), (0.8, 6), (0.99, 7), (0, 0)])
def test_each_row_is_what_was_shown_its_completions_and_the_original(tmp_path, keep, rows):
    data = TinyData()
    run = trainer(tmp_path, Completions(count=3, columns=4, keep=keep))
    run.validate(Completes(), data, verbose=False)
    originals = data.images["val"][:3]
    noise = to_levels(Noise(("completions",), 12).uniform(1, 8, 8) * 2 - 1).view(3, 4, 1, 8, 8)
    noise[:, :, :, :rows] = originals[:, None, :, :rows]
    shown = originals.clone()
    shown[:, :, rows:] = 128
    expected = torch.cat([shown[:, None], noise, originals[:, None]], 1)
    drawn = read(tmp_path, "completions")
    assert np.array_equal(drawn, grid(expected.flatten(0, 1), 6))


def test_completions_are_of_the_classes_of_the_originals(tmp_path):
    data = TinyData()
    model = Completes(num_classes=3)
    trainer(tmp_path, Completions(count=3, columns=2)).validate(model, data, verbose=False)
    drawn = read(tmp_path, "completions")
    for k in range(3):  # the labels of the data are 0, 1, 2 in turn
        for column in (1, 2):
            pixel = drawn[2 + k * 66 + 60, 2 + column * 66 + 30]
            assert (pixel == to_levels(torch.tensor(k / 4)).item()).all()


@pytest.mark.parametrize("kind", [TinyData, Colours])
def test_likelihood_maps_stand_below_their_images_and_share_a_scale(tmp_path, kind):
    data = kind()
    run = trainer(tmp_path, LikelihoodMap(count=8, columns=4, most=1.5))
    run.validate(Costs(), data, verbose=False)
    images = data.images["val"][:8]
    maps = heat(Costs().pixel_nll(images / 127.5 - 1).detach().sum(1) / 1.5)
    colours = images.expand(-1, 3, -1, -1)
    rows = torch.cat([colours[:4], maps[:4], colours[4:], maps[4:]])
    expected = with_strip(grid(rows, 4), "0", "1.5 nats per pixel")
    drawn = read(tmp_path, "likelihood-map").astype(int)
    assert drawn.shape == expected.shape
    assert np.abs(drawn - expected).max() <= 1  # floats of images are rounded otherwise


def test_by_default_all_but_one_pixel_in_two_hundred_are_on_the_scale(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        "callbacks.likelihood_map.with_strip", lambda *args: said.append(args) or args[0]
    )
    data = TinyData()
    trainer(tmp_path, LikelihoodMap(8, 4)).validate(Costs(), data, verbose=False)
    nats = Costs().pixel_nll(data.images["val"][:8] / 127.5 - 1).detach()
    top = float(said[0][2].split()[0])
    assert (nats > top * 1.005).float().mean() <= 0.005
    assert (nats > top * 0.995).float().mean() >= 0.004


def test_a_receptive_field_shows_what_has_a_say_how_much_and_what_has_none(tmp_path):
    trainer(tmp_path, ReceptiveField(row=3, column=2)).validate(Costs(), TinyData(), verbose=False)
    drawn = read(tmp_path, "receptive-field")
    side = 224 // 8
    pixels = drawn[2 + side // 2 :: side, 2 + side // 2 :: side][:8, :8]
    expected = np.full((8, 8, 3), LATER)
    expected[:3] = BLIND
    expected[3, :2] = BLIND
    expected[3, 2] = PLACE
    expected[2, 2] = RAMP[-1]
    expected[2, 7] = heat(torch.tensor([[[0.5]]]))[0, :, 0, 0]  # a hundredth, of four decades
    assert np.abs(pixels - expected).max() <= 1


def test_each_colour_of_the_place_has_a_row_with_the_colours_of_the_image(tmp_path):
    run = trainer(tmp_path, ReceptiveField(row=3, column=2))
    run.validate(Costs(), Colours(), verbose=False)
    drawn, side = read(tmp_path, "receptive-field"), 224 // 8
    tiles = drawn[2:, 2:][: 3 * 226, : 3 * 226].reshape(3, 226, 3, 226, 3).swapaxes(1, 2)
    above = tiles[:, :, side * 2 + 1, side * 2 + 1]  # each colour costs what its own says
    itself = tiles[:, :, side * 3 + 1, side * 2 + 1]
    own = np.eye(3, dtype=bool)
    assert (above[own] == RAMP[-1].numpy()).all()
    assert (above[~own] == BLIND).all()
    assert (itself[own] == PLACE).all()
    assert (itself[~own] == LATER).all()


def test_a_place_may_see_the_colours_before_it_but_not_itself():
    field = torch.zeros(3, 2, 2)
    field[:, 0, 1] = 1
    field[0, 1, 0], field[1, 1, 0] = 1, 5  # the second is what the place itself adds
    maps = draw(field, row=1, column=0, color=1)
    assert maps.shape == (3, 3, 2, 2)
    assert maps[:, :, 1, 0].tolist() == [RAMP[-1].tolist(), list(PLACE), list(LATER)]
    assert maps[:, :, 0, 0].tolist() == [list(BLIND)] * 3
    assert maps[:, :, 0, 1].tolist() == [RAMP[-1].tolist()] * 3


def test_a_field_of_nothing_is_drawn():
    maps = draw(torch.zeros(1, 2, 2), 1, 1, 0)
    assert maps[0, :, 0, 0].tolist() == list(BLIND)


def test_pictures_are_drawn_at_the_start_where_that_says_something(tmp_path):
    parts = Completions(2, 2), LikelihoodMap(2, 2), ReceptiveField(count=2)

    class Both(Completes, Costs):
        pass

    trainer(tmp_path, *parts, max_epochs=1).fit(Both(), TinyData())
    names = {path.name for path in (tmp_path / "samples").iterdir() if "latest" not in path.name}
    assert names == {
        "completions-00000004.png",
        "likelihood-map-00000004.png",
        "receptive-field-00000000.png",
        "receptive-field-00000004.png",
    }


def test_without_held_out_images_or_the_capability_nothing_is_drawn(tmp_path, capsys):
    parts = Completions(), LikelihoodMap(), ReceptiveField()

    class Both(Completes, Costs):
        pass

    trainer(tmp_path, *parts, max_epochs=1).fit(Both(), TinyData(val=0))
    trainer(tmp_path, *parts).validate(TinyModel(), TinyData(), verbose=False)
    assert not (tmp_path / "samples").exists()
    assert "no LikelihoodMap: the model is no PixelLikelihood" in capsys.readouterr().out


def test_a_place_outside_of_the_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="row 8, column 4, which images of 8 x 8 do not have"):
        trainer(tmp_path, ReceptiveField(row=8)).fit(Costs(), TinyData())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Completions(keep=1), "keep must be a share of the rows below 1"),
        (lambda: Completions(columns=0), "at least 1, got 8 and 0"),
        (lambda: LikelihoodMap(count=9, columns=4), "count must fill rows"),
        (lambda: LikelihoodMap(most=0), "most must be positive nats"),
        (lambda: ReceptiveField(count=0), "count must be at least 1"),
        (lambda: ReceptiveField(split="all"), "a split is train, val or test"),
    ],
)
def test_arguments_that_draw_nothing_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_colours_go_from_black_to_pale_and_are_clamped():
    ends = heat(torch.tensor([[[-1.0, 0.0, 0.5, 1.0, 9.0, -torch.inf]]]))[0, :, 0].T
    assert ends.tolist() == RAMP[[0, 0, 2, 4, 4, 0]].tolist()
    brightness = heat(torch.linspace(0, 1, 50).view(1, 1, -1)).int().sum(1).flatten()
    assert (brightness.diff() >= 0).all()
