"""Faults: each ends in one sentence and a code, leaves whole files, and the run goes on exactly."""

import csv
import ctypes
import errno
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from functools import partial
from multiprocessing.util import _run_after_forkers
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from pytorch_lightning.strategies.launchers import subprocess_script as launcher
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.data import DataLoader

from datamodules import DataError
from lightning_gen.cli import cluster, main

from .runs import (
    BATCH,
    CLOCKED,
    CONFIGS,
    begun,
    config_of,
    differences,
    ended,
    folder_of_digits,
    rows,
    state,
)
from .test_signals import Pair

pytestmark = pytest.mark.slow
SOURCE = {path.stem: path for path in CONFIGS}
EVERY = "--checkpoint_every=2"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return folder_of_digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    """A run that nothing happens to: two epochs of seven steps."""
    run = Run(digits, tmp_path_factory.mktemp("whole"))
    assert run.fit() == 0, run.said
    return run


@pytest.fixture
def run(digits, tmp_path):
    return Run(digits, tmp_path)


class Run:
    """A run that a fault happens to, and that goes on afterwards."""

    def __init__(self, data, folder, trackers="csv", **trainer):
        folder.mkdir(exist_ok=True)
        self.data, self.folder, self.trackers = data, folder / "run", trackers
        self.log, self.read, self.said = folder / "run.log", 0, ""
        self.config = config_of(SOURCE["dcgan"], data, folder / "config.yaml", **trainer)

    def fit(self, *arguments, fault=None):
        def child():
            if fault:
                fault()
            return main(self.command(*arguments))

        return self.ends(begun(child, self.log))

    def changes(self, change):
        """Changes its config."""
        content = yaml.safe_load(self.config.read_text())
        change(content)
        self.config.write_text(yaml.safe_dump(content))

    def scores(self, **when):
        self.changes(lambda config: config["trainer"]["callbacks"][0]["init_args"].update(when))

    def command(self, *arguments):
        more = [f"--run_dir={self.folder}", f"--trackers=[{self.trackers}]", *arguments]
        return ["fit", f"--config={self.config}", *more]

    def ends(self, process):
        """Waits for the process that was begun; its exit code."""
        code = ended(process)
        self.said = self.log.read_text()[self.read :]
        self.read += len(self.said)
        return code

    def stops(self, fault, *arguments, saying, code=2, seconds=10):
        """The fault ends the run soon, and is told in one sentence that says how to go on."""
        start = time.monotonic()
        assert self.fit(*arguments, fault=fault) == code, self.said
        assert time.monotonic() - start < seconds
        self.says(saying, f"go on with --run_dir {self.folder} --ckpt_path last")
        self.is_in_order()

    def says(self, *parts):
        assert "Traceback" not in self.said, self.said
        (line,) = [line for line in self.said.splitlines() if "rror" in line]
        assert line.startswith("error: ")
        assert all(re.search(part, line) for part in parts), line

    def is_in_order(self):
        """What is there can be read, and nothing is there that was half written."""
        assert not [path for path in self.folder.rglob("*") if path.name.endswith(".part")]
        assert yaml.safe_load((self.folder / "config.yaml").read_text())["model"]
        for path in self.folder.glob("*.json"):
            json.loads(path.read_text())
        if (self.folder / "metrics.csv").exists():
            with open(self.folder / "metrics.csv", newline="") as file:
                names, *found = csv.reader(file)
            assert found
            assert {len(row) for row in found} == {len(names)}

    def goes_on_like(self, whole, *arguments, fault=None):
        assert self.fit("--ckpt_path=last", *arguments, fault=fault) == 0, self.said
        self.is_in_order()
        assert differences(state(whole.folder), state(self.folder)) == []
        assert rows(whole.folder) == rows(self.folder)

    def checkpoint(self, name):
        return self.folder / "checkpoints" / name


def during(step, act, rank=None):
    """Has something happen in the middle of a step of training, the first being step 1."""

    def install():
        from lightning_gen.models.base import GenerativeModel

        before = GenerativeModel.to_batch

        def to_batch(self, raw):
            place = self.trainer.fit_loop.epoch_loop.batch_progress.total.processed + 1
            batch = before(self, raw)
            if self.trainer.training and place == step and rank in (None, self.trainer.global_rank):
                return act(self.trainer, batch) or batch
            return batch

        GenerativeModel.to_batch = to_batch

    return install


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


