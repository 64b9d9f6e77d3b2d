"""MNIST, its relatives, USPS and the digits of scikit-learn."""

import bz2
import gzip
import os
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from datamodules import MNIST, USPS, BinarizedMNIST, DataError, Digits, FashionMNIST
from datamodules.mnist import AMAT_MD5
from datamodules.usps import read_h5, read_libsvm
from lightning_gen.randomness import Noise

from .tiny import snapshot, write_mnist


def every(data, split):
    images, labels = zip(*data.loader(split), strict=True)
    return torch.cat(images), torch.cat(labels)


def test_compressed_and_plain_files_are_read_without_writing(tmp_path):
    write_mnist(tmp_path)
    before = snapshot(tmp_path)
    packed = MNIST(root=tmp_path, val_size=5)
    packed.prepare_data()
    assert [len(part) for part in packed.splits[:3]] == [25, 5, 12]
    assert snapshot(tmp_path) == before
    for path in (tmp_path / "MNIST" / "raw").glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    plain = MNIST(root=tmp_path, val_size=5)
    assert plain.fingerprint("train") == packed.fingerprint("train")


def test_size_32_pads_with_level_0(tmp_path):
    write_mnist(tmp_path)
    small, large = (MNIST(root=tmp_path, size=size, val_size=5) for size in (28, 32))
    assert (small.shape, large.shape) == ((1, 28, 28), (1, 32, 32))
    padded = every(large, "test")[0]
    assert torch.equal(padded[..., 2:-2, 2:-2], every(small, "test")[0])
    padded[..., 2:-2, 2:-2] = 0
    assert padded.sum() == 0


def test_size_14_is_of_the_means_of_two_by_two_pixels(tmp_path):
    write_mnist(tmp_path)
    small, large = (MNIST(root=tmp_path, size=size, val_size=5) for size in (14, 28))
    assert small.shape == (1, 14, 14)
    images, labels = every(small, "train")
    means = torch.nn.functional.avg_pool2d(every(large, "train")[0].double(), 2)
    assert images.dtype == torch.uint8
    assert torch.equal(images, (means + 0.5).floor().byte())
    assert torch.equal(labels, every(large, "train")[1])


def test_small_images_are_averaged_before_they_are_binarised(tmp_path):
    write_mnist(tmp_path)
    grey = every(MNIST(root=tmp_path, size=14, val_size=5), "train")[0]
    data = BinarizedMNIST(root=tmp_path, size=14, val_size=5)
    assert data.shape == (1, 14, 14)
    for split in ("train", "val", "test"):
        assert every(data, split)[0].unique().tolist() == [0, 255]
    assert torch.equal(data.images("fit").pixels, grey)
    one, n = grey[:1].expand(2000, -1, -1, -1), 2000
    drawn = data.augment(one, Noise(("test",), n))
    assert drawn.unique().tolist() == [0, 255]
    p = grey[0].double() / 255
    assert ((drawn.double().mean(0) / 255 - p).abs() <= 5 * (p * (1 - p) / n).sqrt()).all()


def test_what_is_held_out_depends_on_the_data_alone(tmp_path):
    write_mnist(tmp_path)
    one, other = (MNIST(root=tmp_path, val_size=5, seed=seed) for seed in (0, 1))
    assert torch.equal(every(one, "val")[0], every(other, "val")[0])
    together = torch.cat([every(one, "train")[0], every(one, "val")[0]])
    whole = every(MNIST(root=tmp_path, val_size=0), "train")[0]
    assert sorted(map(bytes, together.numpy())) == sorted(map(bytes, whole.numpy()))


def test_without_a_validation_part_there_is_no_validation(tmp_path):
    write_mnist(tmp_path)
    assert MNIST(root=tmp_path, val_size=0).val_dataloader() == []


def corrupt(tmp_path, change):
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        MNIST(root=tmp_path, val_size=5).splits  # noqa: B018
    sentence = str(caught.value)
    assert "train-images-idx3-ubyte.gz" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:200] + bytes([data[200] ^ 255]) + data[201:],
        lambda data: b"",
        lambda data: gzip.compress(gzip.decompress(data)[:-1]),
        lambda data: gzip.compress(gzip.decompress(data)[:10]),
        lambda data: gzip.compress(gzip.decompress(data) + b"\0"),
        lambda data: gzip.compress(b"\1" + gzip.decompress(data)[1:]),
    ],
)
def test_a_broken_file_is_named_in_one_sentence(tmp_path, change):
    corrupt(tmp_path, change)


def test_as_many_labels_as_images_are_needed(tmp_path):
    write_mnist(tmp_path)
    stem = tmp_path / "MNIST" / "raw"
    os.replace(stem / "t10k-labels-idx1-ubyte.gz", stem / "train-labels-idx1-ubyte.gz")
    with pytest.raises(DataError, match="should hold 12 images"):
        MNIST(root=tmp_path).splits  # noqa: B018


