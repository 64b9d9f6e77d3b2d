"""`run.py sample`: of which classes, and at what temperature."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from callbacks.images import grid
from lightning_gen.cli import main, sampling
from lightning_gen.cli.checkpoints import load_model
from lightning_gen.metrics import PlacedNoise

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
