"""Going on where it is easy to get wrong: odd places, odd schedules, and runs that had ended."""

import copy
import csv
import os
import re
import shutil
import signal
import time

import pytest
import torch
import yaml

from .runs import CONFIGS, config_of, differences, fit, folder_of_digits, rows, state

pytestmark = pytest.mark.slow
SOURCE = {path.stem: path for path in CONFIGS}
CSV, LAST, AUTO = "--trackers=[csv]", "--ckpt_path=last", "--ckpt_path=auto"
OFTEN = "--checkpoint_every=2"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return folder_of_digits(tmp_path_factory.mktemp("digits"))


def same(run, whole):
    return differences(state(whole), state(run)) == [] and rows(whole) == rows(run)


def scoring(config, *distances, **data):
    """Changes a config to look at Frechet distances, and its data."""
    content = yaml.safe_load(config.read_text())
    content["trainer"]["callbacks"] = [
        {"class_path": "FID", "init_args": {"n": 12, "extractor": "digits", **d}} for d in distances
    ]
    content["data"]["init_args"] |= data
    config.write_text(yaml.safe_dump(content))
    return config


def at_batch(number, act):
    """Has a process do something in the middle of the step after so many batches."""

    def install():
        from lightning_gen.models.base import GenerativeModel

        before = GenerativeModel.to_batch

        def to_batch(self, raw):
            if self.trainer.fit_loop.epoch_loop.batch_progress.total.processed == number:
                act()
            return before(self, raw)

        GenerativeModel.to_batch = to_batch

    return install


def told():
    os.kill(os.getpid(), signal.SIGTERM)


def told_with_all_its_children():
    os.killpg(0, signal.SIGTERM)


def dying_in_the_last_look():
    from callbacks import FID

    before = FID.look

    def look(self, trainer, model):
        if trainer.global_step:
            os.kill(os.getpid(), signal.SIGKILL)
        before(self, trainer, model)

    FID.look = look


def test_a_signal_to_the_whole_group_does_not_reach_the_loading_processes(digits, tmp_path):
    config = config_of(SOURCE["gan"], digits, tmp_path / "config.yaml", workers=2)
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert fit(config, whole, CSV) == 0
    assert fit(config, run, CSV, dies=at_batch(4, told_with_all_its_children)) == 143
    said = run.with_suffix(".log").read_text()
    assert "stopped by SIGTERM after step" in said
    assert "Traceback" not in said
    assert fit(config, run, CSV, AUTO) == 0
    assert same(run, whole)


@pytest.mark.parametrize("stop", ["killed", "told"])
@pytest.mark.parametrize("at", [2, 3, 5])
def test_a_validation_amid_accumulated_gradients_loses_none(at, stop, digits, tmp_path):
    config = config_of(
        SOURCE["vae"],
        digits,
        tmp_path / "config.yaml",
        accumulate_grad_batches=3,
        val_check_interval=2,
    )
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert fit(config, whole, CSV, "--checkpoint_every=1") == 0
    if stop == "told":
        code = fit(config, run, CSV, "--checkpoint_every=1", dies=at_batch(at, told))
    else:
        code = fit(config, run, CSV, "--checkpoint_every=1", die_at=at)
    assert code == (143 if stop == "told" else -signal.SIGKILL)
    assert fit(config, run, CSV, "--checkpoint_every=1", AUTO) == 0
    assert same(run, whole)


@pytest.mark.parametrize("name", ["gan", "wgan_gp"])
@pytest.mark.parametrize("at", [4, 6])
def test_a_validation_amid_an_epoch_changes_nothing(name, at, digits, tmp_path):
    config = config_of(SOURCE[name], digits, tmp_path / "config.yaml", val_check_interval=3)
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert fit(config, whole, CSV) == 0
    assert fit(config, run, CSV, die_at=at) == -signal.SIGKILL
    assert fit(config, run, CSV, AUTO, dies=at_batch(at + 3, told)) == 143
    assert fit(config, run, CSV, AUTO) == 0
    assert same(run, whole)
    consumed = state(whole)["ImageFolder"]["images_consumed"]
    assert consumed == state(whole)["images_seen"] == 14 * 8


def test_each_epoch_has_every_image_once_beside_validations(digits, tmp_path):
    config = config_of(SOURCE["vae"], digits, tmp_path / "config.yaml", limit_val_batches=None)
    seen = tmp_path / "seen"

    def noting():
        from lightning_gen.models.base import GenerativeModel

        before = GenerativeModel.to_batch

        def to_batch(self, raw):
            if self.trainer.training:
                with open(seen, "a") as file:
                    file.writelines(f"{hash(bytes(image.numpy()))}\n" for image in raw[0])
            return before(self, raw)

        GenerativeModel.to_batch = to_batch

    assert fit(config, tmp_path / "run", CSV, dies=noting) == 0
    images = seen.read_text().split()
    epochs = [sorted(images[:56]), sorted(images[56:])]
    assert len(set(epochs[0])) == 56
    assert epochs[0] == epochs[1]