@pytest.mark.parametrize("cls", [MNIST, FashionMNIST, USPS])
def test_missing_files_are_named_in_one_sentence(tmp_path, cls):
    data = cls(root=tmp_path / "nowhere", download=False)
    data.prepare_data()
    with pytest.raises(FileNotFoundError, match=r"needs .*nowhere.*, which is missing; set root"):
        data.splits  # noqa: B018


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("Error\nall mirrors")])
def test_a_download_that_fails_says_so_in_one_sentence(tmp_path, monkeypatch, error):
    def refuse(*_):
        raise error

    monkeypatch.setattr("datamodules.files.download_url", refuse)
    with pytest.raises(FileNotFoundError, match="could not be downloaded") as caught:
        MNIST(root=tmp_path).prepare_data()
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_static_binarization_is_what_the_file_says(tmp_path):
    digits = np.random.default_rng(0).integers(0, 2, (6, 784))
    text = "".join(" ".join(map(str, row)) + "\n" for row in digits).encode()
    folder = tmp_path / "binarized_mnist"
    folder.mkdir()
    for part in AMAT_MD5:
        (folder / f"binarized_mnist_{part}.amat.gz").write_bytes(gzip.compress(text))
    data = BinarizedMNIST("static", root=tmp_path, download=False)
    assert data.num_classes is None
    images, labels = every(data, "train")
    assert torch.equal(images.flatten(1), torch.from_numpy(digits * 255).byte())
    assert labels.eq(0).all()
    (folder / "binarized_mnist_test.amat.gz").write_bytes(gzip.compress(text[:-4]))
    with pytest.raises(DataError, match=r"binarized_mnist_test\.amat\.gz should hold lines"):
        BinarizedMNIST("static", root=tmp_path).splits  # noqa: B018


def test_usps_is_the_same_from_both_files_and_from_torchvision(tmp_path):
    h5py = pytest.importorskip("h5py")
    grid = np.random.default_rng(0).integers(0, 2001, (9, 256)) / 2000
    labels = np.arange(9)
    folder = tmp_path / "USPS"
    folder.mkdir()
    with h5py.File(folder / "usps.h5", "w") as file:
        for part in ("train", "test"):
            file[f"{part}/data"] = grid.astype(np.float32)
            file[f"{part}/target"] = labels
    rows = (
        f"{label + 1} " + " ".join(f"{k + 1}:{2 * v - 1:.3f}" for k, v in enumerate(row)) + " \n"
        for label, row in zip(labels, grid, strict=True)
    )
    text = bz2.compress("".join(rows).encode())
    for name in ("usps.bz2", "usps.t.bz2"):
        (folder / name).write_bytes(text)
    one, other = read_h5(folder / "usps.h5", "train"), read_libsvm(folder / "usps.bz2", "train")
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    reference = torchvision.datasets.USPS(str(folder), train=True)
    images, found = every(USPS(root=tmp_path, val_size=0), "train")
    assert np.array_equal(images[:, 0].numpy(), reference.data)
    assert found.tolist() == reference.targets
    (folder / "usps.h5").unlink()
    (folder / "usps.bz2").write_bytes(text[: len(text) // 2])
    with pytest.raises(DataError, match="usps.bz2 is truncated or corrupt"):
        USPS(root=tmp_path).splits  # noqa: B018


def test_digits_are_cut_into_fixed_parts_with_all_classes_in_equal_shares():
    data = Digits()
    assert [len(part) for part in data.splits[:3]] == [1297, 200, 300]
    for split, count in (("train", 1297), ("val", 200), ("test", 300)):
        images, labels = every(data, split)
        assert images.shape == (count, 1, 28, 28)
        share = torch.bincount(labels, minlength=10) / count
        assert ((share > 0.09) & (share < 0.11)).all()
    assert data.fingerprint("test") == Digits(seed=5).fingerprint("test")


def test_digits_keep_their_levels_at_their_own_size():
    images, _ = every(Digits(size=8), "train")
    assert images.unique().tolist() == [round(k * 255 / 16) for k in range(17)]


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: MNIST(size=29), "size must be 28"),
        (lambda: MNIST(val_size=-1), "val_size must not be negative"),
        (lambda: Digits(size=7), "size must be at least 8"),
        (lambda: USPS(size=15), "size must be at least 16"),
        (lambda: BinarizedMNIST("fixed"), "binarization must be dynamic or static"),
        (lambda: BinarizedMNIST("static", size=14), "static images cannot have size 14"),
    ],
)
def test_bad_arguments_are_refused_at_construction(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()


@pytest.mark.data
def test_real_mnist_has_the_pixels_of_torchvision(real_data, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (real_data / "MNIST" / "raw").glob("*.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    data = MNIST(root=real_data, val_size=0)
    for split, train in (("train", True), ("test", False)):
        reference = torchvision.datasets.MNIST(str(tmp_path), train=train)
        images, labels = every(data, split)
        assert torch.equal(images[:, 0], reference.data)
        assert torch.equal(labels, reference.targets)


@pytest.mark.data
def test_real_counts(real_data):
    mnist = MNIST(root=real_data)
    assert [len(part) for part in mnist.splits[:3]] == [50_000, 10_000, 10_000]
    counts = torch.bincount(every(mnist, "test")[1]).tolist()
    assert counts == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    usps = USPS(root=real_data)
    assert [len(part) for part in usps.splits[:3]] == [6_562, 729, 2_007]
    counts = torch.bincount(every(usps, "test")[1]).tolist()
    assert counts == [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]
    static = BinarizedMNIST("static", root=real_data)
    assert [len(part) for part in static.splits[:3]] == [50_000, 10_000, 10_000]
    means = [every(static, split)[0].double().mean() / 255 for split in ("train", "val", "test")]
    assert [round(float(mean), 4) for mean in means] == [0.1306, 0.1311, 0.1325]
