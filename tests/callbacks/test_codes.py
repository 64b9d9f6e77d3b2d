"""What codes mean: how well they are the classes, and pictures of what they change."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from callbacks import CodeTraversal, LabelAccuracy
from lightning_gen.levels import to_levels
from tests.callbacks.parts import TinyAutoencoder, TinyData, TinyModel, trainer


class Classes(TinyData):
    """Images that show their class by the level of their first pixel."""

    num_classes = 3

    def __init__(self) -> None:
        super().__init__()
        for images in self.images.values():
            images[:, 0, 0, 0] = torch.arange(len(images)) % 3

    def labels(self, images):
        return to_levels(images[:, 0, 0, 0])


def told(images, names):
    """Log-probabilities that name the class which the first pixel shows."""
    groups = torch.tensor(names)[to_levels(images[:, 0, 0, 0]).long()]
    return torch.log_softmax(9.0 * torch.nn.functional.one_hot(groups, 3).float(), 1)


class Knows(TinyModel):
    def classify(self, x):
        return told(x, [0, 1, 1])  # takes the third class for the second


class Reads(TinyAutoencoder):
    """Has found the classes, under other names, and that colour is worth a code."""

    def read_codes(self, x):
        return [told(x, [2, 0, 1])], x[:, 0, 0, :1]

    def traversals(self, rows, columns, noise):
        z = self.latent(rows, noise)[:, None].repeat(1, columns, 1)
        z[:, :, 5] = torch.linspace(-1, 1, columns)
        return {"continuous0": z}


def scores(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())["scores"]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(("cls", "key", "value"), [
    (Knows, "accuracy/labels", 28 / 41),
    (Reads, "accuracy/codes", 1.0),
])  # fmt: skip
def test_the_share_of_right_classes_is_that_of_all_images(cls, key, value, processes, tmp_path):
    player = trainer(tmp_path, LabelAccuracy(), processes=processes)
    player.test(cls(), Classes(), verbose=False)
    score = scores(tmp_path)[key]
    assert score["value"] == pytest.approx(value)  # of 41 images, 14, 14 and 13 of each class
    assert score["n"] == 41
    assert score["protocol"].startswith(f"{key}:tiny-test-41:")


def test_a_model_that_knows_nothing_of_classes_is_left_alone(tmp_path, capsys):
    trainer(tmp_path, LabelAccuracy()).test(TinyModel(), Classes(), verbose=False)
    assert "says nothing of classes" in capsys.readouterr().out
    assert not (tmp_path / "result.json").exists()


class Continuous(Reads):
    def read_codes(self, x):
        return [], x[:, 0, 0, :1]


def test_a_model_without_a_categorical_code_is_refused_before_it_trains(tmp_path):
    model = Continuous()
    with pytest.raises(
        ValueError, match="reads the first categorical code, and the model has none"
    ):
        trainer(tmp_path, LabelAccuracy()).fit(model, Classes())
    assert model.images_seen == 0


def test_data_without_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="needs data with classes"):
        trainer(tmp_path, LabelAccuracy()).test(Knows(), TinyData(), verbose=False)


def test_a_traversal_is_drawn_with_a_row_for_each_latent(tmp_path):
    player = trainer(tmp_path, CodeTraversal(rows=3, columns=4))
    player.test(Reads(), Classes(), verbose=False)
    picture = np.asarray(Image.open(tmp_path / "samples" / "traversal-continuous0-latest.png"))
    side = 64 + 2
    assert picture.shape == (3 * side + 2, 4 * side + 2, 3)
    tiles = [
        [picture[2 + r * side :, 2 + c * side :][:64, :64] for c in range(4)] for r in range(3)
    ]
    for row in tiles:
        first = row[0]
        for other in row[1:]:
            moved = (first != other).any(2)
            assert moved[:8, 40:48].all()  # the sixth pixel, which is 8 wide
            moved[:8, 40:48] = False
            assert not moved.any()
    assert not np.array_equal(tiles[0][0], tiles[1][0])


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"columns": 1}])
def test_sizes_that_draw_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="rows must be at least 1 and columns 2"):
        CodeTraversal(**wrong)
