"""A fingerprint changes with what is served, and with nothing else."""

import os
import shutil

import pytest
import torch
from PIL import Image

from datamodules import MNIST, BinarizedMNIST, CelebA, Digits, ImageFolder
from lightning_gen import files

from .test_photographs import save, write_celeba
from .tiny import write_idx, write_mnist


@pytest.fixture
def folder(tmp_path):
    for k in range(20):
        save(tmp_path / "images" / f"{k:02}.png", 10 * k)
    return tmp_path / "images"


def test_it_is_twelve_hex_digits_and_differs_between_splits(folder):
    data = ImageFolder(folder, size=8)
    marks = [data.fingerprint(split) for split in ("train", "val", "test")]
    assert len(set(marks)) == 3
    assert all(len(mark) == 12 and int(mark, 16) >= 0 for mark in marks)


def test_it_does_not_depend_on_how_images_are_fetched_or_where_they_are(folder, tmp_path):
    mark = ImageFolder(folder, size=8).fingerprint()
    shutil.copytree(folder, tmp_path / "copy")
    for data in (
        ImageFolder(folder, size=8, in_memory=False, num_workers=2, seed=3, batch_size=2),
        ImageFolder(folder, size=8, flip=False, eval_batch_size=1),
        ImageFolder(tmp_path / "copy", size=8),
    ):
        assert data.fingerprint() == mark


@pytest.mark.parametrize(
    "change", [{"size": 4}, {"crop": 6}, {"resample": "box"}, {"channels": 1}, {"test_size": 3}]
)
def test_it_changes_with_crop_size_filter_channels_and_split(folder, change):
    assert ImageFolder(folder, **{"size": 8, **change}).fingerprint() != (
        ImageFolder(folder, size=8).fingerprint()
    )


def test_it_changes_when_a_file_does_though_the_hash_is_kept(folder, monkeypatch):
    def mark():
        return ImageFolder(folder, size=8, test_size=5).fingerprint("test")

    first = mark()
    read = []
    original = ImageFolder(folder).splits.train.source.__class__.read
    monkeypatch.setattr("datamodules.sources.Files.read", lambda *a: read.append(a) or original(*a))
    assert mark() == first
    assert not read  # the hash was kept
    for path in folder.iterdir():
        Image.new("RGB", (10, 8), (1, 2, 3)).save(path)
        os.utime(path, ns=(0, 1))
    assert mark() != first


def test_a_home_that_cannot_be_written_costs_nothing_but_time(folder, monkeypatch):
    kept = ImageFolder(folder).fingerprint()
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", "/dev/null/nowhere")
    assert ImageFolder(folder).fingerprint() == kept


@pytest.mark.parametrize("damage", [b"", b"0123abcd", b"\xff" * 64, b"g" * 64])
def test_a_kept_hash_that_is_damaged_is_made_anew(folder, tmp_path, monkeypatch, damage):
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path / "kept"))
    mark = ImageFolder(folder, size=8).fingerprint()
    (kept,) = (tmp_path / "kept").iterdir()
    whole = kept.read_text()
    kept.write_bytes(damage)
    assert ImageFolder(folder, size=8).fingerprint() == mark
    assert kept.read_text() == whole


def test_a_hash_is_kept_whole_or_not_at_all(folder, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path / "kept"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        mark = ImageFolder(folder, size=8).fingerprint()
    assert list((tmp_path / "kept").iterdir()) == []
    assert ImageFolder(folder, size=8).fingerprint() == mark
    (kept,) = (tmp_path / "kept").iterdir()
    assert len(kept.read_text()) == 64


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"LIGHTNING_GEN_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/lightning_gen"),
        ({"LIGHTNING_GEN_CACHE": "", "XDG_CACHE_HOME": ""}, "/home/me/.cache/lightning_gen"),
        ({"LIGHTNING_GEN_CACHE": "~/a"}, "/home/me/a"),
    ],
)
def test_hashes_and_statistics_are_kept_in_one_folder(monkeypatch, variables, expected):
    for name in ("LIGHTNING_GEN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **variables}.items():
        monkeypatch.setenv(name, value)
    assert str(files.cache_folder()) == expected


def test_it_changes_with_one_pixel_of_mnist(tmp_path):
    write_mnist(tmp_path)
    first = MNIST(root=tmp_path, val_size=5).fingerprint("test")
    assert MNIST(root=tmp_path, val_size=5).fingerprint("test") == first
    assert MNIST(root=tmp_path, val_size=5, size=32).fingerprint("test") != first
    assert BinarizedMNIST(root=tmp_path, val_size=5).fingerprint("test") != first
    pixels = MNIST(root=tmp_path, val_size=5).splits.test.pixels[:, 0].numpy()
    pixels[3, 14, 14] ^= 1
    write_idx(tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz", pixels)
    assert MNIST(root=tmp_path, val_size=5).fingerprint("test") != first


def test_the_crop_of_celeba_is_in_it(tmp_path):
    write_celeba(tmp_path)
    marks = {CelebA(root=tmp_path, crop=crop).fingerprint("val") for crop in (178, 148, 108)}
    assert len(marks) == 3


def test_training_does_not_change_it():
    data = Digits()
    before = data.fingerprint("train")
    for images, _ in data.loader("train"):
        images.zero_()
    assert Digits().fingerprint("train") == before
    assert torch.equal(data.splits.train.pixels, Digits().splits.train.pixels)
