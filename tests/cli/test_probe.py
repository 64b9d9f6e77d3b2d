"""`run.py probe`: what it writes, of which images, and what it refuses."""

import json
from pathlib import Path

import pytest
import torch

from datamodules import DATASETS, Digits
from lightning_gen.analysis import probe
from lightning_gen.cli import main
from lightning_gen.cli.probing import Probing, noted

ROOT = Path(__file__).parents[2]
QUIET = ("--trackers=[]", "--trainer.accelerator=cpu", "--trainer.callbacks=[]")
SMALL = ("--data=Digits", "--data.size=8", "--trainer.max_steps=20", "--data.batch_size=64")


def fitted(folder, config, *arguments):
    path = str(ROOT / "configs" / config)
    code = main(["fit", "--config", path, f"--run_dir={folder}", *arguments, *QUIET])
    assert code == 0
    return folder / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An autoencoder of digits in little detail."""
    networks = [
        f"--model.{net}.init_args.{name}={value}"
        for net in ("encoder", "decoder")
        for name, value in (("shape", "[1,8,8]"), ("widths", "[16]"), ("latent_size", 5))
    ]
    folder = tmp_path_factory.mktemp("run")
    return fitted(folder, "mnist/autoencoder.yaml", *SMALL, *networks)


class Found:
    """What `noted` asks of a probed checkpoint."""

    def __init__(self, folder, name="last.ckpt", seen=100):
        self.table, self.weights = folder / "probe.json", {"checkpoint": name, "images_seen": seen}


def test_only_accuracies_of_the_same_weights_are_kept(tmp_path):
    assert noted(Found(tmp_path)) == []
    rows = [{"protocol": "a", "mean": 0.5}]
    found = Found(tmp_path)
    found.table.write_text(json.dumps({**found.weights, "rows": rows}))
    assert noted(found) == rows
    assert noted(Found(tmp_path, "best.ckpt")) == noted(Found(tmp_path, seen=101)) == []
    for content in (
        "[]",
        "{",
        json.dumps(found.weights),
        json.dumps({**found.weights, "rows": [{}]}),
    ):
        found.table.write_text(content)
        with pytest.raises(ValueError, match="probe.json cannot be read; remove it"):
            noted(found)


@pytest.mark.slow
def test_codes_pixels_and_components_are_probed(checkpoint, capsys, monkeypatch):
    monkeypatch.setattr(probe, "STEPS", 50)
    options = ["--labels=20,50", "--mode=probe,finetune,scratch", "--subsets=2"]
    assert main(["probe", f"--checkpoint={checkpoint}", *options]) == 0
    folder = checkpoint.parent.parent
    table = json.loads((folder / "probe.json").read_text())["rows"]
    ways = [("probe", on) for on in ("code5", "pixels64", "pca5")]
    ways += [("finetune", "weights"), ("scratch", "weights")]
    assert [(row["labels"], row["mode"], row["on"]) for row in table] == [
        (count, *way) for count in (20, 50) for way in ways
    ]
    assert all(len(row["accuracies"]) == 2 and 0.1 < row["mean"] <= 1 for row in table)
    kept = json.loads((folder / "result.json").read_text())["scores"]
    budget = json.loads((folder / "result.json").read_text())["budget"]  # which suites go by
    assert kept["accuracy/probe@50"]["images_seen"] == budget["images_seen"] > 0
    protocol = kept["accuracy/probe@50"]["protocol"]
    assert protocol.startswith("accuracy@50:probe:code5:digits-train-1297:")
    assert ":digits-test-300:" in protocol and protocol.endswith("pretrained-without-labels")
    row = next(row for row in table if row["labels"] == 50)
    assert kept["accuracy/probe@50"]["value"] == row["mean"] and row["protocol"] == protocol
    assert {key.split("@")[0] for key in kept} >= {"accuracy/finetune", "accuracy/scratch"}
    assert capsys.readouterr().out.count("±") == len(table)
    again = json.loads((folder / "probe.json").read_text())
    assert main(["probe", f"--checkpoint={checkpoint}", *options]) == 0
    assert json.loads((folder / "probe.json").read_text()) == again  # nothing is left to chance
    assert main(["probe", f"--checkpoint={checkpoint}", "--labels=30,30", "--subsets=2"]) == 0
    rows = json.loads((folder / "probe.json").read_text())["rows"]  # beside what was there
    assert [row["labels"] for row in rows] == [row["labels"] for row in table] + [30] * 3


@pytest.mark.slow
def test_labelled_images_are_of_the_training_part_and_none_is_a_test_image(checkpoint):
    case = Probing(checkpoint, None, None)
    train = case.subset(100, 0)
    test = torch.cat([part.x for part in case.batches(case.test)])
    assert len(train.x.unique(dim=0)) == len(train.y) == 100
    apart = (train.x.flatten(1)[:, None] != test.flatten(1)[None]).any(-1)
    assert apart.all()
    trained_on = case.data.splits.train.pixels
    assert len(trained_on) == 1297 == len(case.train)


@pytest.mark.slow
def test_fresh_weights_are_those_of_their_seed_and_none_of_training(checkpoint):
    case = Probing(checkpoint, None, None)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, two, other = case.fresh(0), case.fresh(0), case.fresh(1)
    assert torch.equal(state, torch.get_rng_state())
    for name, weight in one.named_parameters():
        assert torch.equal(weight, two.get_parameter(name))
        assert not torch.equal(weight, other.get_parameter(name))
        assert not torch.equal(weight, case.model.get_parameter(name))


@pytest.mark.slow
def test_what_cannot_be_probed_is_said_in_a_sentence(checkpoint, tmp_path, capsys, monkeypatch):
    class Bare(Digits):
        num_classes = 0

    monkeypatch.setitem(DATASETS, "bare", Bare)
    gan = fitted(tmp_path, "digits/gan.yaml", "--trainer.max_steps=1")
    classes = [f"--model.{net}.init_args.num_classes=10" for net in ("encoder", "decoder")]
    told = fitted(tmp_path / "told", "digits/vae.yaml", "--trainer.max_steps=1", *classes)
    for options, sentence in (
        ([f"--checkpoint={gan}"], "GAN has no encoder that could be probed"),
        ([f"--checkpoint={told}"], "VAE finds codes given the label"),
        ([f"--checkpoint={checkpoint}", "--mode=tune"], "there is no mode tune"),
        ([f"--checkpoint={checkpoint}", "--labels=many"], "labels must be numbers"),
        ([f"--checkpoint={checkpoint}", "--labels=5"], "5 labels of 10 classes are asked for"),
        ([f"--checkpoint={checkpoint}", "--labels=9999"], "9999 labels of 10 classes"),
        ([f"--checkpoint={checkpoint}", "--subsets=0"], "subsets must be at least 1, got 0"),
        ([f"--checkpoint={checkpoint}", "--data=ring"], "there is no data set ring"),
        ([f"--checkpoint={checkpoint}", "--data=bare"], "no classes to probe for"),
        ([f"--checkpoint={checkpoint}", "--data=digits"], "of shape (1, 8, 8) but digits has"),
    ):
        assert main(["probe", *options]) == 2
        assert sentence in capsys.readouterr().err
