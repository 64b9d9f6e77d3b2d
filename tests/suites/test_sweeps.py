"""Sweeps: trials that are cut short go on, those that lose their numbers are pruned, grids end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from lightning_gen.cli import main
from lightning_gen.suites.sweep import read_sweep, wandb_sweep

optuna = pytest.importorskip("optuna")
ROOT = Path(__file__).parents[2]
RATE = "model.generator_optimizer.init_args.lr"
SCORE = "fid/seeded@50"


def sweep_of(folder, **more):
    distance = {
        "class_path": "FID",
        "init_args": {"n": 50, "extractor": "seeded", "every_n_steps": 4},
    }
    content = {
        "config": str(ROOT / "configs" / "digits" / "gan.yaml"),
        "score": SCORE,
        "trials": 2,
        "sampler": "random",
        "prune": "none",
        "overrides": {
            "trainer.max_steps": 8,
            "trainer.accelerator": "cpu",
            "trainer.callbacks": [distance],
        },
        "space": {RATE: {"low": 1e-5, "high": 1e-3, "log": True}},
        **more,
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def study_in(folder):
    return optuna.load_study(study_name="tiny", storage=f"sqlite:///{folder}/sweeps/tiny/study.db")


def sweep(folder):
    return main(["sweep", str(folder / "tiny.yaml"), f"--output={folder / 'sweeps'}"])


@pytest.mark.slow
def test_a_grid_is_tried_to_its_end_and_once(tmp_path, capfd):
    sweep_of(
        tmp_path, sampler="grid", trials=9, space={RATE: [1e-4, 1e-3], "data.batch_size": [32, 64]}
    )
    assert sweep(tmp_path) == 0
    trials = study_in(tmp_path).get_trials()
    tried = {tuple(trial.params.values()) for trial in trials}
    assert len(trials) == len(tried) == 4
    said = capfd.readouterr().out
    best = study_in(tmp_path).best_trial
    assert f"best         {SCORE} {best.value:.4f}: {tmp_path}/sweeps/tiny/000{best.number}" in said
    assert sweep(tmp_path) == 0
    assert len(study_in(tmp_path).get_trials()) == 4


@pytest.mark.slow
def test_a_trial_that_loses_its_numbers_is_pruned(tmp_path, capfd):
    sweep_of(
        tmp_path,
        sampler="grid",
        space={"model.discriminator_optimizer.init_args.lr": [1e-3, 1e30]},
        overrides={
            "trainer.max_steps": 60,
            "trainer.accelerator": "cpu",
            "trainer.log_every_n_steps": 5,
            "trainer.callbacks": [
                {"class_path": "FID", "init_args": {"n": 50, "extractor": "seeded"}}
            ],
        },
    )
    assert sweep(tmp_path) == 0
    states = {
        trial.params.popitem()[1]: trial.state.name for trial in study_in(tmp_path).get_trials()
    }
    assert states == {1e-3: "COMPLETE", 1e30: "PRUNED"}
    assert "is not finite" in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_sweep_that_is_stopped_goes_on_with_its_trial(number, tmp_path):
    longer = {"trainer.max_steps": 600, "trainer.accelerator": "cpu", "checkpoint_every": 20}
    distance = {"class_path": "FID", "init_args": {"n": 50, "extractor": "seeded"}}
    longer["trainer.callbacks"] = [distance]
    sweep_of(tmp_path, trials=1, overrides=longer)
    command = [sys.executable, str(ROOT / "run.py"), "sweep", str(tmp_path / "tiny.yaml")]
    command.append(f"--output={tmp_path / 'sweeps'}")
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    end = time.monotonic() + 120
    while not list(tmp_path.glob("sweeps/tiny/0000/checkpoints/*")) and time.monotonic() < end:
        time.sleep(0.05)
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait(60) == (143 if number == signal.SIGTERM else -9)
    (trial,) = study_in(tmp_path).get_trials()
    assert trial.state.name == "RUNNING"

    assert sweep(tmp_path) == 0
    other = tmp_path / "other"
    other.mkdir()
    sweep_of(other, trials=1, overrides=longer)
    assert sweep(other) == 0
    (after,), (whole,) = study_in(tmp_path).get_trials(), study_in(other).get_trials()
    assert (after.params, after.value) == (trial.params, whole.value)


@pytest.mark.slow
def test_a_longer_sweep_tries_other_settings(tmp_path):
    sweep_of(tmp_path, trials=2)
    assert sweep(tmp_path) == 0
    sweep_of(tmp_path, trials=4)
    assert sweep(tmp_path) == 0
    rates = [trial.params[RATE] for trial in study_in(tmp_path).get_trials()]
    assert len(set(rates)) == 4


@pytest.mark.slow
def test_a_score_that_nobody_makes_ends_a_sweep(tmp_path, capfd):
    sweep_of(tmp_path, score="fid/seeded@77")
    assert sweep(tmp_path) == 2
    said = capfd.readouterr().err
    assert f"it gives no fid/seeded@77, but {SCORE}" in said
    sweep_of(tmp_path)
    assert sweep(tmp_path) == 2
    assert "holds a sweep of another config, score, space" in capfd.readouterr().err


@pytest.mark.slow
def test_a_sweep_in_which_all_is_lost_says_so(tmp_path, capfd):
    rate = {"model.discriminator_optimizer.init_args.lr": [1e30]}
    looks = {"class_path": "FID", "init_args": {"n": 50, "extractor": "seeded"}}
    settings = {
        "trainer.max_steps": 60,
        "trainer.accelerator": "cpu",
        "trainer.log_every_n_steps": 5,
    }
    settings["trainer.callbacks"] = [looks]
    sweep_of(tmp_path, sampler="grid", space=rate, overrides=settings)
    assert sweep(tmp_path) == 0
    assert "best         none, as no trial came to its end" in capfd.readouterr().out


def test_a_point_of_a_grid_that_failed_is_tried_again(tmp_path):
    from lightning_gen.suites.sweep import study_of

    grid = read_sweep(sweep_of(tmp_path, sampler="grid", space={RATE: [1e-4, 1e-3]}))
    study = study_of(grid, tmp_path / "study")
    first = study.ask()
    first.suggest_categorical(RATE, [1e-4, 1e-3])
    study.tell(first, state=optuna.trial.TrialState.FAIL)
    again = study_of(grid, tmp_path / "study")
    waiting = again.get_trials(states=[optuna.trial.TrialState.WAITING])
    points = [trial.system_attrs["fixed_params"][RATE] for trial in waiting]
    assert sorted(points) == [1e-4, 1e-3]


def test_a_damaged_study_is_said(tmp_path, capsys):
    sweep_of(tmp_path)
    (tmp_path / "sweeps" / "tiny").mkdir(parents=True)
    (tmp_path / "sweeps" / "tiny" / "study.db").write_text("no database" * 500)
    assert sweep(tmp_path) == 2
    assert "study.db cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "sweeps").glob("*.yaml")))
def test_sweeps_of_the_repository_can_be_read(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert read_sweep(path).trials > 1


def test_wandb_takes_the_same_sweep(tmp_path):
    made = wandb_sweep(read_sweep(sweep_of(tmp_path, sampler="tpe")))
    assert made["method"] == "bayes"
    assert made["metric"] == {"name": SCORE, "goal": "minimize"}
    assert made["parameters"][RATE] == {
        "distribution": "log_uniform_values",
        "min": 1e-5,
        "max": 1e-3,
    }
    assert made["parameters"]["trainer.max_steps"] == {"value": 8}
    assert made["parameters"]["seed_everything"] == {"value": 0}
    assert made["command"][:4] == ["${env}", "${interpreter}", "${program}", "fit"]
    target = tmp_path / "wandb.yaml"
    assert main(["sweep", str(tmp_path / "tiny.yaml"), f"--wandb={target}"]) == 0
    assert yaml.safe_load(target.read_text())["parameters"] == made["parameters"]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"space": {RATE: 3}}, "should be a list, or low and high"),
        ({"space": {RATE: {"low": 0, "high": 1, "log": True}}}, "log: true above 0"),
        ({"space": {RATE: {"low": 2, "high": 1}}}, "should be a list"),
        ({"sampler": "grid"}, "a grid has lists only"),
        ({"sampler": "best"}, "one of tpe, random, grid"),
        ({"prune": "all"}, "one of median, none"),
        ({"config": "nowhere.yaml"}, "needs a config that is there"),
        ({"trials": 0}, "trials of at least 1"),
        ({"trials": [1]}, "trials of at least 1"),
        ({"space": 3}, "lacks space"),
        ({"config": None}, "lacks config"),
        ({"overrides": [1]}, "overrides by name"),
        ({"score": "train/loss"}, "not known which way is better"),
    ],
)
def test_a_sweep_with_a_mistake_is_refused_in_one_sentence(changed, says, tmp_path, capsys):
    sweep_of(tmp_path, **changed)
    assert sweep(tmp_path) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
