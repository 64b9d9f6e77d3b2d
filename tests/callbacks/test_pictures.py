import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import LightningModule

from callbacks import Interpolation, Reconstructions, SampleGrid
from callbacks.images import grid, save_grid, with_masks
from callbacks.interpolation import spherical
from lightning_gen.levels import from_levels, to_levels
from lightning_gen.randomness import Noise
from tests.callbacks.parts import TinyAutoencoder, TinyData, TinyModel, trainer


def read(path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_grid_is_exact_to_the_pixel(tmp_path):
    images = torch.randint(256, (3, 3, 5, 4), dtype=torch.uint8)
    save_grid(images, tmp_path / "grid.png", columns=2)
    expected = np.full((2 + 2 * (5 * 12 + 2), 2 + 2 * (4 * 12 + 2), 3), 255, np.uint8)
    for k, (row, column) in enumerate([(0, 0), (0, 1), (1, 0)]):
        image = images[k].permute(1, 2, 0).numpy().repeat(12, 0).repeat(12, 1)  # 64 // 5 = 12
        top, left = 2 + row * 62, 2 + column * 50
        expected[top : top + 60, left : left + 48] = image
    assert np.array_equal(read(tmp_path / "grid.png"), expected)


def test_grey_floats_are_the_levels_that_they_stand_for():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    drawn = grid(from_levels(levels), 1, scale=1)
    assert np.array_equal(drawn[2:-2, 2:-2], np.repeat(levels[0].permute(1, 2, 0).numpy(), 3, 2))


def test_large_images_keep_their_size_and_odd_channels_are_refused():
    assert grid(torch.zeros(2, 3, 100, 80), 2).shape == (104, 2 + 2 * 82, 3)
    with pytest.raises(ValueError, match="1 to 4 channels, got 5"):
        grid(torch.zeros(1, 5, 8, 8), 1)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_images_with_alpha_are_laid_on_white(mode):
    channels = len(mode)
    images = torch.randint(256, (1, channels, 16, 16), dtype=torch.uint8)
    images[0, -1, :4], images[0, -1, 4:8] = 0, 255
    drawn = grid(images, 1, scale=1)[2:-2, 2:-2]
    given = Image.fromarray(images[0].permute(1, 2, 0).numpy(), mode).convert("RGBA")
    white = Image.new("RGBA", given.size, "white")
    expected = np.asarray(Image.alpha_composite(white, given).convert("RGB"))
    assert np.abs(drawn.astype(int) - expected).max() <= 1  # Pillow rounds a little otherwise
    assert (drawn[:4] == 255).all()
    opaque = images[0, :-1, 4:8].expand(3, -1, -1).permute(1, 2, 0).numpy()
    assert np.array_equal(drawn[4:8], opaque)
    assert np.array_equal(grid(from_levels(images), 1, scale=1)[2:-2, 2:-2], drawn)


def test_a_picture_is_of_the_kind_that_its_name_says(tmp_path):
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    for name, kind in (("a.png", "PNG"), ("a.JPG", "JPEG"), ("a.jpeg", "JPEG")):
        save_grid(images, tmp_path / name)
        assert Image.open(tmp_path / name).format == kind
    with pytest.raises(ValueError, match=r"ends in .png, .jpg, .jpeg, got a.txt"):
        save_grid(images, tmp_path / "a.txt")


def test_images_with_masks_are_shown_whole_and_then_on_white(tmp_path):
    images = torch.randint(255, (5, 4, 5, 5), dtype=torch.uint8)
    cells = with_masks(images, 3).unflatten(0, (2, 2, 3))
    whole, cut = cells[:, 0].flatten(0, 1), cells[:, 1].flatten(0, 1)
    assert torch.equal(cut[:5], images)
    assert torch.equal(whole[:5, :3], images[:, :3])
    assert (whole[:, 3] == 255).all()
    assert (cells[1, :, 2] == 255).all()  # nothing is left to show
    floats = from_levels(images)
    assert torch.equal(with_masks(floats, 3), with_masks(images, 3))
    save_grid(floats, tmp_path / "a.png", columns=3, masks=True)
    assert np.array_equal(read(tmp_path / "a.png"), grid(with_masks(images, 3), 3))


def test_samples_come_from_the_same_latents_at_the_start_and_at_each_validation(tmp_path):
    model = TinyModel()
    trainer(tmp_path, SampleGrid(rows=2, columns=3)).fit(model, TinyData())
    folder = tmp_path / "samples"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["00000000.png", "00000004.png", "00000008.png", "latest.png"]
    noise = Noise(("grid",), 6).normal(1, 8, 8)
    for file, weight in (("00000000.png", 0.0), ("00000004.png", -4.0), ("latest.png", -8.0)):
        assert np.array_equal(read(folder / file), grid(torch.tanh(noise + weight), 3))


def test_a_conditional_model_has_a_row_for_each_class(tmp_path):
    trainer(tmp_path, SampleGrid(columns=4)).test(
        TinyModel(num_classes=3), TinyData(), verbose=False
    )
    levels = torch.arange(3, dtype=torch.uint8).repeat_interleave(4).view(-1, 1, 1, 1)
    assert np.array_equal(
        read(tmp_path / "samples" / "latest.png"), grid(levels.expand(-1, 1, 8, 8), 4)
    )


def test_originals_stand_above_their_reconstructions(tmp_path):
    data = TinyData()
    run = trainer(tmp_path, Reconstructions(count=8, columns=4))
    run.validate(TinyAutoencoder(), data, verbose=False)
    originals = data.images["val"][:8]
    darker = to_levels(from_levels(originals) - 2 / 255)
    rows = torch.cat([originals[:4], darker[:4], originals[4:], darker[4:]])
    assert np.array_equal(read(tmp_path / "samples" / "reconstructions-latest.png"), grid(rows, 4))


def test_codes_of_a_conditional_model_are_those_of_the_images_own_classes(tmp_path):
    class Shifted(TinyAutoencoder):
        """Codes are pixels that are darker by the class, which the decoder makes up for."""

        def encode(self, x, labels):
            return super().encode(x) - labels[:, None]

        def decode(self, z, labels):
            return super().decode(z + labels[:, None])

    data = TinyData()
    run = trainer(tmp_path, Reconstructions(count=8, columns=8))
    run.validate(Shifted(num_classes=3), data, verbose=False)
    originals = data.images["val"][:8]
    rows = torch.cat([originals, to_levels(from_levels(originals) - 2 / 255)])
    assert np.array_equal(read(tmp_path / "samples" / "reconstructions-latest.png"), grid(rows, 8))


def test_without_held_out_images_nothing_is_reconstructed(tmp_path):
    trainer(tmp_path, Reconstructions(split="val")).fit(TinyAutoencoder(), TinyData(val=0))
    assert not (tmp_path / "samples").exists()


def test_interpolations_begin_and_end_at_latents(tmp_path):
    trainer(tmp_path, Interpolation(rows=2, columns=5)).test(
        TinyAutoencoder(), TinyData(), verbose=False
    )
    drawn = read(tmp_path / "samples" / "interpolation-latest.png")
    ends = Noise(("interpolation",), 4).normal(64).view(-1, 1, 8, 8) - 2 / 255
    cells = grid(ends[[0, 2, 1, 3]], 2)  # rows of first and last
    width = 64 + 2
    assert np.array_equal(drawn[:, : width + 2], cells[:, : width + 2])
    assert np.array_equal(drawn[:, -width:], cells[:, -width:])


def test_the_spherical_way_has_constant_speed_on_the_sphere():
    start, end = torch.eye(3)[:1].double() * 2, torch.eye(3)[1:2].double() * 2
    points = torch.cat([spherical(start, end, w) for w in torch.linspace(0, 1, 7).double()])
    torch.testing.assert_close(points.norm(dim=1), torch.full((7,), 2.0).double())
    steps = (points[1:] - points[:-1]).norm(dim=1)
    torch.testing.assert_close(steps, steps[:1].expand(6))
    torch.testing.assert_close(spherical(start, start, torch.tensor(0.3).double()), start)


def test_a_model_that_cannot_is_left_alone(tmp_path):
    class Mute(TinyModel):
        sample = property()

    model = Mute()
    assert isinstance(model, LightningModule)
    trainer(tmp_path, Interpolation(), Reconstructions()).test(
        TinyModel(), TinyData(), verbose=False
    )
    assert not (tmp_path / "samples").exists()


def test_loggers_that_take_pictures_get_them(tmp_path):
    from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

    class Pictures(CSVLogger):
        def log_image(self, key, images, step):
            given.append((key, images[0].size, step))

    given = []
    board = TensorBoardLogger(tmp_path, name="", version="board")
    loggers = [Pictures(tmp_path, name="", version=""), board]
    run = trainer(tmp_path, SampleGrid(2, 3), logger=loggers, max_epochs=1)
    run.fit(TinyModel(), TinyData())
    assert [(key, step) for key, _, step in given] == [("samples", 0), ("samples", 4)]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "board")).Reload()
    assert [event.step for event in events.Images("samples")] == [0, 4]
