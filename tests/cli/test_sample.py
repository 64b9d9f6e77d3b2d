"""`run.py sample`: of which classes, and at what temperature."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from callbacks.images import grid, with_masks
from callbacks.sampling import attributes_for
from lightning_gen.cli import main, sampling
from lightning_gen.cli.checkpoints import load_model
from lightning_gen.metrics import PlacedNoise
from lightning_gen.models.autoencoders import VAE, LayeredCVAE
from lightning_gen.networks.conditional import AttributeDecoder, AttributeEncoder
from tests.callbacks.test_attribute_grid import OF_IMAGES, Pairs, rows_of

ROOT = Path(__file__).parents[2]
SMALL = ("--data.size=8", "--model.shape=[1,8,8]", "--trainer.max_steps=2")
WIDTHS = {"width": 4, "depth": 1, "first_kernel": 3, "head": 4}
QUIET = ("--trackers=[]", "--trainer.accelerator=cpu", "--trainer.callbacks=[]")


def fitted(folder, config, *arguments):
    path = str(ROOT / "configs" / "digits" / config)
    assert main(["fit", "--config", path, f"--run_dir={folder}", *arguments, *QUIET]) == 0
    return folder / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    """A checkpoint that is conditioned on the ten digits."""
    sizes = [f"--model.network.init_args.{name}={size}" for name, size in WIDTHS.items()]
    folder = tmp_path_factory.mktemp("pixels")
    checkpoint = fitted(folder, "gated_pixelcnn.yaml", *SMALL, *sizes)
    content = torch.load(checkpoint, weights_only=True)
    for name, weight in content["state_dict"].items():
        if "shift" in name:  # begins at zero, where classes are all alike
            weight.normal_(std=5)
    torch.save(content, checkpoint)
    return checkpoint


@pytest.fixture(scope="module")
def gan(tmp_path_factory):
    """A checkpoint without classes or temperature."""
    sizes = ["--model.generator.init_args.width=2", "--model.discriminator.init_args.width=2"]
    folder = tmp_path_factory.mktemp("gan")
    return fitted(folder, "dcgan.yaml", "--trainer.max_steps=2", *sizes)


def drawn(checkpoint, output, *arguments):
    command = ["sample", f"--checkpoint={checkpoint}", f"--output={output}", "--count=4"]
    assert main([*command, *arguments]) == 0
    return np.asarray(Image.open(output))


@pytest.mark.parametrize(
    ("arguments", "labels", "options"),
    [
        ((), [0, 1, 2, 3], {}),
        (("--labels=[3,7]", "--batch_size=3"), [3, 7, 3, 7], {}),
        (("--labels=[5]", "--temperature=0.3"), [5, 5, 5, 5], {"temperature": 0.3}),
    ],
)
def test_samples_are_of_the_classes_in_turn_at_the_temperature(
    pixels, tmp_path, arguments, labels, options
):
    noise = PlacedNoise((0, "sample"), torch.arange(4))
    expected = load_model(pixels).sample(4, torch.tensor(labels), noise, **options)
    picture = drawn(pixels, tmp_path / "a.png", *arguments)
    assert np.array_equal(picture, grid(expected, 2))


def test_a_bar_moves_with_the_pixels_of_each_batch(pixels, tmp_path, monkeypatch):
    bars = []

    def bar(steps, desc, **kwargs):
        bars.append((desc, len(steps)))
        return steps

    monkeypatch.setattr(sampling, "tqdm", bar)
    drawn(pixels, tmp_path / "a.png", "--batch_size=3")
    assert bars == [("sampling", 2), ("drawing", 64), ("drawing", 64)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--labels=[3,10]"], "labels must be classes from 0 to 9, got [3, 10]"),
        (["--labels=[]"], "labels must be classes from 0 to 9, got []"),
        (["--temperature=0"], "temperature must be positive, got 0.0"),
        (["--labels=seven"], "see `run.py sample --help`"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_sentence(pixels, tmp_path, capsys, arguments, words):
    output = tmp_path / "new" / "a.png"
    command = ["sample", f"--checkpoint={pixels}", f"--output={output}", *arguments]
    assert main(command) == 2
    assert words in capsys.readouterr().err
    assert not output.parent.exists()


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--labels=[3]", "GAN was given no classes; leave --labels out"),
        ("--temperature=0.5", "GAN knows no temperature; leave --temperature out"),
    ],
)
def test_a_model_that_cannot_says_so(gan, tmp_path, capsys, argument, words):
    command = ["sample", f"--checkpoint={gan}", f"--output={tmp_path / 'a.png'}", argument]
    assert main(command) == 2
    assert words in capsys.readouterr().err


# Models of attributes


def attributed(monkeypatch, folder, model, data):
    """A run of a model of attributes on data, as `run.py sample` finds it."""
    (folder / "checkpoints").mkdir()
    (folder / "config.yaml").touch()
    monkeypatch.setattr(sampling, "load_model", lambda path: model)
    monkeypatch.setattr(sampling, "data_of", lambda config, name, root: data)
    return folder / "checkpoints" / "last.ckpt"


def networks(latent=2, known=3, encoded=3, outputs=2):
    sizes = {"widths": (4,), "hidden": 8}
    encoder = AttributeEncoder((3, 4, 4), latent, encoded, **sizes)
    return encoder, AttributeDecoder((3, 4, 4), latent, known, **sizes, outputs=outputs)


def test_samples_have_the_attributes_of_the_runs_training_images(tmp_path, monkeypatch):
    model, told = VAE(*networks(outputs=1)).eval(), []
    draw = model.sample
    monkeypatch.setattr(model, "sample", lambda n, y, noise: told.append(y) or draw(n, y, noise))
    checkpoint = attributed(monkeypatch, tmp_path, model, Pairs())
    picture = drawn(checkpoint, tmp_path / "a.png", "--count=20", "--batch_size=20")
    assert rows_of(told[0]) == OF_IMAGES
    assert np.array_equal(picture, drawn(checkpoint, tmp_path / "b.png", "--count=20"))
    drawn(checkpoint, tmp_path / "c.png", "--count=20", "--batch_size=7")
    assert torch.equal(torch.cat(told[2:]), told[0])


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--seed=0", "put the checkpoint back into the folder of its run"),
        ("--labels=[1]", "not one"),
    ],
)
def test_no_attributes_are_made_up(tmp_path, monkeypatch, capsys, argument, words):
    checkpoint = attributed(monkeypatch, tmp_path, VAE(*networks(outputs=1)), Pairs())
    if argument == "--seed=0":
        (tmp_path / "config.yaml").unlink()
    command = ["sample", f"--checkpoint={checkpoint}", f"--output={tmp_path / 'a.png'}", argument]
    assert main(command) == 2
    assert words in capsys.readouterr().err


def test_networks_of_attributes_that_were_trained_on_classes_are_told_those(tmp_path, monkeypatch):
    class Classes(Pairs):
        num_classes, num_attributes = 3, None

    checkpoint = attributed(monkeypatch, tmp_path, VAE(*networks(outputs=1)).eval(), Classes())
    assert (
        drawn(checkpoint, tmp_path / "a.png").shape
        == drawn(checkpoint, tmp_path / "b.png", "--labels=[1]").shape
    )


def test_a_layered_model_shows_its_background(tmp_path, monkeypatch):
    (front, front_decoder), (back, back_decoder) = networks(), networks(encoded=5, outputs=1)
    model = LayeredCVAE(front, back, front_decoder, back_decoder).eval()
    picture = drawn(attributed(monkeypatch, tmp_path, model, Pairs()), tmp_path / "a.png")
    noise = PlacedNoise((0, "sample"), torch.arange(4))
    images = model.sample(4, attributes_for(model, Pairs(), noise), noise)
    assert np.array_equal(picture, grid(with_masks(images, 2), 2))
