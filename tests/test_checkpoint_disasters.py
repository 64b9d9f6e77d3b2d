"""Kills in the middle of a write, full disks and folders that may not be written."""

import ctypes
import errno
import os
import random
import resource
import signal
import tempfile
import time
from pathlib import Path

import pytest
import torch

from lightning_gen.checkpoints import (
    newest_checkpoint,
    part_of,
    read_checkpoint,
    sweep,
    write_checkpoint,
)

from .test_checkpoints import FORK, in_child, large, names, realistic, tiny


class TestKills:
    def test_fifty_kills_leave_a_whole_checkpoint_at_most_one_write_old(
        self, tmp_path, monkeypatch
    ):
        if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
            pytest.skip("needs TMPDIR on another file system than the checkpoints")
        with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
            monkeypatch.setenv("TMPDIR", elsewhere)
            monkeypatch.setattr("tempfile.tempdir", None)
            assert tempfile.gettempdir() == elsewhere
            assert self.kill_many(tmp_path) >= 10  # in the middle of a write
            assert os.listdir(elsewhere) == []

    def kill_many(self, tmp_path):
        """How many of fifty kills left a part."""
        dice, cut, step = random.Random(0), 0, 0
        for _ in range(50):
            step = self.kill_one(tmp_path, step, dice.uniform(0, 0.03))
            parts = [path for path in tmp_path.iterdir() if path.name.startswith(".")]
            # While the old one moves it has two names.
            assert len({path.stat().st_ino for path in tmp_path.iterdir()}) <= 3
            cut += bool(parts)
            assert sweep(tmp_path) == len(parts)
            assert names(tmp_path) == ["last.ckpt", "previous.ckpt"]
        return cut

    def kill_one(self, folder, step, seconds):
        """The step of the newest checkpoint after a process that wrote on from `step` is killed."""

        def write():
            for k in range(step + 1, step + 10_000):
                write_checkpoint(large(k), folder / "last.ckpt", keep_previous=True)
                there.send(k)

        here, there = FORK.Pipe(duplex=False)
        child = FORK.Process(target=write)
        child.start()
        there.close()
        done = [here.recv(), here.recv()][-1]  # two writes, so that there is a previous one
        time.sleep(seconds)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        try:
            while True:
                done = here.recv()
        except EOFError:
            pass
        newest, content = newest_checkpoint(folder)
        assert newest.name == "last.ckpt"
        assert done <= content["global_step"] <= done + 1
        torch.testing.assert_close(content, large(content["global_step"]))
        previous = read_checkpoint(folder / "previous.ckpt")["global_step"]
        assert done - 2 <= previous < content["global_step"]
        return content["global_step"]

    @pytest.mark.parametrize("links", [True, False])
    def test_at_every_instant_a_whole_one_is_there_even_if_the_old_one_is_damaged(
        self, tmp_path, monkeypatch, links
    ):
        def looking(name):
            call = getattr(os, name)

            def look(*arguments, **options):
                seen.append(newest_checkpoint(tmp_path)[1]["global_step"])
                if name == "link" and not links:
                    raise OSError(errno.EPERM, "Operation not permitted")
                call(*arguments, **options)
                seen.append(newest_checkpoint(tmp_path)[1]["global_step"])

            return look

        seen: list[int] = []
        for step in (1, 2):
            write_checkpoint(tiny(step), tmp_path / "last.ckpt", keep_previous=True)
        for name in ("link", "replace", "unlink"):
            monkeypatch.setattr(os, name, looking(name))
        write_checkpoint(tiny(3), tmp_path / "last.ckpt", keep_previous=True)
        assert set(seen) == {2, 3}
        assert seen == sorted(seen)
        assert names(tmp_path) == ["last.ckpt", "previous.ckpt"]
        assert read_checkpoint(tmp_path / "previous.ckpt")["global_step"] == 2
        if links:
            (tmp_path / "last.ckpt").write_bytes(b"damaged")
            write_checkpoint(tiny(4), tmp_path / "last.ckpt", keep_previous=True)
            assert set(seen) == {2, 3, 4}

    def test_only_what_dead_processes_left_is_swept(self, tmp_path):
        dead = FORK.Process(target=int)
        dead.start()
        dead.join()
        part = part_of(tmp_path / "last.ckpt")
        mine = f".{os.getpid()}.part"
        of_dead, elsewhere, old = (
            part.with_name(part.name.replace(mine, f".{dead.pid}.part")),
            tmp_path / f".last.ckpt.elsewhere.example.{dead.pid}.part",
            tmp_path / f".last.ckpt.elsewhere{mine}",
        )
        for path in (part, of_dead, elsewhere, old, tmp_path / "last.ckpt", tmp_path / ".hidden"):
            path.touch()
        os.utime(old, (time.time() - 4000, time.time() - 4000))
        assert sweep(tmp_path) == 2
        assert names(tmp_path) == sorted([part.name, elsewhere.name, "last.ckpt", ".hidden"])
        assert sweep(tmp_path / "nowhere") == 0