# Processes that load data


def kill_a_worker(*_):
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)


def run_out_of_memory():
    """As the kernel sees to it: a worker that decodes its fourth batch is killed."""
    from datamodules.decoding import Decoder

    before, decoded = Decoder.__call__, []

    def decode(self, data, where):
        decoded.append(where)
        if len(decoded) > 3 * BATCH:
            die()
        return before(self, data, where)

    Decoder.__call__ = decode


@pytest.mark.parametrize(
    "fault", [during(5, kill_a_worker), run_out_of_memory], ids=["killed", "memory"]
)
def test_a_worker_that_is_killed_ends_the_run(fault, digits, whole, tmp_path):
    run = Run(digits, tmp_path, workers=2)
    run.stops(
        fault, "--checkpoint_every=1", saying="a process that loads data was killed.*num_workers"
    )
    run.goes_on_like(whole)


def test_a_worker_that_dies_while_it_hands_over_is_told_from_a_lost_connection():
    """What it was met as depends on the moment: here on reading what it had begun to send."""
    data = DataLoader(list(range(4)), num_workers=0)
    for error, known in ((ConnectionResetError(104, "reset"), True), (ValueError("a"), False)):
        data.collate_fn = partial(raised, error)
        with pytest.raises(type(error)) as met:
            next(iter(data))
        said = cluster.fault(met.value)
        assert (said is not None and "loads data was killed" in str(said)) == known
    with pytest.raises(ConnectionResetError) as met:
        raised(ConnectionResetError(104, "reset"))
    assert cluster.fault(met.value) is None


def raised(error, *_):
    raise error


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_turns_corrupt_ends_the_run_and_is_named(workers, tmp_path, whole):
    run = Run(folder_of_digits(tmp_path / "digits"), tmp_path, workers=workers)
    (path,) = run.data.rglob("train/*/041.png")
    good = path.read_bytes()

    def spoil(*_):
        path.write_bytes(b"no image")

    run.stops(
        during(4, spoil), "--checkpoint_every=1", saying=f"{path} is not an image.*remove it; go"
    )
    path.write_bytes(good)
    run.goes_on_like(whole)


def test_an_image_that_turns_corrupt_is_skipped_where_that_is_wished(tmp_path, whole):
    run = Run(folder_of_digits(tmp_path / "digits"), tmp_path)
    (path,) = run.data.rglob("train/*/041.png")

    def spoil(*_):
        path.write_bytes(b"no image")

    assert run.fit("--data.on_corrupt=skip", fault=during(4, spoil)) == 0, run.said
    assert run.said.count(f"{path} is not an image that Pillow can read; another image takes") == 1
    assert f"1 corrupt, replaced by their neighbours: {path}" in run.said
    assert state(run.folder)["global_step"] == 14
    assert differences(state(whole.folder), state(run.folder)) != []


# Disks


def too_large(name, more=40):
    """From here on no file may be larger than one of the run's is, and a few bytes."""

    def act(trainer, *_):
        (path,) = Path(trainer.default_root_dir).glob(name)
        limit = path.stat().st_size + more
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return act


