"""Archives that mean harm, or are broken, are refused in one sentence and leave nothing."""

import gzip
import io
import os
import random
import shutil
import stat
import tarfile
import zipfile

import pytest

from datamodules import DataError
from datamodules.archives import Limits, unpack

FILES = {
    "top/a.txt": b"alpha" * 1000,
    "top/deep/er/b.bin": bytes(range(256)) * 40,
    "top/empty": b"",
}


def write_tar(path, members, mode="w:gz"):
    """Members are (name, data) or a TarInfo."""
    with tarfile.open(path, mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return path


def write_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    """Members are (name or ZipInfo, data)."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def info(name, kind, target="", mode=0o644):
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, target, mode
    return made


def zip_info(name, mode):
    made = zipfile.ZipInfo(name)
    made.create_system, made.external_attr = 3, mode << 16
    return made


def everything(folder):
    """All paths below a folder, and what the files hold."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def refused(archive, sentence, **kwargs):
    """Refuses, in one line that names the archive, and leaves nothing at all."""
    home = archive.parent
    before = everything(home)
    with pytest.raises(DataError, match=sentence) as caught:
        unpack(archive, home / "out", **kwargs)
    assert str(caught.value).startswith(f"{archive} cannot be unpacked")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert everything(home) == before


OUTSIDE = ["../evil", "a/../../evil", "/tmp/evil", "..", "a\\..\\..\\evil", "C:\\evil", "\\evil"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_lead_outside_are_refused(tmp_path, name, kind):
    write = write_tar if kind == "tar" else write_zip
    path = write(tmp_path / "home.a", [("good", b"x"), (name, b"evil")])
    refused(path, "leads out of the folder")


@pytest.mark.parametrize(
    "members",
    [
        [info("link", tarfile.SYMTYPE, "/etc")],
        [info("link", tarfile.SYMTYPE, "/etc"), ("link/passwd", b"evil")],
        [info("link", tarfile.SYMTYPE, "../..")],
        [info("a/link", tarfile.SYMTYPE, "../.."), ("a/link/evil", b"evil")],
        [info("link", tarfile.LNKTYPE, "/etc/passwd")],
        [info("link", tarfile.LNKTYPE, "../secret")],
        [info("link", tarfile.LNKTYPE, "not there")],
        # Each link is inside by its text; followed, they lead one up each time.
        [
            ("d/e/file", b""),
            info("d/e/up", tarfile.SYMTYPE, ".."),
            info("d/e/out", tarfile.SYMTYPE, "up/../.."),
        ],
        [info("one", tarfile.SYMTYPE, "."), info("two", tarfile.SYMTYPE, "one/..")],
        # A hard link to a symbolic one, and a file through it.
        [
            info("one", tarfile.SYMTYPE, "../secret"),
            info("two", tarfile.LNKTYPE, "one"),
            ("two", b"evil"),
        ],
        [info("device", tarfile.CHRTYPE)],
        [info("device", tarfile.BLKTYPE)],
        [info("pipe", tarfile.FIFOTYPE)],
        [("a", b""), ("a/b", b"a file below a file")],
        [("a/b", b""), ("a", b"a file over a folder")],
    ],
)
def test_links_and_devices_that_lead_outside_are_refused(tmp_path, members):
    (tmp_path / "secret").write_bytes(b"secret")
    path = write_tar(tmp_path / "a.tar", [("good", b"x"), *members], "w")
    refused(path, r"at its member '[^']+': ")
    assert (tmp_path / "secret").read_bytes() == b"secret"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "deep/../../.."])
def test_links_of_a_zip_that_lead_outside_are_refused(tmp_path, target):
    member = zip_info("link", stat.S_IFLNK | 0o777)
    path = write_zip(tmp_path / "a.zip", [("deep/x", b"x"), (member, target)])
    refused(path, r"'link': it is a link to .*, outside of the folder")
    device = zip_info("tty", stat.S_IFCHR | 0o666)
    refused(write_zip(tmp_path / "b.zip", [(device, b"")]), "'tty': it is neither a file")


ZEROS = bytes(10 * 2**20)


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2", "zip"])
def test_a_bomb_is_refused_by_its_ratio(tmp_path, mode):
    members = [("good", b"x"), ("bomb", ZEROS)]
    path = tmp_path / "bomb.a"
    write_zip(path, members) if mode == "zip" else write_tar(path, members, mode)
    assert path.stat().st_size * Limits().ratio < len(ZEROS)
    refused(path, r"'bomb': more than [\d,]+ bytes come out, as of a decompression bomb")
    unpack(path, tmp_path / "trusted", limits=Limits(ratio=10**6))
    assert (tmp_path / "trusted" / "bomb").read_bytes() == ZEROS


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path, monkeypatch):
    path = write_tar(tmp_path / "a.tar", [(f"{k}", bytes(2**20)) for k in range(20)], "w")

    written, remove = [], shutil.rmtree

    def look(part):
        written.append(sum(f.stat().st_size for f in part.rglob("*") if f.is_file()))

    monkeypatch.setattr("shutil.rmtree", lambda p, **k: (look(p), remove(p, **k)))
    refused(path, "more than 5,242,880 bytes", limits=Limits(size=5 * 2**20))
    assert max(written) <= 5 * 2**20


