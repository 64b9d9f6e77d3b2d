"""A run that is killed and goes on ends as one that nothing happened to, bit for bit, for every model."""

import os
import signal
from pathlib import Path

import pytest

from lightning_gen.cli.catalogue import read_catalogue

from .runs import CONFIGS, OWN, config_of, differences, fit, folder_of_digits, rows, state

pytestmark = pytest.mark.slow
CASES = [(path, workers) for path in CONFIGS for workers in ((0, 2) if path in OWN else (0,))]
FORK = {
    "class_path": "pytorch_lightning.strategies.DDPStrategy",
    "init_args": {"start_method": "fork"},
}
ONE_OF_EACH_FAMILY = ("dcgan", "vae", "gated_pixelcnn", "nice", "gaussian")  # and a formula


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return folder_of_digits(tmp_path_factory.mktemp("digits"))


def test_every_model_of_the_catalogue_is_here():
    assert {Path(row["config"]).stem for row in read_catalogue()} <= {path.stem for path in CONFIGS}


@pytest.fixture(scope="module")
def whole_runs(digits, tmp_path_factory):
    """Gives the run of a config that nothing happens to, made when first asked for."""
    folder, made = tmp_path_factory.mktemp("whole"), {}

    def of(source):
        if source.stem not in made:
            config = config_of(source, digits, folder / f"{source.stem}.yaml")
            assert fit(config, folder / source.stem, "--trackers=[csv]") == 0
            made[source.stem] = folder / source.stem
        return made[source.stem]

    return of


def logs(run):
    return run.with_suffix(".log").read_text()[-2000:]


@pytest.mark.parametrize(("source", "workers"), CASES, ids=lambda v: getattr(v, "stem", v))
def test_a_killed_run_goes_on_bit_for_bit(source, workers, digits, whole_runs, tmp_path):
    config = config_of(source, digits, tmp_path / "config.yaml", workers)
    whole, arguments = whole_runs(source), ["--trackers=[csv]"]
    rounds = 1 if "wgan" in source.stem else 4  # one round of WGAN-GP is five batches
    for name, every, dies_at in (
        ("epoch", [], 10),
        ("middle", [f"--checkpoint_every={rounds}"], 6),
    ):
        run = tmp_path / name
        assert fit(config, run, *arguments, *every, die_at=dies_at) == -signal.SIGKILL, logs(run)
        assert fit(config, run, *arguments, "--ckpt_path=last") == 0, logs(run)
        assert differences(state(whole), state(run)) == []
        assert rows(whole) == rows(run)


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_two_killed_processes_go_on_bit_for_bit(name, digits, tmp_path):
    source = next(path for path in CONFIGS if path.stem == name)
    config = config_of(source, digits, tmp_path / "config.yaml", devices=2, strategy=FORK)
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert fit(config, whole, "--trackers=[csv]") == 0, logs(whole)
    for die_at, every, go_on in ((6, "4", []), (10, "20", ["--ckpt_path=last"])):
        code = fit(
            config, run, "--trackers=[csv]", f"--checkpoint_every={every}", *go_on, die_at=die_at
        )
        assert code != 0, logs(run)
    assert fit(config, run, "--trackers=[csv]", "--ckpt_path=last") == 0, logs(run)
    assert differences(state(whole), state(run)) == []
    assert rows(whole) == rows(run)
    assert os.path.exists(run / "result.json")


@pytest.mark.parametrize(
    "first", [["--trainer.max_epochs=1"], ["--trainer.max_steps=4"], ["a callback"]], ids=str
)
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_a_finished_run_goes_on_for_longer_bit_for_bit(name, first, digits, whole_runs, tmp_path):
    source = next(path for path in CONFIGS if path.stem == name)
    config = config_of(source, digits, tmp_path / "config.yaml")
    whole, run = whole_runs(source), tmp_path / "run"
    more = {"dies": stopping_early} if first == ["a callback"] else {}
    arguments = [each for each in first if each.startswith("--")]
    assert fit(config, run, "--trackers=[csv]", *arguments, **more) == 0, logs(run)
    assert fit(config, run, "--trackers=[csv]", "--ckpt_path=last") == 0, logs(run)
    assert differences(state(whole), state(run)) == []
    assert rows(whole) == rows(run)


def stopping_early():
    """As callbacks do that stop a run by its time or its scores."""
    from callbacks import NaNGuard

    def stop(self, trainer, model, *_):
        trainer.should_stop = trainer.global_step == 4

    NaNGuard.on_train_batch_end = stop
