"""Images that turn out corrupt while training goes on: named, or replaced by the next one."""

import os
import pickle
import re

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning.callbacks import ModelCheckpoint

from datamodules import LSUN, DataError, ImageFolder
from datamodules.doctor import examine
from datamodules.images import LONGEST_GAP, Encoded
from datamodules.sources import Files

from .test_photographs import write_lmdb
from .tiny import Recorder, fit, numbered_folder, trainer

COUNT = 48


def numbered(folder, bad=(), **kwargs):
    """Images of level k in two classes, the even and the odd; some of them are no images."""
    for part, start, size in (("train", 0, COUNT), ("val", COUNT, 4), ("test", COUNT + 4, 4)):
        for k in range(start, start + size):
            path = folder / part / ("even", "odd")[k % 2] / f"{k:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (2, 2), k).save(path)
            if k in bad:
                path.write_bytes(b"no image")
    return again(folder, **kwargs)


def again(folder, **kwargs):
    """The images that are there."""
    options = {"size": 2, "channels": 1, "flip": False, "in_memory": False, "num_workers": 0}
    return ImageFolder(folder, **{"on_corrupt": "skip", "batch_size": 4, **options, **kwargs})


def path_of(folder, k):
    return folder / "train" / ("even", "odd")[k % 2] / f"{k:03}.png"


def place_of(k):
    """The position of the training image of level k: first the even ones, then the odd ones."""
    return k // 2 + COUNT // 2 * (k % 2)