def test_a_signal_in_the_last_look_loses_nothing(digits, tmp_path):
    config = config_of(SOURCE["gan"], digits, tmp_path / "config.yaml", limit_val_batches=0)
    scoring(config, {"every_n_steps": 100})
    whole, run = tmp_path / "whole", tmp_path / "run"

    def slowly():
        from callbacks import FID

        before = FID.look

        def look(self, trainer, model):
            if trainer.global_step:
                told()
                time.sleep(60)
            before(self, trainer, model)

        FID.look = look

    assert fit(config, whole, CSV, "--checkpoint_every=100") == 0
    start = time.monotonic()
    assert fit(config, run, CSV, "--checkpoint_every=100", dies=slowly) == 143
    assert time.monotonic() - start < 30
    assert state(run)["global_step"] == 14
    assert fit(config, run, CSV, "--checkpoint_every=100", LAST) == 0
    assert rows(run) == rows(whole)
    assert differences(state(whole)["state_dict"], state(run)["state_dict"]) == []


def test_a_run_without_images_to_validate_goes_on_too(digits, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(digits / "train", data / "train")
    config = config_of(SOURCE["vae"], data, tmp_path / "config.yaml")
    scoring(config, val_size=0, test_size=8)
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert fit(config, whole, CSV, OFTEN) == 0
    assert fit(config, run, CSV, OFTEN, die_at=6) == -signal.SIGKILL
    assert fit(config, run, CSV, OFTEN, LAST) == 0
    assert rows(run) == rows(whole)
    found = differences(state(whole), state(run))
    # Lightning's count of the epochs that were begun, of which it makes no use.
    assert all(re.search(r"epoch_progress.\w+.(ready|started)", each) for each in found), found


@pytest.mark.parametrize("path", [LAST, AUTO])
@pytest.mark.parametrize("end", ["an epoch's end", "amid an epoch"])
def test_a_run_that_has_ended_is_left_as_it_is(path, end, digits, tmp_path):
    steps = {"max_steps": 9} if end == "amid an epoch" else {}
    config = config_of(SOURCE["gan"], digits, tmp_path / "config.yaml", **steps)
    scoring(config, {"every_n_steps": 100})
    run = tmp_path / "run"
    assert fit(config, run, CSV) == 0
    names = ("metrics.csv", "result.json", "checkpoints/last.ckpt", "checkpoints/previous.ckpt")
    before = {name: (run / name).read_bytes() for name in names}
    assert fit(config, run, CSV, path) == 0
    assert {name: (run / name).read_bytes() for name in names} == before


@pytest.mark.parametrize("end", ["an epoch's end", "amid an epoch"])
def test_a_last_look_that_was_cut_short_is_taken_again(end, digits, tmp_path):
    steps = {"max_steps": 9} if end == "amid an epoch" else {}
    config = config_of(SOURCE["gan"], digits, tmp_path / "config.yaml", **steps)
    scoring(config, {"every_n_steps": 100})
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert fit(config, whole, CSV) == 0
    assert fit(config, run, CSV, dies=dying_in_the_last_look) == -signal.SIGKILL
    assert fit(config, run, CSV, LAST) == 0
    assert rows(run) == rows(whole)
    assert differences(state(whole)["state_dict"], state(run)["state_dict"]) == []
    assert (run / "result.json").exists()


def test_the_best_are_judged_by_one_score_before_and_after(digits, tmp_path):
    config = config_of(SOURCE["gan"], digits, tmp_path / "config.yaml")
    scoring(config, {"every_n_steps": 3, "extractor": "seeded"}, {"every_n_steps": 2})
    run = tmp_path / "run"
    assert fit(config, run, CSV, OFTEN, die_at=8) == -signal.SIGKILL
    assert fit(config, run, CSV, OFTEN, LAST) == 0
    kept = [path.name for path in (run / "checkpoints").glob("best-*")]
    assert len(kept) == 1
    with open(run / "metrics.csv", newline="") as file:
        key = "fid/" + kept[0].split("-")[2]
        scores = [float(row[key]) for row in csv.DictReader(file) if row[key]]
    assert f"{min(scores[1:]):.6g}" in kept[0]


def test_the_best_is_kept_at_a_step_after_which_the_run_stops(digits, tmp_path):
    config = config_of(SOURCE["gan"], digits, tmp_path / "config.yaml")
    scoring(config, {"every_n_steps": 4})
    run = tmp_path / "run"
    assert fit(config, run, CSV, dies=at_batch(3, told)) == 143
    (best,) = (run / "checkpoints").glob("best-*-step-4.ckpt")
    assert torch.load(best, weights_only=True)["global_step"] == 4


def best_of(run):
    return sorted(path.name for path in (run / "checkpoints").glob("best-*"))


def test_the_best_is_never_that_of_untrained_weights(digits, tmp_path):
    config = config_of(SOURCE["gan"], digits, tmp_path / "config.yaml")
    scoring(config, {"every_n_steps": 5})
    run = tmp_path / "run"
    assert fit(config, run, CSV, "--keep_best=9") == 0
    scores = {row["step"]: row["fid/digits@12"] for row in rows(run) if "fid/digits@12" in row}
    assert set(scores) == {"0", "5", "10", "14"}
    stem = "best-fid-digits@12-"
    kept = sorted(f"{stem}{float(v):.6g}-step-{k}.ckpt" for k, v in scores.items() if k != "0")
    assert best_of(run) == kept


@pytest.mark.parametrize("stop", ["killed", "told"])
def test_the_best_is_kept_when_the_last_look_is_taken_again(stop, digits, tmp_path):
    config = config_of(SOURCE["gan"], digits, tmp_path / "config.yaml", max_steps=11)
    scoring(config, {"every_n_steps": 4})
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert fit(config, whole, CSV, "--keep_best=9") == 0
    if stop == "killed":
        assert fit(config, run, CSV, "--keep_best=9", die_at=11) == -signal.SIGKILL
    else:
        assert fit(config, run, CSV, "--keep_best=9", dies=at_batch(10, told)) == 143
    assert fit(config, run, CSV, "--keep_best=9", LAST) == 0
    assert best_of(run) == best_of(whole)
    assert (run / "result.json").read_text() == (whole / "result.json").read_text()


def test_two_runs_do_not_share_a_folder_at_one_time(digits, tmp_path):
    config = config_of(SOURCE["gan"], digits, tmp_path / "config.yaml")
    run = tmp_path / "run"
    found = []

    def another():
        found.append(fit(config, run, CSV, AUTO))
        if (
            found[0] != 2
            or "another process is at work in" not in run.with_suffix(".log").read_text()
        ):
            os._exit(77)

    assert fit(config, run, CSV, OFTEN, dies=at_batch(5, another)) == 0


def test_a_checkpoint_that_was_changed_is_refused_in_one_sentence(digits, tmp_path):
    config = config_of(SOURCE["gan"], digits, tmp_path / "config.yaml")
    run = tmp_path / "run"
    assert fit(config, run, CSV, die_at=9) == -signal.SIGKILL
    path = run / "checkpoints" / "last.ckpt"
    whole = torch.load(path, weights_only=True)
    for change in (
        lambda c: c["callbacks"]["LastCheckpoint"].update(at=[]),
        lambda c: c["loops"]["fit_loop"].update(epoch_progress={"x": 1}),
    ):
        content = copy.deepcopy(whole)
        change(content)
        torch.save(content, path)
        run.with_suffix(".log").unlink()
        assert fit(config, run, CSV, LAST) == 2
        said = run.with_suffix(".log").read_text()
        assert "Traceback" not in said
        assert re.search(
            r"error: .*last.ckpt was changed and cannot be gone on from .*; take another", said
        )


def test_an_older_checkpoint_becomes_the_newest_when_a_run_goes_on_from_it(digits, tmp_path):
    config = config_of(SOURCE["gan"], digits, tmp_path / "config.yaml")
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert fit(config, whole, CSV) == 0
    assert fit(config, run, CSV, OFTEN, die_at=9) == -signal.SIGKILL
    older = run / "checkpoints" / "previous.ckpt"
    step = torch.load(older, weights_only=True)["global_step"]
    # A kill right after the start finds that it was the older one.
    assert fit(config, run, CSV, f"--ckpt_path={older}", die_at=step + 1) < 0
    assert state(run)["global_step"] == step
    assert fit(config, run, CSV, OFTEN, LAST) == 0
    assert same(run, whole)


def test_a_dead_process_of_a_run_leaves_nothing_half_written(digits, tmp_path):
    config = config_of(SOURCE["gan"], digits, tmp_path / "config.yaml")
    run = tmp_path / "run"
    assert fit(config, run, CSV, die_at=9) == -signal.SIGKILL
    part = run / "checkpoints" / f".last.ckpt.{os.uname().nodename}.{2**22 + 1}.part"
    part.write_bytes(b"half")
    os.utime(part, (time.time(), time.time()))
    assert fit(config, run, CSV, LAST) == 0
    assert not part.exists()
