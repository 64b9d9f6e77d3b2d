"""`run.py evaluate`: all scores of a checkpoint by one command."""

import json
from pathlib import Path

import pytest
import torch
from pytorch_lightning.strategies import SingleDeviceStrategy

from lightning_gen.cli import evaluation, main

ROOT = Path(__file__).parents[2]
SAMPLES = {"fid", "fid_inf", "kid", "is", "is_all", "precision", "recall", "density", "coverage"}


def fit(folder: Path, config: str, *options: str) -> Path:
    arguments = ["fit", "--config", str(ROOT / "configs" / config), f"--run_dir={folder}"]
    few = ["--trainer.max_steps=4", "--trainer.accelerator=cpu", "--trackers=[csv]"]
    assert main([*arguments, *few, *options]) == 0
    return folder / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def gan(tmp_path_factory) -> Path:
    small = ["--model.generator.init_args.width=8", "--model.discriminator.init_args.width=8"]
    return fit(tmp_path_factory.mktemp("runs") / "gan", "digits/dcgan.yaml", *small)


@pytest.fixture(scope="module")
def vae(tmp_path_factory) -> Path:
    images = ["--data=tests.fake.FakeImages", "--data.init_args.binary=true"]
    return fit(
        tmp_path_factory.mktemp("runs") / "vae",
        "mnist/vae.yaml",
        *images,
        "--data.init_args.batch_size=4",
        "--allow-any-class",
    )


def scores(checkpoint: Path) -> dict:
    return json.loads((checkpoint.parents[1] / "result.json").read_text())["scores"]


def names(checkpoint: Path) -> set[str]:
    return {key.partition("/")[0] for key in scores(checkpoint)}


def test_by_default_a_sampler_gets_all_scores_of_samples(gan, capsys):
    assert main(["evaluate", f"--checkpoint={gan}", "--count=300"]) == 0
    assert names(gan) == {*SAMPLES, "sampling"}
    printed = capsys.readouterr().out
    assert "bpd          n/a: GAN has no likelihood" in printed
    assert "iw           n/a: GAN has no likelihood" in printed
    content = json.loads((gan.parents[1] / "result.json").read_text())
    said = content["evaluation"]
    assert said["checkpoint"] == "last.ckpt"
    assert said["parameters"] == content["budget"]["parameters"]
    assert said["images_seen"] == content["budget"]["images_seen"]
    assert said["seconds"] > 0
    for key in ("fid/digits@300", "fid_inf/digits@300"):
        low, high = scores(gan)[key]["interval_95"]
        assert low < scores(gan)[key]["value"] < high


def test_all_scores_of_samples_take_the_settings_of_the_run(gan):
    assert main(["evaluate", f"--checkpoint={gan}", "--count=280", "--metrics=pr, kid"]) == 0
    for key in ("precision/digits@280", "kid/digits@280"):
        assert ":digits-train-1297:" in scores(gan)[key]["protocol"]
    assert "fid/digits@280" not in scores(gan)


def test_importance_samples_of_an_earlier_evaluation_are_not_drawn_again(vae, monkeypatch):
    from lightning_gen.models.autoencoders.vae import VAE

    drawn: list[int] = []
    before = VAE.importance_nll

    def counting(self, x, k, *args, **kwargs):
        drawn.append(k * len(x))
        return before(self, x, k, *args, **kwargs)

    monkeypatch.setattr(VAE, "importance_nll", counting)
    arguments = ["evaluate", f"--checkpoint={vae}", "--metrics=iw", "--allow-any-class"]
    assert main([*arguments, "--importance=250"]) == 0
    assert main([*arguments, "--importance=500"]) == 0
    assert sum(drawn) == 500 * 16
    (path,) = (vae.parents[1] / "importance").iterdir()
    both = scores(vae)["nll/iw500"]
    path.unlink()
    assert main([*arguments, "--importance=500"]) == 0
    assert scores(vae)["nll/iw500"] == both


def test_a_model_with_a_likelihood_gets_everything(vae):
    arguments = ["evaluate", f"--checkpoint={vae}", "--count=20", "--importance=3"]
    assert main([*arguments, "--allow-any-class"]) == 0
    assert {"bpd/bound", "nll/bound", "nll/iw3", "bpd/iw3"} <= set(scores(vae))
    assert {"fid", "kid", "precision", "coverage", "sampling"} <= names(vae)


def test_estimates_are_as_long_as_those_of_the_run(tmp_path):
    """Shorter ones would be better numbers of the same model."""
    config = tmp_path / "config.yaml"
    callback = (
        "{class_path: callbacks.AnnealedLikelihood, init_args: {chains: 7, temperatures: 11}}"
    )
    config.write_text(f"trainer:\n  callbacks:\n    - {callback}\n")
    for path, chosen in ((config, (7, 11)), (tmp_path / "none.yaml", (100, 1000))):
        (found,) = evaluation.scorers(["ais"], path, 250, False, {})
        assert (found.chains, found.temperatures) == chosen


def test_samples_of_a_model_of_binary_images_may_be_compared_with_grey_ones(vae, capsys):
    """As those of a GAN on the same images are; its likelihood is of binary images alone."""
    arguments = ["evaluate", f"--checkpoint={vae}", "--data=digits", "--count=100"]
    assert main([*arguments, "--metrics=fid"]) == 0
    assert ":digits-test-300:" in scores(vae)["fid/digits@100"]["protocol"]
    assert main([*arguments, "--metrics=fid,bpd"]) == 2
    assert "needs binary images but the data has grays" in capsys.readouterr().err


def test_the_device_is_that_of_the_scores_and_not_where_the_model_ends(gan, monkeypatch):
    ran = evaluation.run

    def on_another(*args):
        trainer = ran(*args)
        trainer.strategy._root_device = torch.device("meta")  # while the model is on the CPU
        return trainer

    monkeypatch.setattr(evaluation, "run", on_another)
    monkeypatch.setattr(SingleDeviceStrategy, "root_device", property(lambda s: s._root_device))
    assert main(["evaluate", f"--checkpoint={gan}", "--count=20", "--metrics=kid"]) == 0
    content = json.loads((gan.parents[1] / "result.json").read_text())
    assert content["evaluation"]["device"].startswith("meta-")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--metrics=prdc"], "did you mean"),
        (["--metrics=iw"], "GAN can have none of iw; it has fid, kid, is, pr, dc, speed"),
        (["--importance=0"], "importance must be at least 1 sample, got 0"),
    ],
)
def test_mistakes_are_said_in_a_sentence(gan, options, words, capsys):
    assert main(["evaluate", f"--checkpoint={gan}", *options]) == 2
    assert words in capsys.readouterr().err
