"""Every config builds its model, trains, writes a checkpoint that samples, and scores itself."""

from pathlib import Path

import pytest
import yaml

from lightning_gen.cli import main

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(p for p in (ROOT / "configs").rglob("*.yaml") if p.parent.name != "sweeps")
SHAPES = {
    "digits": (1, 28, 28),
    "mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "celeba64": (3, 64, 64),
    "coloured_digits": (3, 28, 28),
    "lsun64": (3, 64, 64),
    "folder64": (3, 64, 64),
    "stacked_mnist": (3, 28, 28),
    "ring": (2, 1, 1),
    "grid": (2, 1, 1),
    "swissroll": (2, 1, 1),
    "lines": (2, 1, 1),
}
TOYS = {"coloured_digits", "stacked_mnist", "ring", "grid", "swissroll", "lines"}  # not for all


def shape_of(path: Path) -> tuple[int, int, int]:
    """The shape of the images of a config."""
    channels, side, _ = SHAPES[path.parent.name]
    options = yaml.safe_load(path.read_text())["data"]["init_args"]
    side = options.get("size", side)
    return channels + options.get("masks", False), side, side


def shrunk(path: Path, target: Path) -> Path:
    """The config on fake images of the same shape, two at a time, without callbacks."""
    content = yaml.safe_load(path.read_text())
    data = content["data"]["class_path"].split(".")[-1]
    model = content["model"]["init_args"]
    few = 20 if "labelled" in model else 2  # images
    if "labelled" in model:
        model["labelled"] = few
    fake = {
        "shape": list(shape_of(path)),
        "binary": data == "BinarizedMNIST",
        "batch_size": 2,
        "count": few,
        "eval_batch_size": 2,
    }
    content["data"] = {"class_path": "tests.fake.FakeImages", "init_args": fake}
    kept = ("gradient_clip_val",)
    content["trainer"] = {key: content["trainer"][key] for key in kept if key in content["trainer"]}
    content["trainer"] |= {"accelerator": "cpu", "max_steps": 1, "max_epochs": -1}
    target.write_text(yaml.safe_dump(content))
    return target


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_config_trains_and_its_checkpoint_is_read_again(path, tmp_path, capfd):
    config = shrunk(path, tmp_path / "config.yaml")
    run = tmp_path / "run"
    options = [f"--config={config}", f"--run_dir={run}", "--trackers=[csv]"]
    code = main(["fit", *options, "--debug", "--allow-any-class"])  # which the random images need
    assert code == 0
    from lightning_gen.cli.checkpoints import load_model

    model = load_model(run / "checkpoints" / "last.ckpt")
    assert tuple(model.shape) == shape_of(path)
    assert model.images_seen >= 2


def test_every_config_says_what_it_reproduces():
    assert {p.parent.name for p in CONFIGS} == set(SHAPES)
    for path in CONFIGS:
        assert path.read_text().startswith("# "), f"{path} does not say what it is"


def test_the_critic_of_spectral_normalisation_sums_over_places():
    """As that paper's residual critic does; WGAN-GP's takes the mean."""
    for name, pool in (("sngan", "sum"), ("wgan_gp", "mean")):
        model = yaml.safe_load((ROOT / f"configs/cifar10/{name}.yaml").read_text())["model"]
        assert model["init_args"]["discriminator"]["init_args"].get("pool", "mean") == pool


def test_every_data_set_has_every_model():
    for name in SHAPES.keys() - {"folder64", *TOYS}:
        have = {p.stem for p in CONFIGS if p.parent.name == name}
        wanted = {"gan", "minimax", "dcgan", "lsgan", "wgan_gp", "vae", "gated_pixelcnn"}
        assert wanted <= have, f"configs/{name} lacks {wanted - have}"