def no_room_for(name):
    """The disk has no room for one file, which is found out late."""

    def install():
        before = os.fsync

        def fsync(handle):
            if f"/.{name}." in os.readlink(f"/proc/self/fd/{handle}"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            before(handle)

        os.fsync = fsync

    return install


def test_a_checkpoint_that_finds_no_room_leaves_the_one_before_it(run, whole):
    full = during(5, too_large("metrics.csv", 100_000))
    run.stops(full, EVERY, saying="could not write .*last.ckpt: File too large.*before it is whole")
    assert [state_of(run, name) for name in ("last.ckpt", "previous.ckpt")] == [4, 2]
    run.goes_on_like(whole)


def state_of(run, name):
    return torch.load(run.checkpoint(name), weights_only=True)["global_step"]


def test_a_row_that_finds_no_room_is_left_out_as_a_whole(run, whole):
    run.stops(
        during(6, too_large("metrics.csv")), EVERY, saying="could not write .*metrics.csv: File"
    )
    assert rows(run.folder) == rows(whole.folder)[: len(rows(run.folder))]
    assert rows(run.folder)[-1]["step"] == "5"
    run.goes_on_like(whole)


def test_events_that_find_no_room_end_the_run(digits, whole, tmp_path):
    run = Run(digits, tmp_path, trackers="csv,tensorboard")
    full = during(5, too_large("tensorboard/events.*"))
    run.stops(full, EVERY, saying="could not write .*tensorboard: File too large")
    run.goes_on_like(whole)


@pytest.mark.parametrize("name", ["result.json", "latest.png", "curves.png"])
def test_a_file_that_finds_no_room_ends_the_run(name, digits, whole, tmp_path):
    grid = {"class_path": "SampleGrid", "init_args": {"every_n_steps": 5, "at_start": False}}
    run = Run(digits, tmp_path)
    run.changes(lambda config: config["trainer"]["callbacks"].append(grid))
    run.stops(no_room_for(name), EVERY, saying=f"could not write .*{name}: No space left on device")
    assert not list(run.folder.rglob(name))
    run.goes_on_like(whole)
    assert len(list(run.folder.rglob(name))) == 1


def test_a_disk_without_room_for_the_config_stops_a_run_before_it_begins(run):
    assert run.fit(fault=no_room_for("config.yaml")) == 2
    run.says("could not write .*config.yaml: No space left on device$")
    assert not list(run.folder.rglob("*.ckpt"))


def own_disk(folder, size):
    """Has this process alone find an empty disk of so many megabytes at a folder; or its error."""
    libc = ctypes.CDLL(None, use_errno=True)
    users, groups = os.getuid(), os.getgid()
    if libc.unshare(0x00020000 | 0x10000000):  # mounts and users
        return os.strerror(ctypes.get_errno())
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{users} {users} 1")
    Path("/proc/self/gid_map").write_text(f"{groups} {groups} 1")
    private, none = 0x4000 | 0x40000, b"none"
    if libc.mount(none, b"/", None, private, None):
        return os.strerror(ctypes.get_errno())
    options = f"size={size}m".encode()
    if libc.mount(none, str(folder).encode(), b"tmpfs", 0, options):
        return os.strerror(ctypes.get_errno())
    return None


def fill(trainer, *_):
    """Leaves no byte free."""
    with open(Path(trainer.default_root_dir) / "ballast", "wb", buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue


def test_a_disk_that_is_full_costs_what_is_not_yet_saved(run, whole):
    out = run.folder.with_name("out")
    run.folder.mkdir()

    def child():
        error = own_disk(run.folder, 60)
        if error:
            print(error)
            return 77
        during(5, fill)()
        code = main(run.command(EVERY))
        (run.folder / "ballast").unlink()
        shutil.copytree(run.folder, out, symlinks=True)
        return code

    code = run.ends(begun(child, run.log))
    if code == 77:
        pytest.skip(f"needs a mount of its own: {run.said}")
    assert code == 2, run.said
    run.says("could not write .*: No space left on device", f"go on with --run_dir {run.folder}")
    run.folder.rmdir()
    out.rename(run.folder)
    run.is_in_order()
    assert [state_of(run, name) for name in ("last.ckpt", "previous.ckpt")] == [4, 2]
    run.goes_on_like(whole)


def without_privileges(folder):
    """The folder can be read only, by root as well."""

    def act(*_):
        libc = ctypes.CDLL(None, use_errno=True)
        header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert os.getuid() or not libc.capset(header, none)
        for path in (folder, *folder.rglob("*")):
            if path.is_dir():
                path.chmod(0o500)

    return act


def writable_again(folder):
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)


def test_a_run_folder_that_cannot_be_written_is_said_at_once(tmp_path, digits):
    run, parent = Run(digits, tmp_path), tmp_path / "read only"
    parent.mkdir()
    run.folder = parent / "run"
    assert run.fit(fault=without_privileges(parent)) == 2
    run.says(f"could not write {run.folder}: Permission denied$")
    writable_again(parent)
    assert not run.folder.exists()


def test_a_run_folder_that_turns_read_only_ends_the_run(run, whole):
    lock = without_privileges(run.folder)
    run.stops(
        during(5, lock), EVERY, saying="could not write .*last.ckpt: Permission denied.*whole"
    )
    assert state_of(run, "last.ckpt") == 4
    assert run.fit("--ckpt_path=last", fault=lock) == 2
    run.says("could not write .*: Permission denied")
    writable_again(run.folder)
    run.goes_on_like(whole)


@pytest.mark.parametrize("trackers", ["csv", "", "csv,tensorboard"])
def test_a_run_folder_that_is_removed_stays_so(trackers, digits, tmp_path):
    run = Run(digits, tmp_path, trackers)

    def remove(trainer, *_):
        shutil.rmtree(run.folder)

    assert run.fit(EVERY, fault=during(5, remove)) == 2
    run.says("removed|No such file or directory", "the run folder was removed")
    assert not run.folder.exists()


def test_a_checkpoint_that_cannot_be_renamed_leaves_the_one_before_it(run, whole):
    def refuse(*_):
        before = os.replace

        def replace(source, target):
            if Path(target).suffix == ".ckpt":
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
            before(source, target)

        os.replace = replace

    run.stops(
        during(5, refuse), EVERY, saying="could not write .*last.ckpt: Operation not permitted"
    )
    assert state_of(run, "last.ckpt") == 4
    run.goes_on_like(whole)


# Numbers


def spoil(trainer, batch):
    batch.images.fill_(torch.nan)


def test_a_loss_that_is_no_number_leaves_the_last_good_checkpoint(run, whole):
    good = re.escape(str(run.checkpoint("last.ckpt")))
    said = f"the term .*loss is not finite at step 10; the last good checkpoint is {good}"
    run.stops(during(10, spoil), EVERY, saying=f"{said}.*--allow_changes true")
    assert [state_of(run, name) for name in ("last.ckpt", "previous.ckpt")] == [8, 7]
    run.goes_on_like(whole)


def test_a_run_that_lost_its_numbers_may_go_on_at_another_rate(run):
    assert run.fit(EVERY, fault=during(10, spoil)) == 2
    rates = [f"--model.{who}_optimizer.lr=1e-5" for who in ("generator", "discriminator")]
    assert run.fit("--ckpt_path=last", "--allow_changes=true", *rates) == 0, run.said
    assert state(run.folder)["global_step"] == 14


# Damage


def truncate(path):
    os.truncate(path, path.stat().st_size * 2 // 3)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    os.truncate(path, 0)


@pytest.mark.parametrize("damage", [truncate, flip, empty])
def test_a_damaged_checkpoint_is_said_and_the_one_before_it_taken(damage, run, whole):
    assert run.fit(EVERY, fault=during(7, die)) == -signal.SIGKILL
    assert state_of(run, "last.ckpt") == 6
    damage(run.checkpoint("last.ckpt"))
    run.goes_on_like(whole)
    assert "last.ckpt is damaged" in run.said
    assert "going on from previous.ckpt of step 4" in run.said


@pytest.mark.parametrize("path", ["last", "auto"])
def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew(path, run):
    assert run.fit(EVERY, fault=during(7, die)) == -signal.SIGKILL
    for checkpoint in run.folder.glob("checkpoints/*.ckpt"):
        truncate(checkpoint)
    before = {each: each.read_bytes() for each in run.folder.rglob("*") if each.is_file()}
    assert run.fit(f"--ckpt_path={path}") == 2
    run.says("no checkpoint in .* is whole: .*last.ckpt is damaged.*previous.ckpt is damaged")
    assert {each: each.read_bytes() for each in run.folder.rglob("*") if each.is_file()} == before


# Another run than before


@pytest.fixture(scope="module")
def half(digits, tmp_path_factory):
    """A run that was killed in its first epoch."""
    run = Run(digits, tmp_path_factory.mktemp("half"))
    assert run.fit(EVERY, fault=during(7, die)) == -signal.SIGKILL
    return run


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--seed_everything=1", "seed_everything was 0 and is 1"),
        ("--data.batch_size=4", "data.batch_size was 8 and is 4"),
        ("--data.size=32", "data.size was 28 and is 32"),
        ("--trainer.precision=bf16-mixed", "trainer.precision was None and is bf16-mixed"),
        ("--model.generator.width=32", "model.generator.width was 64 and is 32"),
        ("--model.generator_optimizer.lr=1e-3", "generator_optimizer.lr was 0.0005 and is 0.001"),
        (
            "--model.generator_optimizer=torch.optim.SGD",
            "was lightning.*FusedAdam and is torch.*SGD",
        ),
        ("--model.generator=MLPGenerator", "model.generator was .*DCGANGenerator and is .*MLPGen"),
    ],
)
def test_a_run_that_would_be_another_is_refused(option, said, half, tmp_path):
    run = Run(half.data, tmp_path)
    shutil.copytree(half.folder, run.folder)
    assert run.fit("--ckpt_path=last", option) == 2
    run.says(
        f"going on from .*last.ckpt would not be the same run, as .*{said}.*--allow_changes true"
    )
    assert state(run.folder)["global_step"] == 6


