"""Checkpoint files: any damage to them is found, and reading one never runs code."""

import errno
import hashlib
import io
import multiprocessing
import os
import pickle
import random
import re
import zipfile
from pathlib import Path

import pytest
import torch

from lightning_gen.checkpoints import (
    MAGIC,
    PIECE,
    DamagedCheckpoint,
    newest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)

STATUS = Path("/proc/self/status")
FORK = multiprocessing.get_context("fork")


def tiny(step):
    return {"global_step": step, "w": torch.full((3,), float(step))}


def realistic(step):
    """Weights, the state of Adam and hyper-parameters: 150 KB."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.Linear(256, 32))
    adam = torch.optim.Adam(network.parameters())
    sum(weights.square().sum() for weights in network.parameters()).backward()
    adam.step()
    states = {"state_dict": network.state_dict(), "optimizer_states": [adam.state_dict()]}
    return {"global_step": step, **states, "hyper_parameters": {"width": 32, "betas": (0.5, 0.9)}}


def large(step):
    """With a tensor of more than one piece, which the helper's thread hashes."""
    return {**tiny(step), "large": torch.full((PIECE // 2 + 1000,), float(step))}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def in_child(work, *arguments):
    """What `work` returns in a process of its own, or None if that was killed."""

    def send():
        there.send(work(*arguments))

    here, there = FORK.Pipe()
    child = FORK.Process(target=send)
    child.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        return None
    finally:
        child.join()


class TestFiles:
    @pytest.mark.parametrize("content", [tiny(3), realistic(3), large(3)])
    def test_everybody_reads_what_was_written(self, tmp_path, content):
        path = tmp_path / "a" / "last.ckpt"
        write_checkpoint(content, path)
        for read in (read_checkpoint, torch.load):
            torch.testing.assert_close(read(path), content, rtol=0, atol=0)
        torch.testing.assert_close(torch.load(path, mmap=True), content, rtol=0, atol=0)
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            assert archive.comment.startswith(MAGIC)
        plain = io.BytesIO()
        torch.save(content, plain)
        size = len(plain.getvalue())
        with open(path, "rb") as file:
            written = file.read(size - 2) + b"\0\0"
        assert archive.comment[len(MAGIC) :].decode() == hashlib.sha256(written).hexdigest()

    def test_neither_writing_nor_reading_holds_the_file_in_memory(self, tmp_path):
        def peaks():
            content = {"large": torch.ones(64 * 2**18)}  # 64 MiB
            peak(), write_checkpoint(content, tmp_path / "last.ckpt")
            writing = peak()
            return writing, (peak(), read_checkpoint(tmp_path / "last.ckpt"), peak())[2]

        def peak():
            """MiB by which memory rose above what it was at the last call."""
            kilobytes = dict(re.findall(r"(VmHWM|VmRSS):\s+(\d+)", STATUS.read_text()))
            rise = int(kilobytes["VmHWM"]) / 1024 - resident[0]
            resident[0] = int(kilobytes["VmRSS"]) / 1024
            Path("/proc/self/clear_refs").write_text("5")
            return rise

        resident = [0.0]
        write, read = in_child(peaks)
        assert write < 16
        assert read < 64 + 16

    def test_what_was_read_does_not_change_when_the_file_does(self, tmp_path):
        path = tmp_path / "last.ckpt"
        write_checkpoint(large(1), path)
        content = read_checkpoint(path)
        write_checkpoint(large(2), path)
        path.write_bytes(bytes(path.stat().st_size))
        torch.testing.assert_close(content, large(1))

    def test_what_cannot_be_saved_leaves_the_old_one(self, tmp_path):
        write_checkpoint(tiny(1), tmp_path / "last.ckpt", True)
        with pytest.raises((AttributeError, pickle.PicklingError)):
            write_checkpoint({**tiny(2), "f": lambda: 0}, tmp_path / "last.ckpt", True)
        assert names(tmp_path) == ["last.ckpt"]

    def test_an_interrupt_stays_an_interrupt(self, tmp_path, monkeypatch):
        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("os.posix_fadvise", interrupt)  # within torch's writer
        with pytest.raises(KeyboardInterrupt):
            write_checkpoint(large(1), tmp_path / "last.ckpt")
        assert names(tmp_path) == []


class TestDamage:
    @pytest.mark.parametrize("how", ["flipped", "cut short"])
    def test_of_a_hundred_damaged_files_each_is_found_and_the_one_before_is_taken(
        self, tmp_path, capsys, how
    ):
        path, dice = tmp_path / "last.ckpt", random.Random(0)
        for step in (1, 2):
            write_checkpoint(realistic(step), path, keep_previous=True)
        whole = path.read_bytes()
        for _ in range(100):
            data, place = bytearray(whole), dice.randrange(len(whole))
            if how == "flipped":
                data[place] ^= dice.randrange(1, 256)
            else:
                del data[place:]
            path.write_bytes(data)
            with pytest.raises(DamagedCheckpoint):
                read_checkpoint(path)
            newest, content = newest_checkpoint(tmp_path)
            assert (newest.name, content["global_step"]) == ("previous.ckpt", 1)
            said = capsys.readouterr().err
            assert said.startswith(f"{path} is ")
            assert said.endswith("; going on from previous.ckpt of step 1\n")
            assert said.count("\n") == 1

    def test_every_byte_of_a_file_counts(self, tmp_path):
        path = tmp_path / "last.ckpt"
        write_checkpoint({"global_step": 1}, path)
        whole = path.read_bytes()
        for place in range(len(whole)):
            for change in (1, 32, 255):
                damaged = bytearray(whole)
                damaged[place] ^= change
                path.write_bytes(damaged)
                with pytest.raises(DamagedCheckpoint):
                    read_checkpoint(path)
            path.write_bytes(whole[:place])
            with pytest.raises(DamagedCheckpoint):
                read_checkpoint(path)
        path.write_bytes(whole + b"\0")
        with pytest.raises(DamagedCheckpoint):
            read_checkpoint(path)

    def test_others_are_taken_by_their_step(self, tmp_path, capsys):
        for name, step in (("a", 7), ("b", 9), ("c", 8)):
            write_checkpoint(tiny(step), tmp_path / f"best-{name}.ckpt")
        assert newest_checkpoint(tmp_path)[1]["global_step"] == 9
        assert capsys.readouterr().err == ""
        for name in ("best-b", "last", "previous"):
            (tmp_path / f"{name}.ckpt").write_bytes(b"PK\x03\x04")
        assert newest_checkpoint(tmp_path)[0].name == "best-c.ckpt"
        said = capsys.readouterr().err
        assert said.endswith("; going on from best-c.ckpt of step 8\n")
        assert said.count("is damaged: its end is missing") == 3

    def test_where_none_is_whole_each_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no checkpoint in"):
            newest_checkpoint(tmp_path / "nowhere")
        for name in ("last.ckpt", "best.ckpt"):
            (tmp_path / name).touch()
        with pytest.raises(DamagedCheckpoint, match=r"last\.ckpt is damaged: .*best\.ckpt is dam"):
            newest_checkpoint(tmp_path)

    def test_a_disk_that_cannot_read_is_damage_too(self, tmp_path, monkeypatch):
        def fail(*_, **__):
            raise OSError(errno.EIO, "Input/output error")

        write_checkpoint(tiny(1), tmp_path / "last.ckpt")
        monkeypatch.setattr("torch.load", fail)
        with pytest.raises(DamagedCheckpoint, match=r"last.ckpt cannot be read: Input/output"):
            read_checkpoint(tmp_path / "last.ckpt")


class Bomb:
    def __init__(self, crater):
        self.crater = crater

    def __reduce__(self):
        return os.mkdir, (str(self.crater),)


class TestOthersFiles:
    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_file_of_plain_torch_is_read_if_it_is_whole(self, tmp_path, zipped):
        path, content = tmp_path / "a.ckpt", realistic(1)
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        torch.testing.assert_close(read_checkpoint(path), content)
        data = bytearray(path.read_bytes())
        place = data.index(content["state_dict"]["1.weight"].numpy().tobytes()[:64])
        data[place] ^= 1
        path.write_bytes(data)
        if zipped:
            with pytest.raises(DamagedCheckpoint, match="is damaged: the checksum of its part"):
                read_checkpoint(path)
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(DamagedCheckpoint):
            read_checkpoint(path)

    def test_what_is_no_checkpoint_is_told_apart(self, tmp_path):
        path = tmp_path / "a.ckpt"
        with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*a\.ckpt"):
            read_checkpoint(path)
        with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
            read_checkpoint(tmp_path)
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("a.txt", "text")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("archive/data.pkl", bytes(10**6))
        for data, why in (
            (b"", "is damaged: it is empty"),
            (bytes(1000), "is damaged: it is empty or begins with zeros"),
            (b"PK", "is not a checkpoint"),
            (b"weights: 1\n" * 9, "is not a checkpoint"),
            (random.Random(0).randbytes(10**4), "is not a checkpoint"),
            (archive.getvalue(), "is not a checkpoint"),
            (packed.getvalue(), "is not a checkpoint: torch.save compresses nothing"),
        ):
            path.write_bytes(data)
            with pytest.raises(DamagedCheckpoint, match=f"a.ckpt {why}"):
                read_checkpoint(path)
        torch.save([1, 2], path)
        with pytest.raises(DamagedCheckpoint, match="is not a checkpoint: it holds a list"):
            read_checkpoint(path)

    @pytest.mark.filterwarnings("ignore:Detected pickle protocol")
    def test_code_is_never_run(self, tmp_path):
        crater = tmp_path / "crater"
        content = {"global_step": 1, "bomb": Bomb(crater)}
        path = tmp_path / "last.ckpt"

        for write in (
            lambda: write_checkpoint(content, path),
            lambda: torch.save(content, path),
            lambda: torch.save(content, path, _use_new_zipfile_serialization=False),
            *(lambda p=p: path.write_bytes(pickle.dumps(content, p)) for p in range(1, 6)),
        ):
            write()
            with pytest.raises(
                DamagedCheckpoint, match=r"wants to run code: it names posix.mkdir|could run code"
            ):
                newest_checkpoint(tmp_path)
        assert not crater.exists()
        pickle.loads(pickle.dumps(content))
        assert crater.exists()  # it is a bomb
