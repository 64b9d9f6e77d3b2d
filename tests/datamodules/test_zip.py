"""A zip of images is served as its folder would be, without unpacking it."""

import os
import pickle
import shutil
import zipfile

import pytest
import torch

from datamodules import DataError, ImageFolder
from datamodules.sources import Zip

from .test_archives import write_tar
from .test_corrupt import COUNT, again, numbered, served
from .tiny import fit, snapshot


def pack(folder, path, compression=zipfile.ZIP_STORED, top=""):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, top + str(file.relative_to(folder)))
    return path


@pytest.fixture
def pair(tmp_path):
    """A folder of images, and the zip of it."""
    folder = tmp_path / "images"
    numbered(folder)
    (folder / "notes.txt").write_text("no image")
    (folder / "__MACOSX").mkdir()
    shutil.copy(folder / "train" / "even" / "000.png", folder / "__MACOSX" / "._000.png")
    return folder, pack(folder, tmp_path / "images.zip", zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize("options", [{}, {"num_workers": 2}, {"in_memory": True}])
def test_it_is_served_as_its_folder_is(pair, options):
    folder, path = pair
    before = snapshot(folder.parent)
    one, other = again(folder, **options), again(path, **options)
    assert other.label_names == ["even", "odd"]
    for split in ("train", "val", "test"):
        assert served(other, split) == served(one, split)
        assert other.fingerprint(split) == one.fingerprint(split)
    assert snapshot(folder.parent) == before


@pytest.mark.parametrize("compression", [0, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("top", ["", "images/", "my data/images/"])
def test_a_single_folder_around_everything_is_passed_over(pair, compression, top):
    folder, path = pair
    whole = again(pack(folder, path.with_name("other.zip"), compression, top))
    assert served(whole) == served(again(folder))
    assert whole.splits.train.source.where(b"x") == f"{path.with_name('other.zip')}:{top}x"


def test_training_reads_it_from_any_number_of_processes(pair, tmp_path):
    folder, path = pair
    (one,) = fit(again(folder), max_epochs=2)
    (workers,) = fit(again(path, num_workers=2), max_epochs=2)
    two = fit(again(path), world=2, folder=tmp_path, max_epochs=2)
    assert workers["seen"] == one["seen"]
    assert [a + b for a, b in zip(two[0]["seen"], two[1]["seen"], strict=True)] == one["seen"]


def test_each_process_opens_it_for_itself(pair, monkeypatch):
    source = again(pair[1]).splits.train.source
    mine = source.archive
    assert source.archive is mine
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as after a fork
    assert source.archive is not mine
    copy = pickle.loads(pickle.dumps(source))  # as after a spawn
    assert copy.read(b"train/even/002.png") == source.read(b"train/even/002.png")


def test_a_zip_that_was_replaced_is_read_anew(pair):
    folder, path = pair
    again(path)
    shutil.rmtree(folder / "train" / "odd")
    pack(folder, path)
    assert len(again(path).splits.train) == COUNT // 2
    assert again(path).fingerprint("train") == again(folder).fingerprint("train")


def damage(path, name):
    """Changes a byte in the middle of a member that is stored as it is."""
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo(name).header_offset + 30 + len(name) + 20
    data = bytearray(path.read_bytes())
    data[place] ^= 255
    path.write_bytes(data)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_member_is_named_or_replaced(pair, workers):
    folder, path = pair
    pack(folder, path)
    damage(path, "train/even/004.png")
    skip = again(path, num_workers=workers)
    assert served(skip)[0] == [6 if level == 4 else level for level in served(again(folder))[0]]
    assert skip.corrupt("train") == [f"{path}:train/even/004.png"]
    with pytest.raises(
        DataError, match=r"images\.zip:train/even/004\.png cannot be read \(Bad CRC"
    ):
        again(path, on_corrupt="fail").splits.train[torch.arange(10)]


def test_a_member_that_says_it_is_enormous_is_not_read(pair):
    source = again(pair[1]).splits.train.source
    source.archive.getinfo("train/even/002.png").file_size = 2**40
    with pytest.raises(OSError, match="too many for an image"):
        source.read(b"train/even/002.png")


def test_what_is_no_zip_is_said_in_one_sentence(pair, tmp_path):
    _, path = pair
    tar = write_tar(tmp_path / "images.tar.gz", [("a.png", b"x")])
    short = tmp_path / "short.zip"
    short.write_bytes(path.read_bytes()[:-30])
    for wrong in (tar, short):
        with pytest.raises(DataError, match=f"{wrong.name} is neither a folder nor a whole .zip"):
            ImageFolder(wrong)
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(FileNotFoundError, match="has no images"):
        ImageFolder(tmp_path / "empty.zip")


def test_names_with_dots_and_slashes_in_front_do_no_harm(tmp_path):
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("/etc/a.png", "../b.png", "c.png", "d/e.png"):
            archive.writestr(name, b"")
    assert sorted(Zip(path).names(lambda name: name.endswith(".png"))) == [
        "../b.png",
        "c.png",
        "d/e.png",
    ]
    assert ImageFolder(path)._keys["train"] == ["c.png", "d/e.png"]
