"""Mode coverage and pictures of points, in a run."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import Trainer
from torch import Tensor, nn

from callbacks import ModeCoverage, PointsPicture
from callbacks.codes import groups_of
from callbacks.points_picture import CELLS, contours, save_points, scatter, surface, window
from datamodules import Ring, SwissRoll
from lightning_gen.models.gans import InfoGAN, SemiSupervisedGAN
from lightning_gen.networks.mlp import MLPDiscriminator, MLPGenerator
from lightning_gen.randomness import Noise
from tests.callbacks.parts import TinyData, TinyModel, trainer
from tests.metrics.test_modes import unevenness


class RingModel(TinyModel):
    """Draws from the first six modes of the ring, the sixth of them rarely, one sample in ten anywhere."""

    shape = (2, 1, 1)

    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        data, u = Ring(), noise.uniform()
        mode = torch.where(u < 0.005, 5, noise.integers(5))
        x = data.centres[mode].float() + data.deviation * noise.normal(2)
        lost = torch.tensor([0.2, 0.2])
        return torch.where((u > 0.9)[:, None], lost, x).view(n, 2, 1, 1)


class Broken(RingModel):
    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        return super().sample(n, labels, noise) * math.nan


def scores_of(folder) -> dict:
    return json.loads((folder / "result.json").read_text())["scores"]


def fitted(folder, model, data, *callbacks, **kwargs):
    trainer(folder, *callbacks, max_steps=2, **kwargs).fit(model, data)
    return scores_of(folder) if (folder / "result.json").exists() else {}


def test_modes_are_counted_and_scores_say_how(tmp_path):
    data = Ring(train_size=64, batch_size=8)
    found = fitted(tmp_path, RingModel(), data, ModeCoverage(n=4000))
    made = f"3sigma:ring-test-8modes:{data.fingerprint('test')}"
    assert found["modes/3sigma@4000"]["value"] == 5  # the sixth has less than 1 %
    assert found["modes/3sigma@4000"]["protocol"] == f"modes@4000-{made}"
    assert found["quality/3sigma@4000"]["value"] == pytest.approx(0.9 * 0.98889, abs=0.015)
    assert found["quality/3sigma@4000"]["protocol"] == f"quality@4000-{made}"
    assert found["mode_kl/3sigma@4000"]["value"] == pytest.approx(math.log(8 / 5), abs=0.05)


@pytest.mark.parametrize("n", [4000, 777])
def test_the_number_of_processes_changes_no_number(tmp_path, n):
    runs = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        data = Ring(train_size=64, batch_size=8)
        runs.append(fitted(folder, RingModel(), data, ModeCoverage(n=n), processes=processes))
    values = [{key: score["value"] for key, score in run.items()} for run in runs]
    assert values[0] == values[1]
    assert len(values[0]) == 3


def test_samples_that_are_no_numbers_cover_nothing(tmp_path):
    found = fitted(tmp_path, Broken(), Ring(train_size=64, batch_size=8), ModeCoverage(n=500))
    assert found["modes/3sigma@500"]["value"] == 0
    assert found["quality/3sigma@500"]["value"] == 0
    assert found["mode_kl/3sigma@500"]["value"] is None


class ThreeDigits(TinyModel):
    """Images in which the classifier finds whatever it finds, three channels of 28 x 28."""

    shape = (3, 28, 28)

    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        return noise.uniform(3, 28, 28) * 2 - 1


class Stacks(TinyData):
    name, shape = "stacked_mnist", (3, 28, 28)


def test_digits_are_counted_by_the_classifier_over_all_channels(tmp_path):
    found = fitted(tmp_path, ThreeDigits(), Stacks(), ModeCoverage(n=300))
    assert set(found) == {"modes/digits@300", "mode_kl/digits@300"}
    assert 1 <= found["modes/digits@300"]["value"] <= 300
    assert "-test-1000modes:" in found["modes/digits@300"]["protocol"]
    assert 0 < found["mode_kl/digits@300"]["value"] <= math.log(1000)
    counts = torch.zeros(1000, dtype=torch.int64)
    counts[0] = 300
    assert found["mode_kl/digits@300"]["value"] <= unevenness(counts)


def test_data_without_modes_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="ModeCoverage needs data whose modes are known.*swissroll"
    ):
        fitted(tmp_path, RingModel(), SwissRoll(train_size=64, batch_size=8), ModeCoverage(n=10))
    with pytest.raises(ValueError, match="reach into the next mode; set sigmas below"):
        fitted(
            tmp_path, RingModel(), Ring(train_size=64, batch_size=8), ModeCoverage(10, sigmas=60)
        )
    for wrong in ({"n": 0}, {"sigmas": 0.0}, {"sigmas": math.nan}):
        with pytest.raises(ValueError, match="n must be at least 1 and sigmas positive"):
            ModeCoverage(**wrong)


class Judge(RingModel):
    """Judges points by how far to the right they are, which its discriminator does not know."""

    def __init__(self, axis: int = 0) -> None:
        super().__init__()
        self.axis, self.discriminator = axis, nn.Linear(1, 1)

    def to_batch(self, raw: tuple[Tensor, None]) -> SimpleNamespace:
        return SimpleNamespace(images=raw[0], labels=raw[1])

    def judge(self, images: Tensor, batch: SimpleNamespace) -> Tensor:
        assert batch.labels is None
        return images[:, self.axis, 0, 0]


def test_the_surface_is_what_the_model_judges_with_the_top_row_highest():
    assert surface(RingModel(), 0, 0, 1) is None
    model = Judge()
    with torch.no_grad():
        values = surface(model, left=-3.0, top=2.0, extent=6.0)
    assert values.shape == (CELLS, CELLS)
    assert values[7] == pytest.approx(-3 + (np.arange(CELLS) + 0.5) / CELLS * 6, abs=1e-5)
    model = Judge(axis=1)
    with torch.no_grad():
        values = surface(model, left=-3.0, top=2.0, extent=6.0)
    assert values[0, 0] > values[-1, 0]
    model.discriminator.num_classes = 8
    assert surface(model, 0, 0, 1) is None


class Seen(PointsPicture):
    """Compares the surface with the log-odds that the classifier's logits give."""

    def look(self, trainer: Trainer, model: SemiSupervisedGAN) -> None:
        super().look(trainer, model)
        values = surface(model, left=-1.0, top=1.0, extent=2.0)
        corner = torch.tensor([-1 + 1 / CELLS, 1 - 1 / CELLS]).view(1, 2, 1, 1)
        logits = model.classifier(model.discriminator.features(corner))
        assert values[0, 0] == pytest.approx(logits.logsumexp(1).item(), rel=1e-4)
        self.seen = True