def test_another_model_is_refused(half, tmp_path):
    run = Run(half.data, tmp_path)
    shutil.copytree(half.folder, run.folder)
    config_of(SOURCE["lsgan"], half.data, run.config)
    assert run.fit("--ckpt_path=last", "--allow_changes=true") == 2
    run.says("last.ckpt is a checkpoint of GAN, but the config has LSGAN")


def test_what_makes_no_difference_may_change(half, tmp_path, whole):
    run = Run(half.data, tmp_path, trackers="csv,tensorboard")
    shutil.copytree(half.folder, run.folder)
    shutil.copytree(half.data, tmp_path / "moved")
    where = [f"--data.root={tmp_path / 'moved'}", "--data.num_workers=2", "--trainer.max_steps=14"]
    how = ["--checkpoint_every=3", "--keep_best=2", "--trainer.log_every_n_steps=1"]
    run.goes_on_like(whole, "--trainer.max_epochs=-1", *where, *how)


def test_more_processes_and_other_callbacks_may_go_on(half, tmp_path):
    run = Two(half.data, tmp_path)
    shutil.copytree(half.folder, run.folder)
    assert run.fit("--ckpt_path=last", "--trainer.callbacks=[]") == 0, run.said
    assert state(run.folder)["global_step"] == 14


# One folder, one run


