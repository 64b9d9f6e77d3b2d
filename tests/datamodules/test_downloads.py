"""What is downloaded is checked, whole or not there, and unpacked by our own hand."""

import hashlib
import io
import os
import pickle
import shutil
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import torchvision

from datamodules import CIFAR10, MNIST, USPS, CelebA, DataError
from datamodules.files import download

from .test_cifar import write_batches
from .test_photographs import write_celeba
from .tiny import write_mnist


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A folder that stands for the network, and what was asked of it."""
    folder, asked = tmp_path / "web", []
    folder.mkdir()

    def get(address, root, name, checksum):
        asked.append(address)
        data = (folder / address.rpartition("/")[2]).read_bytes()  # or an OSError
        with open(os.path.join(root, name), "wb") as file:
            file.write(data)
        if hashlib.md5(data).hexdigest() != checksum:
            raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr("datamodules.files.download_url", get)
    monkeypatch.setattr("datamodules.celeba.download_file_from_google_drive", get)
    return folder, asked


def test_a_file_comes_from_the_first_address_that_has_it_whole(web, tmp_path):
    folder, asked = web
    (folder / "file").write_bytes(b"good")
    (folder / "bad").write_bytes(b"half of it")
    path = tmp_path / "file"
    download(path, md5(folder / "file"), "http://a/missing", "http://b/bad", "http://c/file")
    assert path.read_bytes() == b"good"
    assert asked == ["http://a/missing", "http://b/bad", "http://c/file"]
    download(path, md5(folder / "file"), "http://a/missing")
    assert len(asked) == 3  # it is there
    with pytest.raises(RuntimeError, match="corrupted"):
        download(path, "0" * 32, "http://a/missing", "http://b/bad")
    assert path.read_bytes() == b"good"  # until it can be replaced
    assert sorted(os.listdir(tmp_path)) == ["file", "web"]


def test_a_download_that_dies_leaves_nothing_by_the_name(web, tmp_path, monkeypatch):
    def die(address, root, name, checksum):
        (tmp_path / root / name).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("datamodules.files.download_url", die)
    with pytest.raises(KeyboardInterrupt):
        download(tmp_path / "file", "0" * 32, "http://a/file")
    assert os.listdir(tmp_path) == ["web"]


def test_mnist_stays_packed(web, tmp_path, monkeypatch):
    folder, asked = web
    write_mnist(tmp_path / "source")
    raw = tmp_path / "source" / "MNIST" / "raw"
    for path in raw.iterdir():
        shutil.copy(path, folder)
    resources = [(path.name, md5(path)) for path in sorted(raw.iterdir())]
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    data = MNIST(root=tmp_path / "root", val_size=5)
    data.prepare_data()
    assert sorted(os.listdir(tmp_path / "root" / "MNIST" / "raw")) == [
        name for name, _ in resources
    ]
    assert len(data.splits.train) == 25
    assert asked == [f"{torchvision.datasets.MNIST.mirrors[0]}{name}" for name, _ in resources]
    MNIST(root=tmp_path / "root").prepare_data()
    assert len(asked) == 4


def write_cifar(path, evil=()):
    write_batches(path.parent / "source" / "cifar-10-batches-py", 2)
    with tarfile.open(path, "w:gz") as archive:
        archive.add(path.parent / "source" / "cifar-10-batches-py", "cifar-10-batches-py")
        for name in evil:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())


def official(monkeypatch, path, folder):
    """Has torchvision name the checksums of our files."""
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", md5(path))
    for part in ("train_list", "test_list"):
        known = [[n, md5(folder / n)] for n, _ in getattr(torchvision.datasets.CIFAR10, part)]
        monkeypatch.setattr(torchvision.datasets.CIFAR10, part, known)


def test_cifar_is_unpacked_by_us_and_checked(web, tmp_path, monkeypatch):
    folder, _ = web
    write_cifar(folder / "cifar-10-python.tar.gz")
    official(monkeypatch, folder / "cifar-10-python.tar.gz", folder / "source/cifar-10-batches-py")
    data = CIFAR10(root=tmp_path / "root", val_size=0)
    data.prepare_data()
    images, _ = data.splits.train[np.arange(2)]
    first = pickle.loads((folder / "source/cifar-10-batches-py/data_batch_1").read_bytes())
    assert np.array_equal(images.numpy().reshape(2, -1), first["data"])
    assert sorted(os.listdir(tmp_path / "root" / "CIFAR10")) == [
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
    ]


def test_an_archive_that_leads_outside_writes_nothing_there(web, tmp_path, monkeypatch):
    folder, _ = web
    path = folder / "cifar-10-python.tar.gz"
    write_cifar(path, ["../../escaped"])
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", md5(path))
    with pytest.raises(DataError, match=r"python\.tar\.gz cannot be unpacked at its member '\.\./"):
        CIFAR10(root=tmp_path / "root").prepare_data()
    assert not list(tmp_path.rglob("escaped"))
    assert os.listdir(tmp_path / "root" / "CIFAR10") == ["cifar-10-python.tar.gz"]


def test_celeba_fetches_what_is_missing_and_no_more(web, tmp_path, monkeypatch):
    pytest.importorskip("gdown")
    folder, asked = web
    write_celeba(tmp_path / "source", listed=14, present=13)
    source = tmp_path / "source" / "celeba"
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        for image in (source / "img_align_celeba").iterdir():
            archive.write(image, f"img_align_celeba/{image.name}")
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        shutil.copy(source / name, folder)
    known = [
        (f"drive/{file}", md5(folder / file) if (folder / file).exists() else "", file)
        for _, _, file in torchvision.datasets.CelebA.file_list
    ]
    monkeypatch.setattr(torchvision.datasets.CelebA, "file_list", known)
    data = CelebA(root=tmp_path / "root")
    data.prepare_data()
    assert [len(part) for part in data.splits[:3]] == [8, 2, 3]
    assert len(asked) == 3
    (tmp_path / "root" / "celeba" / "list_attr_celeba.txt").unlink()
    CelebA(root=tmp_path / "root").prepare_data()
    assert asked[3:] == ["drive/list_attr_celeba.txt"]


def test_what_google_drive_refuses_is_said_in_a_sentence(tmp_path, monkeypatch):
    gdown = pytest.importorskip("gdown")

    def refuse(*args):
        raise gdown.FileURLRetrievalError("Too many users have viewed this file.\n\nTry later.")

    monkeypatch.setattr("datamodules.celeba.download_file_from_google_drive", refuse)
    with pytest.raises(
        FileNotFoundError, match=r"downloaded \(Too many users .* this file.\); put"
    ):
        CelebA(root=tmp_path).prepare_data()
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(FileNotFoundError, match="it needs gdown: pip install gdown"):
        CelebA(root=tmp_path).prepare_data()
    assert os.listdir(tmp_path / "celeba") == []


def test_usps_is_fetched_as_it_is(web, tmp_path, monkeypatch):
    folder, asked = web
    for name in ("usps.bz2", "usps.t.bz2"):
        (folder / name).write_bytes(name.encode())
    known = {
        part: [url, name, md5(folder / name)]
        for part, (url, name, _) in torchvision.datasets.USPS.split_list.items()
    }
    monkeypatch.setattr(torchvision.datasets.USPS, "split_list", known)
    USPS(root=tmp_path).prepare_data()
    assert sorted(os.listdir(tmp_path / "USPS")) == ["usps.bz2", "usps.t.bz2"]
    assert len(asked) == 2
