"""Good archives come out whole or not at all; what is unpacked in memory has a bound."""

import bz2
import gzip
import lzma
import os
import signal
import stat
import subprocess
import sys
import tarfile
import zipfile

import pytest

from datamodules import DataError
from datamodules.archives import unpack
from datamodules.files import content

from .test_archives import FILES, ZEROS, everything, info, refused, write_tar, write_zip


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2", "zip", "stored"])
def test_a_good_archive_comes_out_whole(tmp_path, mode):
    path = tmp_path / "archive"  # its name does not matter
    if mode.startswith("w"):
        write_tar(path, FILES.items(), mode)
    else:
        write_zip(path, FILES.items(), zipfile.ZIP_STORED if mode == "stored" else 8)
    unpack(path, tmp_path / "new" / "all")
    unpack(path, tmp_path / "top", below="top")
    unpack(path, tmp_path / "er", below="top/deep/er")
    out = everything(tmp_path / "new" / "all")
    assert {name: data for name, data in out.items() if data is not None} == FILES
    assert everything(tmp_path / "top") == {
        name.removeprefix("top/"): data for name, data in out.items() if name != "top"
    }
    assert os.listdir(tmp_path / "er") == ["b.bin"]
    assert sorted(os.listdir(tmp_path)) == ["archive", "er", "new", "top"]


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_names_of_every_kind_survive(tmp_path, format):
    names = ["ä/ü 1.png", "n" * 90 + "/" + "m" * 90, "./dot/./x", "a:b.png", "back\\slash"]
    with tarfile.open(tmp_path / "a.tar", "w", format=format) as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    names.remove("a:b.png")  # which is a drive on Windows
    refused(tmp_path / "a.tar", "'a:b.png'.*leads out of the folder")
    with tarfile.open(tmp_path / "b.tar", "w", format=format) as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    unpack(tmp_path / "b.tar", tmp_path / "out")
    assert {n for n, data in everything(tmp_path / "out").items() if data is not None} == {
        os.path.normpath(name) for name in names
    }


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    path = write_tar(tmp_path / "a.tgz", FILES.items())
    (tmp_path / "out").mkdir()
    unpack(path, tmp_path / "out")
    assert everything(tmp_path / "out") == {}


def test_links_that_stay_inside_are_kept(tmp_path):
    members = [
        ("top/a.txt", b"alpha"),
        info("top/same", tarfile.LNKTYPE, "top/a.txt"),
        info("top/deep/link", tarfile.SYMTYPE, "../a.txt"),
    ]
    unpack(write_tar(tmp_path / "a.tgz", members), tmp_path / "out", below="top")
    assert (tmp_path / "out" / "same").read_bytes() == b"alpha"
    assert (tmp_path / "out" / "deep" / "link").read_bytes() == b"alpha"
    assert (tmp_path / "out" / "deep" / "link").is_symlink()
    # What is inside of the archive is outside of the folder that is taken from it.
    members = [("other", b"x"), info("top/link", tarfile.SYMTYPE, "../other")]
    (tmp_path / "two").mkdir()
    refused(write_tar(tmp_path / "two" / "b.tgz", members), "outside of the folder", below="top")


def test_modes_and_owners_are_not_taken_over(tmp_path):
    member = info("root", tarfile.REGTYPE, mode=0o6777)
    member.uid = 12345
    unpack(write_tar(tmp_path / "a.tar", [member], "w"), tmp_path / "out")
    facts = (tmp_path / "out" / "root").stat()
    assert not facts.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH)
    assert facts.st_uid == os.getuid()


SLOW = """
import sys, time
from pathlib import Path
from datamodules import archives
place = archives._Unpacking._place
def slowly(self, entry):
    place(self, entry)
    print(entry.name, flush=True)
    time.sleep(0.2)
archives._Unpacking._place = slowly
archives.unpack(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_kill_in_the_middle_leaves_no_folder_and_the_next_one_cleans_up(tmp_path, kill):
    path = write_tar(tmp_path / "a.tgz", [(f"{k}", b"x" * 5000) for k in range(50)])
    command = [sys.executable, "-c", SLOW, str(path), str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert [process.stdout.readline() for _ in range(3)] == [b"0\n", b"1\n", b"2\n"]
        process.send_signal(kill)
    assert process.returncode != 0
    assert not (tmp_path / "out").exists()
    if kill == signal.SIGINT:
        assert os.listdir(tmp_path) == ["a.tgz"]
    unpack(path, tmp_path / "out")
    assert len(os.listdir(tmp_path / "out")) == 50
    assert sorted(os.listdir(tmp_path)) == ["a.tgz", "out"]


def test_two_processes_that_unpack_the_same_do_it_once(tmp_path):
    path = write_tar(tmp_path / "a.tgz", [(f"{k}", b"x") for k in range(5)])
    command = [sys.executable, "-c", SLOW, str(path), str(tmp_path / "out")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    lines = [process.communicate()[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(map(len, lines)) == [0, 5]
    assert len(os.listdir(tmp_path / "out")) == 5


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_what_is_unpacked_in_memory_has_a_bound(tmp_path, suffix, pack):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(pack(ZEROS))
    assert content(path) == ZEROS
    assert content(path, most=len(ZEROS)) == ZEROS
    with pytest.raises(DataError, match=f"file{suffix} has more than 10,485,759 bytes once"):
        content(path, most=len(ZEROS) - 1)
    for data in (path.read_bytes()[:-3], path.read_bytes()[:20], b"no archive"):
        path.write_bytes(data)
        with pytest.raises(DataError, match=f"file{suffix} is truncated or corrupt"):
            content(path)


@pytest.mark.slow
def test_a_bomb_in_memory_takes_no_more_memory_than_its_bound(tmp_path):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(400):
            file.write(bytes(2**20))
    code = """
import resource, sys
from pathlib import Path
from datamodules.files import content
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    content(Path(sys.argv[1]), most=2**25)
except ValueError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    command = [sys.executable, "-c", code, str(path)]
    grown = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert grown < 80 * 1024  # KiB