def test_runs_of_the_same_second_have_folders_of_their_own(run, tmp_path):
    def child():
        os.chdir(tmp_path)
        time.strftime = lambda *_: "20300101-000000"
        command = [word for word in run.command() if not word.startswith("--run_dir")]
        return main([*command, "--trainer.max_steps=1"])

    processes = [begun(child, tmp_path / f"{k}.log") for k in range(2)]
    assert [ended(process) for process in processes] == [0, 0]
    folders = [path.parent.parent for path in (tmp_path / "runs").rglob("last.ckpt")]
    assert sorted(path.name for path in folders) == ["20300101-000000", "20300101-000000-1"]
    for run.folder in folders:
        run.is_in_order()


def test_a_folder_that_holds_a_run_is_refused(run):
    assert run.fit("--trainer.max_steps=2") == 0, run.said
    before = {each: each.read_bytes() for each in run.folder.rglob("*") if each.is_file()}
    assert run.fit() == 2
    run.says(
        f"{run.folder} holds a run already: .*--ckpt_path last to go on with it, or choose another"
    )
    assert {each: each.read_bytes() for each in run.folder.rglob("*") if each.is_file()} == before


# Kills in bad moments


def test_a_kill_in_an_evaluation_repeats_the_evaluation_only(run, whole):
    def dying():
        from callbacks import FID

        before = FID.score

        def score(self, trainer, model, value):
            if trainer.global_step:
                die()
            before(self, trainer, model, value)

        FID.score = score

    def counting():
        trained = during(8, lambda *_: print("the first step after it"))
        trained()
        during(7, die)()  # a step that is done is not made again

    assert run.fit(fault=dying) == -signal.SIGKILL
    assert state_of(run, "last.ckpt") == 7
    run.goes_on_like(whole, fault=counting)
    assert run.said.count("the first step after it") == 1
    scored = [row["step"] for row in rows(run.folder) if "fid/digits@12" in row]
    assert scored == ["0", "7", "14"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_in_the_rewriting_of_the_metrics_loses_none(moment, run, whole):
    def dying():
        before = os.replace

        def replace(source, target):
            new_column = Path(target).name == "metrics.csv" and "fid/" in Path(source).read_text()
            if not new_column or moment == "after":
                before(source, target)
            if new_column:
                die()

        os.replace = replace

    run.scores(at_start=False)
    assert run.fit(EVERY, fault=dying) == -signal.SIGKILL
    with open(run.folder / "metrics.csv", newline="") as file:
        assert len([*csv.DictReader(file)]) == 14  # seven steps, logged by two
    assert run.fit("--ckpt_path=last") == 0, run.said
    run.is_in_order()
    assert rows(run.folder) == rows(whole.folder)[1:]  # but for the score of before the first step


# What else a run leaves


def events_of(run):
    """What TensorBoard shows: all values for each name and step."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found = {}
    for path in sorted((run.folder / "tensorboard").glob("events.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                tensor = value.tensor if value.tag not in CLOCKED else None
                found.setdefault((value.tag, event.step), []).append(tensor)
    return found


def test_tensorboard_has_each_value_once(digits, tmp_path):
    pytest.importorskip("tensorboard")
    whole, run = (Run(digits, tmp_path / name, trackers="tensorboard") for name in "ab")
    assert whole.fit() == 0
    assert run.fit("--checkpoint_every=3", fault=during(5, die)) == -signal.SIGKILL
    assert (
        run.fit("--checkpoint_every=3", "--ckpt_path=last", fault=during(12, die))
        == -signal.SIGKILL
    )
    assert run.fit("--ckpt_path=last") == 0
    found = events_of(run)
    assert set(map(len, found.values())) == {1}
    assert found.keys() == events_of(whole).keys()
    assert {("fid/digits@12", 7), ("generator/loss", 14), ("images_seen", 5)} <= found.keys()
    assert all(
        events_of(whole)[key] == value for key, value in found.items() if "_hparams_" not in key[0]
    )


def test_a_run_stays_one_run_of_wandb(digits, tmp_path):
    pytest.importorskip("wandb")
    run = Run(digits, tmp_path, trackers="wandb")
    assert run.fit(EVERY, fault=during(5, die)) == -signal.SIGKILL
    first = {path.name.split("-")[-1] for path in (run.folder / "wandb").glob("offline-run-*")}
    assert run.fit("--ckpt_path=last") == 0, run.said
    every = [path.name.split("-")[-1] for path in (run.folder / "wandb").glob("offline-run-*")]
    assert len(every) == 2
    assert set(every) == first == {(run.folder / "wandb_id.txt").read_text()}


@pytest.mark.parametrize("die_at", [None, 9])
def test_few_checkpoints_are_kept_and_the_best_among_them(die_at, digits, tmp_path):
    run = Run(digits, tmp_path)
    run.scores(every_n_steps=2)
    if die_at:
        kill = during(die_at, die)
        assert run.fit("--keep_best=2", "--checkpoint_every=3", fault=kill) == -signal.SIGKILL
        assert run.fit("--keep_best=2", "--checkpoint_every=3", "--ckpt_path=last") == 0
    else:
        assert run.fit("--keep_best=2") == 0
    scores = {
        int(r["step"]): float(r["fid/digits@12"]) for r in rows(run.folder) if "fid/digits@12" in r
    }
    assert sorted(scores) == list(range(0, 15, 2))
    best = sorted(sorted(set(scores) - {0}, key=lambda step: scores[step])[:2])
    kept = [path.name for path in run.checkpoint("").glob("*")]
    wanted = [f"best-fid-digits@12-{scores[step]:.6g}-step-{step}.ckpt" for step in best]
    assert sorted(kept) == sorted(["last.ckpt", "previous.ckpt", *wanted])
    assert [state_of(run, name) for name in wanted] == best


def test_a_score_that_nobody_makes_is_said_at_the_end(run):
    assert run.fit("--monitor=fid/inception@10000", "--trainer.max_epochs=1") == 0
    assert "no best checkpoint: fid/inception@10000 is none of " in run.said
    assert "fid/digits@12" in run.said
    assert not list(run.folder.rglob("best-*"))


# Several processes


class Fork:
    """What Lightning starts a further process by; here it forks, which saves seconds."""

    def __init__(self, command, _, env, cwd):
        self.returncode = None
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid:
            return
        code = 70
        try:
            _run_after_forkers()  # as multiprocessing does
            os.environ.update(env)
            rank_zero_only.rank = int(env["LOCAL_RANK"])
            code = main(command)
        except BaseException:  # noqa: BLE001  # which would go on in the middle of the test
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)


class Two(Run):
    """A run of two processes, as Lightning launches them."""

    def fit(self, *arguments, fault=None):
        command = self.command("--trainer.devices=2", *arguments)

        def child():
            launcher.subprocess = SimpleNamespace(Popen=partial(Fork, command))
            if fault:
                fault()
            return main(command)

        first = begun(child, self.log)
        code = self.ends(first)
        wait_until(lambda: not living(group=first))
        self.said += self.log.read_text()[self.read :]
        self.read = len(self.log.read_text())
        return code

    def says(self, *parts):
        """One sentence of the process at fault, and at most one of the others that they lost it."""
        assert "Traceback" not in self.said, self.said
        lines = [line for line in self.said.splitlines() if line.startswith("error: ")]
        culprits = [line for line in lines if LOST not in line]
        assert len(lines) - len(culprits) < 2, lines
        (line,) = culprits or lines
        assert all(re.search(part, line) for part in parts), line


LOST = "lost another process of the run, which was killed or failed; go on with"


def living(group):
    """The processes of a group or a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, _, *groups = (path / "stat").read_text().rpartition(") ")[2].split()[:4]
        except OSError:
            continue
        if str(group) in groups and state != "Z":
            found.append(int(path.name))
    return found


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def whole_of_two(digits, tmp_path_factory):
    run = Two(digits, tmp_path_factory.mktemp("two"))
    assert run.fit() == 0, run.said
    return run


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_others(rank, digits, tmp_path, whole_of_two):
    run = Two(digits, tmp_path, workers=1)
    run.changes(lambda config: config.update(checkpoint_every=2))
    pair = Pair(run.config, run.folder, tmp_path, slow=0.1)
    pair.ready(step=3)
    start = time.monotonic()
    os.kill(pair.pid(rank), signal.SIGKILL)
    assert pair.ended(20) == (2 if rank else -signal.SIGKILL)
    wait_until(lambda: not living(group=pair.process.pid))
    assert time.monotonic() - start < 20
    said = pair.log.read_text()
    assert [line for line in said.splitlines() if "rror" in line or "frame" in line] == [
        f"error: process {1 - rank} {LOST} --run_dir {run.folder} --ckpt_path last"
    ]
    run.is_in_order()
    run.goes_on_like(whole_of_two)


def test_a_process_that_is_killed_while_another_evaluates_is_noticed(
    digits, tmp_path, whole_of_two
):
    def dying():
        from callbacks import FID

        before = FID.look

        def look(self, trainer, model):
            if trainer.global_step and trainer.global_rank:
                die()
            if trainer.global_step:
                time.sleep(60)  # as an evaluation that takes long
            before(self, trainer, model)

        FID.look = look

    run = Two(digits, tmp_path)
    run.stops(dying, saying=f"process 0 {LOST}", seconds=20)
    assert state_of(run, "last.ckpt") == 7
    run.goes_on_like(whole_of_two)


def raise_data_error(*_):
    raise DataError("a.png cannot be decoded; replace or remove it")


@pytest.mark.parametrize("rank", [0, 1, None])
def test_an_error_of_one_process_is_said_once_and_ends_the_others(
    rank, digits, tmp_path, whole_of_two
):
    run = Two(digits, tmp_path)
    fault = during(5, raise_data_error, rank)
    run.stops(fault, EVERY, saying="a.png cannot be decoded; replace or remove it", seconds=20)
    run.goes_on_like(whole_of_two)


def test_numbers_that_one_process_loses_end_all(digits, tmp_path, whole_of_two):
    run = Two(digits, tmp_path)
    run.stops(
        during(5, spoil, 1), EVERY, saying="is not finite at step 5; the last good", seconds=20
    )
    assert state_of(run, "last.ckpt") == 4
    run.goes_on_like(whole_of_two)


def test_a_disk_that_is_full_for_the_first_process_ends_all(digits, tmp_path, whole_of_two):
    run = Two(digits, tmp_path)
    full = during(5, too_large("metrics.csv", 100_000), 0)
    run.stops(full, EVERY, saying="could not write .*last.ckpt: File too large", seconds=20)
    assert state_of(run, "last.ckpt") == 4
    run.goes_on_like(whole_of_two)