def level_at(place):
    return 2 * (place % (COUNT // 2)) + place // (COUNT // 2)


def stand_in(k, bad):
    place = place_of(k)
    while level_at(place) in bad:
        place = (place + 1) % COUNT
    return level_at(place)


def served(data, split="train"):
    images, labels = zip(*data.loader(split), strict=True)
    return torch.cat(images)[:, 0, 0, 0].tolist(), torch.cat(labels).tolist()


BAD = (0, 11, 13, 15, 30, 47)  # the first, three in a row, and the last of the split


@pytest.mark.parametrize("options", [{}, {"num_workers": 2}, {"in_memory": True}])
def test_the_next_image_and_its_label_take_the_place_of_a_corrupt_one(tmp_path, options, capfd):
    data = numbered(tmp_path, BAD, **options)
    levels, labels = served(data)
    assert levels == [stand_in(level_at(place), BAD) for place in range(COUNT)]
    assert levels[-1] == 2  # over the end of the set, and past the first, which is corrupt too
    assert labels == [level % 2 for level in levels]
    assert {stand_in(k, BAD) % 2 for k in BAD if k % 2} == {0, 1}  # a label did move
    assert data.corrupt("train") == sorted(str(path_of(tmp_path, k)) for k in BAD)
    assert data.corrupt("test") == []
    lines = [line for line in capfd.readouterr().err.splitlines() if "another image" in line]
    for k in BAD:
        said = f"{path_of(tmp_path, k)} is not an image that Pillow can read; another image takes"
        assert any(line.startswith(said) for line in lines)
    if options.get("num_workers", 0) == 0:
        served(data)
        assert len(lines) == len(BAD)
        assert "another image" not in capfd.readouterr().err  # a second epoch says it no more


def test_what_takes_the_place_depends_on_the_index_alone(tmp_path):
    data = numbered(tmp_path, BAD)
    together = data.splits.train[torch.arange(COUNT)]
    backwards = data.splits.train[torch.arange(COUNT).flip(0)]
    alone = [again(tmp_path).splits.train[torch.tensor([k])] for k in range(COUNT)]
    for a, b, c in zip(together, backwards, zip(*alone, strict=True), strict=True):
        assert torch.equal(a, b.flip(0))
        assert torch.equal(a, torch.cat(c))


def test_an_image_that_was_mended_is_served_again(tmp_path):
    data = numbered(tmp_path, (10,))
    place = torch.tensor([place_of(10)])
    assert data.splits.train[place][0].unique().item() == 12
    Image.new("L", (2, 2), 10).save(path_of(tmp_path, 10))
    assert data.splits.train[place][0].unique().item() == 10


def test_any_number_of_processes_and_workers_serves_the_same(tmp_path, capfd):
    (one,) = fit(numbered(tmp_path / "images", BAD), max_epochs=2)
    said = capfd.readouterr().out
    assert f"folder: {len(BAD)} corrupt, replaced by their neighbours: " in said
    (workers,) = fit(numbered(tmp_path / "images", BAD, num_workers=2), max_epochs=2)
    capfd.readouterr()
    two = fit(numbered(tmp_path / "images", BAD), world=2, folder=tmp_path, max_epochs=2)
    assert workers["seen"] == one["seen"]
    assert [a + b for a, b in zip(two[0]["seen"], two[1]["seen"], strict=True)] == one["seen"]
    # The first process knows what the second met.
    assert capfd.readouterr().out.count(f"{len(BAD)} corrupt, replaced by their neighbours: ") == 1


@pytest.mark.slow
def test_workers_that_are_spawned_mark_the_same_flags(tmp_path):
    data = numbered(tmp_path, BAD, num_workers=2)
    loader = data.loader("train")
    loader.multiprocessing_context = "spawn"
    levels = torch.cat([images for images, _ in loader])[:, 0, 0, 0].tolist()
    assert levels == [stand_in(level_at(place), BAD) for place in range(COUNT)]
    assert len(data.corrupt("train")) == len(BAD)


@pytest.mark.parametrize("workers", [0, 2])
def test_going_on_serves_the_same_stand_ins(tmp_path, workers):
    def data():
        return numbered(tmp_path / "images", BAD, num_workers=workers)

    (whole,) = fit(data(), max_epochs=2)
    saver = ModelCheckpoint(
        tmp_path / "checkpoints",
        "at-{step}",
        every_n_train_steps=1,
        save_top_k=-1,
        save_on_train_epoch_end=False,
    )
    trainer(max_epochs=2, enable_checkpointing=True, callbacks=[saver]).fit(Recorder(), data())
    model = Recorder()
    trainer(max_epochs=2).fit(model, data(), ckpt_path=tmp_path / "checkpoints" / "at-step=5.ckpt")
    assert model.seen == whole["seen"][5:]


@pytest.mark.parametrize("workers", [0, 2])
def test_skipping_changes_nothing_where_nothing_is_corrupt(tmp_path, workers):
    runs = []
    for policy in ("fail", "skip"):
        data = numbered_folder(tmp_path, batch_size=4, num_workers=workers, on_corrupt=policy)
        (run,) = fit(data, max_epochs=2)
        runs.append((run["images"], data.fingerprint("train")))
        assert data.corrupt("train") == []
    assert all(torch.equal(a, b) for a, b in zip(runs[0][0], runs[1][0], strict=True))
    assert runs[0][1] == runs[1][1]


def test_a_good_image_is_decoded_once_and_by_no_more_calls(tmp_path, monkeypatch):
    data = numbered(tmp_path)
    calls = []
    for name in ("decode", "_stand_in", "_mark"):
        original = getattr(Encoded, name)
        monkeypatch.setattr(
            Encoded, name, lambda *a, n=name, f=original: (calls.append(n), f(*a))[1]
        )
    data.splits.train[torch.arange(10)]
    assert calls == ["decode"] * 10


def refusal(loader):
    """What the loader says of the first image that it cannot serve."""
    iterator = iter(loader)
    with pytest.raises(DataError) as caught:
        for _ in iterator:
            pass
    if loader.num_workers:
        iterator._shutdown_workers()  # the garbage collector would wait five seconds for each
    return str(caught.value)


@pytest.mark.parametrize("options", [{}, {"num_workers": 2}, {"in_memory": True}])
def test_a_set_without_a_good_image_is_refused_in_one_sentence(tmp_path, options):
    data = numbered(tmp_path, range(COUNT), **options)
    if "in_memory" in options:
        with pytest.raises(DataError, match="48 images in a row, from .*, cannot be decoded"):
            data.loader("train")
    else:
        said = refusal(data.loader("train"))
        assert re.fullmatch("48 images in a row, from .*, cannot be decoded; replace them", said)
    assert len(data.corrupt("train")) == COUNT


def test_a_gap_that_is_too_long_is_refused_before_all_is_read(tmp_path):
    class Nothing(Files):
        reads = 0

        def read(self, key):
            self.reads += 1
            raise FileNotFoundError(2, "No such file")

    images = Encoded(
        Nothing(tmp_path), [b"%d.png" % k for k in range(3 * LONGEST_GAP)], lambda *_: None
    )
    images.skip_corrupt()
    with pytest.raises(DataError, match="1,000 images in a row, from .*/7.png on, cannot"):
        images[torch.tensor([7])]
    assert images.source.reads == LONGEST_GAP + 1


def test_a_process_that_has_too_many_files_open_is_not_the_fault_of_an_image(tmp_path, monkeypatch):
    data = numbered(tmp_path)

    def refuse(self, key):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Files, "read", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        data.splits.train[torch.tensor([3])]
    assert data.corrupt("train") == []


def test_a_missing_image_has_a_fingerprint_only_where_it_is_skipped(tmp_path):
    whole = numbered(tmp_path).fingerprint("train")
    skip, fail = again(tmp_path), again(tmp_path, on_corrupt="fail")
    path_of(tmp_path, 20).unlink()
    assert skip.fingerprint("train") != whole
    with pytest.raises(DataError, match=r"020\.png cannot be read \(No such file or directory\)"):
        fail.fingerprint("train")


def test_the_doctor_lists_what_is_corrupt(tmp_path):
    report = examine(numbered(tmp_path / "images", BAD), tmp_path / "report")
    names = sorted(str(path_of(tmp_path / "images", k)) for k in BAD)
    assert report["splits"]["train"]["corrupt"] == names
    assert report["splits"]["test"]["corrupt"] == []
    assert "corrupt, and replaced by others: 6" in (tmp_path / "report/report.txt").read_text()


def test_a_key_that_leaves_an_lmdb_is_skipped_too(tmp_path):
    write_lmdb(tmp_path / "lsun" / "church_train_lmdb")
    data = LSUN("church", root=tmp_path, size=4, in_memory=False, on_corrupt="skip")
    train = data.splits.train
    train.keys[3] = b"999"
    assert train[torch.tensor([3])][0][0, 0, 0, 0] == int(train.keys[4])
    assert data.corrupt("train") == [f"{tmp_path}/lsun/church_train_lmdb:999"]


def test_names_that_are_no_text_are_said_all_the_same(tmp_path, capfd):
    numbered(tmp_path)
    odd = os.fsencode(tmp_path) + b"/train/odd/\xff\n001.png"
    os.rename(path_of(tmp_path, 1), odd)
    open(odd, "wb").close()
    fit(again(tmp_path), max_epochs=1)
    assert "folder: 1 corrupt, replaced by their neighbours" in capfd.readouterr().out
    said = refusal(again(tmp_path, on_corrupt="fail", num_workers=2).loader("train"))
    assert "\n" not in said
    assert "001.png is not an image that Pillow can read" in said


def test_only_two_policies_are_known(tmp_path):
    with pytest.raises(ValueError, match="on_corrupt must be fail or skip, got ignore"):
        numbered(tmp_path, on_corrupt="ignore")


def test_what_is_skipped_survives_a_pickle(tmp_path):
    images = pickle.loads(pickle.dumps(numbered(tmp_path, BAD).splits.train))
    assert images[torch.tensor([0])][0].unique().item() == 2
    assert np.asarray(images._corrupt).sum() == 1
