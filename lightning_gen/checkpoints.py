"""Checkpoint files: written whole or not at all, verified when they are read, few.

A checkpoint is the zip archive that torch.save writes, with the SHA-256 of its bytes as the
archive's comment. Other readers take no notice of it, and a file and its digest never part.
"""

import contextlib
import difflib
import hashlib
import os
import pickle
import platform
import re
import shutil
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, BinaryIO

import torch

from .files import part_of

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
MAGIC = b"lightning_gen sha256 "
TRAILER = 2 + len(MAGIC) + 64  # bytes: the length of the comment, and the comment
NO_COMMENT = b"\0\0"  # the comment's length, the last field of an archive without one
ZIP, ZIP_END, END_SIZE = b"PK\x03\x04", b"PK\x05\x06", 22
PIECE = 1 << 21  # bytes that are written and hashed at a time
ABANDONED = 3600.0  # seconds without a byte; another machine's process cannot be asked for


class DamagedCheckpoint(ValueError):
    """A file that is not what was written, not a checkpoint, or more than data."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.add_note("take another checkpoint")


def write_checkpoint(content: dict[str, Any], path: Path, keep_previous: bool = False) -> None:
    """Writes a checkpoint that is either the old one or the new one, whenever the process dies.

    Arguments:
        content: What torch.save takes.
        path: Where to; its folder is made if need be.
        keep_previous: Whether the old one stays, as `previous.ckpt`.

    Raises:
        OSError: If it cannot be written, in one sentence. The old one is untouched then.
    """
    part = part_of(path)
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(part, "wb") as file:
                _save(content, file)
                file.flush()
                os.fsync(file.fileno())
            if keep_previous and path.name != PREVIOUS and path.is_file():
                _replace_and_keep(part, path)
            else:
                os.replace(part, path)
        finally:
            with contextlib.suppress(OSError):  # most often it has moved
                part.unlink()
    except OSError as error:
        raise _unwritten(path, error) from error
    _sync_folder(path.parent)


class _Hashed:
    """A file that hashes what is written to it, and keeps an error for later.

    Thrown into torch's writer, an error would come out as another, about positions in the file.
    """

    def __init__(self, file: BinaryIO, helper: Executor) -> None:
        self.file, self.flush, self.helper = file, file.flush, helper
        self.digest, self.waiting = hashlib.sha256(), 0
        self.hashing: list[Future[None]] = []
        self.error: BaseException | None = None

    def write(self, data: memoryview) -> int:
        if self.error is None:
            try:
                for start in range(0, len(data), PIECE):
                    self._write(data[start : start + PIECE])
            except BaseException as error:  # noqa: BLE001  # raised again after torch.save
                self.error = error
                wait(self.hashing)  # the bytes are torch's, which may free them after this
        return len(data)

    def _write(self, piece: memoryview) -> None:
        if len(piece) < PIECE:  # hashed sooner than handed over
            self.digest.update(piece)
        else:
            self.hashing = [self.helper.submit(self.digest.update, piece)]
        self.file.write(piece)
        self.waiting += len(piece)
        if self.waiting >= PIECE and hasattr(os, "posix_fadvise"):
            # The disk begins now, not at the end, and what it has need not stay in memory.
            with contextlib.suppress(OSError):  # a hint, which not all file systems take
                os.posix_fadvise(self.file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            self.waiting = 0
        for each in self.hashing:
            each.result()


def _save(content: dict[str, Any], file: BinaryIO) -> None:
    with ThreadPoolExecutor(1) as helper:
        hashed = _Hashed(file, helper)
        torch.save(content, hashed)  # type: ignore[arg-type]
    if hashed.error is not None:
        raise hashed.error
    file.seek(-len(NO_COMMENT), os.SEEK_END)
    file.write(_trailer(hashed.digest.hexdigest()))


def _trailer(digest: str) -> bytes:
    """The archive's comment, after its length."""
    comment = MAGIC + digest.encode()
    return len(comment).to_bytes(2, "little") + comment