def test_a_zip_that_lies_about_sizes_is_stopped(tmp_path):
    path = write_zip(tmp_path / "a.zip", [("bomb", ZEROS)])
    data = path.read_bytes().replace(len(ZEROS).to_bytes(4, "little"), (9).to_bytes(4, "little"))
    path.write_bytes(data)
    refused(path, "'bomb': it is truncated or corrupt")


def test_copies_by_hard_links_count(tmp_path):
    links = [info(f"copy{k}", tarfile.LNKTYPE, "file") for k in range(300)]
    data = random.Random(0).randbytes(2**20)
    path = write_tar(tmp_path / "a.tar", [("file", data), *links], "w")
    refused(path, "more than [0-9,]+ bytes come out")


def test_a_header_without_end_is_refused(tmp_path):
    member = tarfile.TarInfo("x")
    member.pax_headers = {"comment": "y" * (3 * 2**20)}
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member)
    refused(tmp_path / "a.tar", "its header has more than 1,048,576 bytes")


def test_a_sparse_file_is_refused(tmp_path):
    member = tarfile.TarInfo("sparse")
    member.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "0,0",
        "GNU.sparse.size": str(2**50),
    }
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member)
    refused(tmp_path / "a.tar", "'sparse': it is neither a file, a folder nor a link")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_too_many_members_are_refused(tmp_path, kind):
    write = write_tar if kind == "tar" else write_zip
    path = write(tmp_path / "a", [(f"{k}", b"") for k in range(101)])
    refused(path, "'100': it has more than 100 members", limits=Limits(members=100))
    unpack(path, tmp_path / "out", limits=Limits(members=101))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2", "zip"])
def test_a_truncated_archive_is_refused_wherever_it_ends(tmp_path, mode):
    path, rng = tmp_path / "whole", random.Random(0)
    members = [(f"{k:02}", rng.randbytes(700)) for k in range(10)]
    write_zip(path, members) if mode == "zip" else write_tar(path, members, mode)
    data = path.read_bytes()
    end = len(data) if mode != "w" else 10 * (512 + 1024)  # zeros follow, of which one block counts
    short = tmp_path / "short"
    for length in [*range(0, end, 97), end - 1, end - 512]:
        short.write_bytes(data[:length])
        refused(short, "truncated or corrupt")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2", "zip"])
def test_damaged_archives_are_refused_or_harmless(tmp_path, mode):
    path, rng = tmp_path / "whole", random.Random(0)
    members = [(f"folder/{k:02}", rng.randbytes(700)) for k in range(6)]
    write_zip(path, members) if mode == "zip" else write_tar(path, members, mode)
    data = path.read_bytes()
    home = tmp_path / "home"
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 6)):
            damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        home.mkdir()
        (home / "a").write_bytes(damaged)
        try:
            unpack(home / "a", home / "out")
        except DataError as error:
            said = str(error)
            assert said.startswith(f"{home / 'a'} cannot be unpacked") and "\n" not in said  # noqa: PT017
            assert os.listdir(home) == ["a"]
        else:
            assert sorted(os.listdir(home)) == ["a", "out"]
        shutil.rmtree(home)


def test_no_archive_at_all_is_refused(tmp_path):
    for k, data in enumerate(
        [b"", b"<html>", b"PK", b"7z\xbc\xaf\x27\x1c", gzip.compress(b"text")]
    ):
        path = tmp_path / f"{k}" / "a"
        path.parent.mkdir()
        path.write_bytes(data)
        refused(path, "truncated or corrupt")


def test_a_password_is_said(tmp_path):
    path = write_zip(tmp_path / "a.zip", [("x", b"secret")])
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    refused(path, "encrypted, password required")


def test_a_folder_that_the_archive_does_not_have_is_said(tmp_path):
    path = write_tar(tmp_path / "a.tgz", FILES.items())
    refused(path, "'images': the archive has no such folder", below="images")
    members = [("x/y", b""), info("images", tarfile.SYMTYPE, "x")]
    (tmp_path / "b").mkdir()
    path = write_tar(tmp_path / "b" / "b.tgz", members)
    refused(path, "'images': the archive has no such folder", below="images")