def attempt(path, content):
    """The number and the sentence of the error with which a write fails, and what is left."""
    try:
        write_checkpoint(content, path, keep_previous=True)
    except OSError as error:
        return error.errno, str(error), names(Path("."))
    return None


class TestFullDisks:
    @pytest.mark.parametrize("content", [realistic(2), large(2)])
    @pytest.mark.parametrize("share", [0.0, 0.5, 0.999, 1.0])
    def test_a_file_that_may_not_grow(self, tmp_path, monkeypatch, content, share):
        def limited():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            return attempt(path, content)

        path = tmp_path / "last.ckpt"
        write_checkpoint(content, path)
        limit = max(0, int(share * path.stat().st_size) - 1)
        write_checkpoint(tiny(1), path)
        monkeypatch.chdir(tmp_path)
        self.check(path, in_child(limited), errno.EFBIG, "File too large")

    @pytest.mark.parametrize("what", ["full", "read-only"])
    def test_a_real_disk(self, tmp_path, what):
        def mounted():
            libc = ctypes.CDLL(None, use_errno=True)
            maps = {f"{kind}_map": f"0 {getattr(os, f'get{kind}')()} 1" for kind in ("uid", "gid")}
            if libc.unshare(0x10020000):  # a user and a mount namespace of its own
                return "no namespace"
            for name, line in {"setgroups": "deny", **maps}.items():
                Path("/proc/self", name).write_text(line)
            if libc.mount(b"none", bytes(tmp_path), b"tmpfs", 0, b"size=1m"):
                return "no mount"
            os.chdir(tmp_path)
            path = tmp_path / "last.ckpt"
            write_checkpoint(tiny(1), path)
            if what == "read-only" and libc.mount(b"none", bytes(tmp_path), None, 33, None):
                return "no read-only mount"
            found = attempt(path, large(2))
            free = os.statvfs(".").f_bavail * os.statvfs(".").f_frsize
            return path, found, free, newest_checkpoint(tmp_path)[1]["global_step"]

        found = in_child(mounted)
        if isinstance(found, str):
            pytest.skip(f"this machine lets nobody mount a small disk: {found}")
        number, why = {
            "full": (errno.ENOSPC, "No space left on device"),
            "read-only": (errno.EROFS, "Read-only file system"),
        }[what]
        path, failure, free, step = found
        assert step == 1
        assert f"with {free / 1e6:.1f} MB free" in failure[1]
        assert free > 900_000  # the part is gone
        self.check(path, failure, number, why, look=False)

    def test_a_folder_that_may_not_be_written(self, tmp_path, monkeypatch):
        def as_nobody():
            if os.getuid() == 0:
                os.setuid(65534)
            return attempt(Path("last.ckpt"), tiny(2))

        write_checkpoint(tiny(1), tmp_path / "last.ckpt")
        tmp_path.chmod(0o555)
        monkeypatch.chdir(tmp_path)
        try:
            self.check(Path("last.ckpt"), in_child(as_nobody), errno.EACCES, "Permission denied")
        finally:
            tmp_path.chmod(0o755)

    def check(self, path, failure, number, why, look=True):
        found, said, left = failure
        assert found == number
        assert said.startswith(f"could not write {path}: {why}, with ")
        assert said.endswith(" MB free; the checkpoint before it is whole")
        assert "\n" not in said
        assert left == ["last.ckpt"]
        if look:
            assert read_checkpoint(path)["global_step"] == 1

    def test_where_there_was_none_before(self, tmp_path, monkeypatch):
        def fail(_):
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

        monkeypatch.setattr("os.fsync", fail)
        with pytest.raises(OSError, match="Disk quota exceeded, .*; there is none before it$"):
            write_checkpoint(tiny(1), tmp_path / "last.ckpt")
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match="could not write .*: File exists, with"):
            write_checkpoint(tiny(1), tmp_path / "file" / "last.ckpt")
        assert names(tmp_path) == ["file"]
