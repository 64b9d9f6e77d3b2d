"""CIFAR from python batches, a part of them, or an archive of JPEGs."""

import io
import os
import pickle
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import CIFAR10, CIFAR100, DataError

from .tiny import snapshot


def write_batches(folder, count=6, seed=0):
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        batch = {
            "batch_label": name,
            "labels": [k % 10 for k in range(count)],
            "data": rng.integers(0, 256, (count, 3072), np.uint8),
        }
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))


def write_jpegs(path, count=4):
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:xz") as archive:
        for part in ("test", "train"):
            for k in range(count):
                buffer = io.BytesIO()
                Image.new("RGB", (32, 32), (10 * k, 0, 0)).save(buffer, "JPEG", quality=95)
                label = ("truck", "airplane")[k % 2]
                info = tarfile.TarInfo(f"cifar10_jpeg/{part}/{label}/{k:05}.jpg")
                info.size = buffer.tell()
                archive.addfile(info, io.BytesIO(buffer.getvalue()))


@pytest.fixture
def exact(tmp_path):
    write_batches(tmp_path / "CIFAR10" / "exact_subset" / "cifar-10-batches-py")
    return tmp_path


def test_a_part_of_the_batches_is_served_channel_by_channel_and_said(exact, capsys):
    before = snapshot(exact)
    data = CIFAR10(root=exact, val_size=0)
    data.prepare_data()
    images, labels = data.splits.train[torch.arange(30)]
    path = exact / "CIFAR10" / "exact_subset" / "cifar-10-batches-py" / "data_batch_1"
    first = pickle.loads(path.read_bytes())["data"]
    assert np.array_equal(images[:6].numpy().reshape(6, -1), first)
    assert labels.tolist() == [k % 6 for k in range(30)]
    assert data.source == "exact"
    assert snapshot(exact) == before
    assert "cifar10" in capsys.readouterr().out.lower()


def test_jpegs_come_in_the_order_of_their_index_with_the_official_classes(tmp_path):
    write_jpegs(tmp_path / "CIFAR10" / "jpeg" / "cifar10_jpeg.tar.xz")
    data = CIFAR10(root=tmp_path, val_size=0)
    images, labels = data.splits.test[torch.arange(4)]
    assert data.source == "jpeg"
    assert images[:, 0].float().mean((1, 2)).div(10).round().tolist() == [0, 1, 2, 3]
    assert labels.tolist() == [1, 0, 1, 0]


def test_the_source_is_chosen_in_order_and_named_in_the_fingerprint(exact):
    write_jpegs(exact / "CIFAR10" / "jpeg" / "cifar10_jpeg.tar.xz")
    auto, named = CIFAR10(root=exact), CIFAR10(root=exact, source="exact")
    assert auto.fingerprint() == named.fingerprint()
    assert CIFAR10(root=exact, source="jpeg").fingerprint() != auto.fingerprint()
    official = exact / "CIFAR10" / "cifar-10-batches-py"
    write_batches(official)
    with pytest.raises(DataError, match="data_batch_1 is not the official file"):
        CIFAR10(root=exact).splits  # noqa: B018


def test_a_pickle_cannot_run_code(exact):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(exact / "owned"),)

    path = exact / "CIFAR10" / "exact_subset" / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(pickle.dumps({"data": Evil(), "labels": []}))
    with pytest.raises(DataError, match=r"data_batch_3 is no CIFAR batch \(it wants posix.mkdir"):
        CIFAR10(root=exact).splits  # noqa: B018
    assert not (exact / "owned").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x02}q\x00(U", b"not a pickle", pickle.dumps([1])])
def test_a_broken_batch_is_named_in_one_sentence(exact, content):
    path = exact / "CIFAR10" / "exact_subset" / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(content)
    with pytest.raises(DataError, match="test_batch is no CIFAR batch") as caught:
        CIFAR10(root=exact).splits  # noqa: B018
    assert "\n" not in str(caught.value)


def test_a_broken_archive_is_named_in_one_sentence(tmp_path):
    path = tmp_path / "CIFAR10" / "jpeg" / "cifar10_jpeg.tar.xz"
    write_jpegs(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"cifar10_jpeg\.tar\.xz is truncated or corrupt"):
        CIFAR10(root=tmp_path).splits  # noqa: B018


@pytest.mark.parametrize("cls", [CIFAR10, CIFAR100])
def test_what_is_missing_is_named(tmp_path, cls):
    with pytest.raises(FileNotFoundError, match="batches-py|cifar-100-python"):
        cls(root=tmp_path, download=False).splits  # noqa: B018


@pytest.mark.data
def test_real_counts(real_data):
    data = CIFAR10(root=real_data, source="exact")
    assert [len(part) for part in data.splits[:3]] == [6_956, 772, 932]
    counts = torch.bincount(data.splits.test.labels).tolist()
    assert counts == [97, 78, 94, 95, 85, 84, 105, 96, 98, 100]


@pytest.mark.data
@pytest.mark.slow
def test_real_jpegs_are_near_the_exact_pixels(real_data):
    exact = CIFAR10(root=real_data, source="exact", val_size=0)
    jpeg = CIFAR10(root=real_data, source="jpeg", val_size=0)
    assert [len(part) for part in jpeg.splits[:3]] == [50_000, 0, 10_000]
    (a, b), (c, d) = (data.splits.test[torch.arange(932)] for data in (exact, jpeg))
    assert torch.equal(b, d)
    assert (a.float() - c.float()).abs().mean() < 7
