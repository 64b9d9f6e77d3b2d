"""The order of training through real fits: epochs, processes, stopping and going on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from .tiny import Numbered, Recorder, fit, numbered_folder, trainer


def flat(batches):
    return [index for batch in batches for index in batch]


def test_two_processes_see_what_one_sees(tmp_path):
    (one,) = fit(Numbered(batch_size=4), max_epochs=2)
    two = fit(Numbered(batch_size=4), world=2, folder=tmp_path, max_epochs=2)
    together = [a + b for a, b in zip(two[0]["seen"], two[1]["seen"], strict=True)]
    assert together == one["seen"]
    assert len(set(flat(one["seen"][:5]))) == 20
    # Validation: each image once over both processes, after each epoch.
    assert sorted(flat(two[0]["validated"] + two[1]["validated"])) == sorted(
        [*range(23, 28), *range(23, 28)]
    )


def test_two_processes_test_each_image_once(tmp_path):
    data = Numbered(eval_batch_size=4)
    trainer(2).test(Recorder(folder=tmp_path), data, verbose=False)
    parts = [torch.load(tmp_path / f"rank{rank}.pt")["validated"] for rank in range(2)]
    assert parts == [[[28, 29], [32, 33]], [[30, 31], [34]]]


def test_a_process_without_an_image_of_the_last_batch_is_no_hindrance(tmp_path):
    data = Numbered(test=5, eval_batch_size=4)
    trainer(2).test(Recorder(folder=tmp_path), data, verbose=False)
    parts = [torch.load(tmp_path / f"rank{rank}.pt")["validated"] for rank in range(2)]
    assert parts == [[[28, 29], [32]], [[30, 31]]]


def test_every_process_gets_an_image_of_what_it_evaluates(tmp_path):
    data = Numbered(test=2, eval_batch_size=1)
    trainer(2).test(Recorder(folder=tmp_path), data, verbose=False)
    parts = [torch.load(tmp_path / f"rank{rank}.pt")["validated"] for rank in range(2)]
    assert parts == [[[28]], [[29]]]
    with pytest.raises(Exception, match="the test split has 1 images, too few for 2 processes"):
        trainer(2).test(Recorder(), Numbered(test=1), verbose=False)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [3, 5, 7, 10])
def test_going_on_continues_exactly(tmp_path, workers, stop):
    def data():
        return numbered_folder(tmp_path / "images", batch_size=4, num_workers=workers)

    (whole,) = fit(data(), max_epochs=3)
    saver = ModelCheckpoint(
        tmp_path / "checkpoints",
        "at-{step}",
        every_n_train_steps=1,
        save_top_k=-1,
        save_on_train_epoch_end=False,
    )
    trainer(max_epochs=3, enable_checkpointing=True, callbacks=[saver]).fit(Recorder(), data())
    path = tmp_path / "checkpoints" / f"at-step={stop}.ckpt"
    assert torch.load(path)["ImageFolder"]["images_consumed"] == 4 * stop
    model = Recorder()
    trainer(max_epochs=3).fit(model, data(), ckpt_path=path)
    assert model.seen == whole["seen"][stop:]


def test_going_on_from_the_end_of_an_epoch_begins_the_next(tmp_path):
    (whole,) = fit(Numbered(batch_size=4), max_epochs=3)
    first = trainer(max_epochs=1)
    first.fit(Recorder(), Numbered(batch_size=4))
    first.save_checkpoint(tmp_path / "end.ckpt")
    model = Recorder()
    trainer(max_epochs=3).fit(model, Numbered(batch_size=4), ckpt_path=tmp_path / "end.ckpt")
    assert model.seen == whole["seen"][5:]


def test_more_processes_may_go_on_than_began(tmp_path):
    (whole,) = fit(Numbered(batch_size=4), max_epochs=2)
    first = trainer(max_steps=3)
    first.fit(Recorder(), Numbered(batch_size=4))
    first.save_checkpoint(tmp_path / "three.ckpt")
    model = Recorder(folder=tmp_path)
    trainer(2, max_epochs=2).fit(model, Numbered(batch_size=4), ckpt_path=tmp_path / "three.ckpt")
    two = [torch.load(tmp_path / f"rank{rank}.pt")["seen"] for rank in range(2)]
    # Lightning counts the epoch that max_steps cut as a whole one, so one more is left.
    assert [a + b for a, b in zip(*two, strict=True)] == whole["seen"][3:8]


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_in_the_middle_of_an_epoch_does_not_disturb_it(tmp_path, workers):
    def data():
        return numbered_folder(tmp_path, batch_size=4, num_workers=workers)

    (plain,) = fit(data(), max_epochs=2, limit_val_batches=0)
    (disturbed,) = fit(data(), max_epochs=2, val_check_interval=2, num_sanity_val_steps=1)
    assert disturbed["seen"] == plain["seen"]
    assert len(disturbed["validated"]) > 2


def test_a_limited_epoch_goes_on_where_the_last_one_ended():
    (whole,) = fit(Numbered(batch_size=4), max_epochs=3)
    (limited,) = fit(Numbered(batch_size=4), max_epochs=5, limit_train_batches=3)
    assert limited["seen"] == whole["seen"]


def test_a_new_fit_with_the_same_data_begins_anew():
    data = Numbered(batch_size=4)
    assert fit(data, max_epochs=1)[0]["seen"] == fit(data, max_epochs=1)[0]["seen"]


def test_the_seed_of_the_run_orders_the_data(monkeypatch):
    (first,) = fit(Numbered(batch_size=4), max_epochs=1)
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    (other,) = fit(Numbered(batch_size=4), max_epochs=1)
    (same,) = fit(Numbered(batch_size=4, seed=0), max_epochs=1)
    assert other["seen"] != first["seen"] == same["seen"]


def test_no_loader_draws_from_the_generator_of_torch():
    before = torch.get_rng_state()
    data = Numbered()
    list(data.train_dataloader())
    list(data.loader("test"))
    assert torch.equal(before, torch.get_rng_state())


def test_loaders_give_all_of_a_split_in_order_as_it_is():
    data = Numbered(eval_batch_size=6)
    for split, expected in (("train", range(23)), ("val", range(23, 28)), ("test", range(28, 35))):
        images, labels = map(torch.cat, zip(*data.loader(split), strict=True))
        assert images[:, 0, 0, 0].tolist() == list(expected)
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
    with pytest.raises(ValueError, match="train, val or test"):
        data.loader("fit")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"eval_batch_size": 0}, "eval_batch_size must be at least 1"),
        ({"num_workers": -1}, "num_workers must not be negative"),
    ],
)
def test_bad_arguments_are_refused_at_construction(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Numbered(**arguments)


def test_a_batch_that_the_processes_cannot_share_is_refused():
    with pytest.raises(Exception, match="divisible by the 2 processes"):
        fit(Numbered(batch_size=5), world=2, max_epochs=1)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="batch_size 64 is more than the 23 training images"):
        fit(Numbered(batch_size=64), max_epochs=1)


def test_overfit_batches_is_refused_for_it_replaces_the_order():
    with pytest.raises(ValueError, match="use limit_train_batches"):
        fit(Numbered(batch_size=4), max_epochs=1, overfit_batches=1)


LEAVING = """
import builtins, multiprocessing, sys
from datamodules import ImageFolder
data = ImageFolder(root=sys.argv[1], size=8, batch_size=2, num_workers=2, in_memory=False)
data.setup("fit")
builtins.kept = iter(data.train_dataloader())
type(builtins.kept).__del__ = lambda self: None  # as where a traceback still holds it
next(builtins.kept)
assert len(multiprocessing.active_children()) == 2
sys.exit(3)
"""


@pytest.mark.slow
def test_a_process_that_ends_does_not_wait_for_those_that_load_data(tmp_path):
    numbered_folder(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", LEAVING, str(tmp_path)]
    done = subprocess.run(command, check=False, env=environment, timeout=60)
    assert done.returncode == 3