def test_the_surface_of_a_semi_supervised_game_is_of_the_head_that_it_trains(tmp_path):
    torch.manual_seed(0)
    shape, look = (2, 1, 1), Seen(n=20)
    model = SemiSupervisedGAN(
        classes=8,
        labelled=80,
        generator=MLPGenerator(shape, 2, (8,), output="linear"),
        discriminator=MLPDiscriminator(shape, (8,)),
    )
    fitted(tmp_path, model, Ring(train_size=256, batch_size=8), look)
    assert look.seen


def test_groups_of_points_are_of_the_points_themselves():
    """Points are floats already, and no levels."""
    codes = InfoGAN(
        categorical=(8,),
        continuous=0,
        generator=MLPGenerator((2, 1, 1), 9, (8,), output="linear"),
        discriminator=MLPDiscriminator((2, 1, 1), (8,)),
    )
    points = torch.tensor([[1.0, 0.5], [-0.3, 2.0]]).view(2, 2, 1, 1)
    before = points.clone()
    with torch.no_grad():
        assert torch.equal(groups_of(codes, points), codes.read_codes(before)[0][0])
    assert torch.equal(points, before)


def test_contours_go_from_blue_to_orange():
    drawn = contours(np.linspace(0, 1, CELLS)[None].repeat(CELLS, 0).astype(np.float32), 240)
    assert drawn.shape == (240, 240, 3)
    assert drawn[120, 0, 2] > drawn[120, 0, 0]
    assert drawn[120, -1, 0] > drawn[120, -1, 2]
    flat = contours(np.ones((CELLS, CELLS), np.float32), 240)
    assert (flat == flat[0, 0]).all()


def test_points_are_drawn_where_they_lie():
    corners = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    left, top, extent = window(corners)
    assert (left, top, extent) == pytest.approx((-1.3, 1.3, 2.6))
    fake = torch.tensor([[1.0, -1.0], [math.nan, 0], [50.0, 0]])
    drawn = scatter(corners, fake).astype(int)
    side = drawn.shape[0]
    low, high = round(0.3 / 2.6 * side), round(2.3 / 2.6 * side)
    assert drawn[high, low, 2] > drawn[high, low, 0]  # blue at the lower left
    assert drawn[low, high, 2] > drawn[low, high, 0]
    assert drawn[high, high, 0] > drawn[high, high, 2]  # orange at the lower right
    assert (drawn[low, low] == 255).all()


def test_a_picture_is_written_with_the_samples(tmp_path):
    fitted(tmp_path, Judge(), Ring(train_size=64, batch_size=8), PointsPicture(n=50))
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == ["00000000.png", "00000002.png", "latest.png"]
    assert Image.open(tmp_path / "samples" / "latest.png").size == (480, 480)


def test_gradient_norms_stand_below_where_they_are_logged(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "images_seen,generator/gradient_norm,discriminator/gradient_norm,loss\n1,10,1,5\n2,1,0,5\n"
    )
    fitted(tmp_path, RingModel(), Ring(train_size=64, batch_size=8), PointsPicture(n=50))
    assert Image.open(tmp_path / "samples" / "latest.png").size == (480, 780)


def test_images_are_no_points(tmp_path):
    with pytest.raises(ValueError, match="PointsPicture draws points.*take SampleGrid"):
        fitted(tmp_path, TinyModel(), TinyData(), PointsPicture())
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        PointsPicture(n=0)


def test_samples_of_a_checkpoint_are_drawn_as_points(tmp_path):
    save_points(torch.tensor([[0.0, 0.0], [1.0, 1.0]]).view(2, 2, 1, 1), tmp_path / "points.png")
    drawn = np.asarray(Image.open(tmp_path / "points.png")).astype(int)
    low, high = round(0.15 / 1.3 * 480), round(1.15 / 1.3 * 480)
    assert drawn[high, low, 0] > drawn[high, low, 2]
    assert drawn[low, high, 0] > drawn[low, high, 2]
    assert (drawn[low, low] == 255).all()
    with pytest.raises(ValueError, match="the samples are no numbers"):
        save_points(torch.full((2, 2, 1, 1), math.nan), tmp_path / "points.png")