def _replace_and_keep(part: Path, path: Path) -> None:
    """Moves a new checkpoint to its place and then the old one, which may be damaged."""
    previous = path.with_name(PREVIOUS)
    kept = part_of(previous)
    try:
        kept.unlink(missing_ok=True)  # of a process that had this number
        os.link(path, kept)
    except OSError:  # a file system without links
        os.replace(path, previous)
        os.replace(part, path)
        return
    try:
        os.replace(part, path)
        os.replace(kept, previous)
    finally:
        kept.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # for a loss of power; not every file system can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _unwritten(path: Path, error: OSError) -> OSError:
    folder = next(each for each in path.absolute().parents if os.path.isdir(each))
    free = shutil.disk_usage(folder).free / 1e6
    whole = any(os.path.exists(each) for each in (path, path.with_name(PREVIOUS)))
    old = "the checkpoint before it is whole" if whole else "there is none before it"
    why = error.strerror or error
    failure = OSError(f"could not write {path}: {why}, with {free:,.1f} MB free; {old}")
    failure.errno = error.errno
    return failure


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU, once every byte of the file is verified.

    It is not mapped: a tensor that stays in use would keep a replaced file on the disk.

    Raises:
        FileNotFoundError: If there is none.
        DamagedCheckpoint: If it is damaged, of another kind or wants to run code.
    """
    if not os.path.isfile(path):
        near = difflib.get_close_matches(str(path), map(str, Path(path).parent.glob("*.ckpt")), n=1)
        hint = f"did you mean {near[0]}?" if near else f"name a file, as RUN/checkpoints/{LAST}"
        raise FileNotFoundError(f"there is no checkpoint {path}; {hint}")
    with open(path, "rb") as file:
        try:
            head = file.read(len(ZIP))
            _verify(file, head)
            content = _load(file, head)
        except DamagedCheckpoint as error:
            raise DamagedCheckpoint(f"{path} {error}") from error.__cause__
        except OSError as error:
            raise DamagedCheckpoint(f"{path} cannot be read: {error.strerror or error}") from error
    if not isinstance(content, dict):
        raise DamagedCheckpoint(f"{path} is not a checkpoint: it holds a {type(content).__name__}")
    return content


def _verify(file: BinaryIO, head: bytes) -> None:
    """Raises DamagedCheckpoint if a file's bytes are not those that were written."""
    if not any(head):  # what some file systems leave after a loss of power
        raise DamagedCheckpoint("is damaged: it is empty or begins with zeros")
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TRAILER))
    trailer = file.read()
    if trailer[len(NO_COMMENT) :].startswith(MAGIC):
        if trailer != _trailer(_digest(file, size - TRAILER)):
            raise DamagedCheckpoint("is damaged: its bytes are not those that were written")
    elif head.startswith(ZIP):
        # A changed byte in a comment of ours makes it another's.
        if trailer[-END_SIZE:][:4] != ZIP_END or not trailer.endswith(NO_COMMENT):
            raise DamagedCheckpoint("is damaged: its end is missing or changed")
        _verify_foreign(file)


def _digest(file: BinaryIO, size: int) -> str:
    """The SHA-256 of what torch.save wrote, of which `size` bytes are as it wrote them."""
    digest = hashlib.sha256()
    file.seek(0)
    while size > 0 and (piece := file.read(min(size, 1 << 20))):
        digest.update(piece)
        size -= len(piece)
    digest.update(NO_COMMENT)
    return digest.hexdigest()


def _verify_foreign(file: BinaryIO) -> None:
    """What can be told of an archive without a digest: whether its checksums agree."""
    try:
        with zipfile.ZipFile(file) as archive:
            packed = any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist())
            broken = None if packed else archive.testzip()
    except Exception as error:  # zipfile's have no common base
        raise DamagedCheckpoint("is damaged: its table of contents cannot be read") from error
    if packed:
        raise DamagedCheckpoint("is not a checkpoint: torch.save compresses nothing")
    if broken is not None:
        raise DamagedCheckpoint(f"is damaged: the checksum of its part {broken} does not agree")


def _load(file: BinaryIO, head: bytes) -> Any:
    file.seek(0)
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=False)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # torch's have no common base either
        if code := re.search(r"GLOBAL (\S+)", str(error)):
            reason = f"wants to run code: it names {code[1]}"
        elif head.startswith(ZIP) and isinstance(error, pickle.UnpicklingError):
            reason = "wants to run code: it holds more than tensors and plain values"
        elif head.startswith(b"\x80"):
            reason = "is not a whole checkpoint but a bare pickle, which could run code"
        else:
            reason = "is not a checkpoint: torch.load cannot read it"
        raise DamagedCheckpoint(reason) from error


def newest_checkpoint(folder: Path, quiet: bool = False) -> tuple[Path, dict[str, Any]]:
    """The newest whole checkpoint of a folder and its content.

    The last one, or else the one before it, or else that of the highest step among all others.
    Damaged ones are named on stderr, unless it is to be `quiet`.

    Raises:
        FileNotFoundError: If there is none.
        DamagedCheckpoint: If none is whole.
    """
    damaged: list[str] = []
    others = sorted({path.name for path in folder.glob("*.ckpt")} - {LAST, PREVIOUS})
    for names in ([LAST], [PREVIOUS], others):
        whole = _whole([folder / name for name in names], damaged)
        if newest := max(whole, key=lambda each: each[0], default=None):
            step, path, content = newest
            if damaged and not quiet:
                on = f"going on from {path.name} of step {step}"
                print("; ".join([*damaged, on]), file=sys.stderr)
            return path, content
    if damaged:
        raise DamagedCheckpoint(f"no checkpoint in {folder} is whole: {'; '.join(damaged)}")
    raise FileNotFoundError(f"there is no checkpoint in {folder}; --ckpt_path auto begins anew")


def _whole(paths: Iterable[Path], damaged: list[str]) -> Iterator[tuple[int, Path, dict[str, Any]]]:
    for path in paths:
        try:
            content = read_checkpoint(path)
            step = content.get("global_step")
            yield step if isinstance(step, int) else -1, path, content
        except FileNotFoundError:
            continue
        except DamagedCheckpoint as error:
            damaged.append(str(error))


def sweep(folder: Path) -> int:
    """Removes what killed processes left half written, and says how many files that were."""
    here = re.compile(rf"\..+\.{re.escape(platform.node())}\.(\d{{1,9}})\.part")
    removed = 0
    for part in folder.glob(".*.part"):
        with contextlib.suppress(OSError):  # swept by another process, or not ours to remove
            ours = here.fullmatch(part.name)
            old = time.time() - part.stat().st_mtime > ABANDONED
            if old or (ours and not _alive(int(ours[1]))):
                part.unlink()
                removed += 1
    return removed


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:  # it may be there, but somebody else's
        return not isinstance(error, ProcessLookupError)
    return True
