"""Unpacking the archives of others: nothing outside of the folder, nothing without end, all or nothing.

An archive may name `../../.bashrc`, a link to `/etc` and a file to write through it, a device, or a
few kilobytes that unpack to all of the disk. Here each is refused in one sentence, and what was
unpacked until then goes. Owners, times and modes are not taken over.
"""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, Literal, NamedTuple

from .errors import DataError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,  # a zip with a password, or compressed in a way of its own
)
DECOMPRESSORS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\0": lzma.open,
    b"BZh": bz2.open,
    b"": io.FileIO,  # last, as everything begins with it
}
HEADER = 2**20  # bytes that a tar may spend on one header, which is read into memory
PIECE = 2**20


@dataclass(frozen=True)
class Limits:
    """How much may come out of an archive.

    Arguments:
        size: Bytes in all.
        members: Files, folders and links.
        ratio: Bytes for each byte of the archive; images give 1 to 5, text 10 to 40.
        free: Bytes that may come out whatever the ratio.
    """

    size: int = 2**38
    members: int = 10_000_000
    ratio: int = 200
    free: int = 2**20


class Entry(NamedTuple):
    """A member of an archive: a file has data, a link or a copy a target."""

    name: str
    kind: Literal["file", "folder", "link", "copy", "other"]
    target: str = ""
    data: IO[bytes] | None = None


class _Refused(Exception):
    """Why an archive is not unpacked."""


def unpack(archive: Path, folder: Path, below: str = "", limits: Limits | None = None) -> None:
    """Unpacks a .zip, or a .tar that may be compressed, into a folder that appears when all is there.

    Where another process unpacks the same folder, this waits for it.

    Arguments:
        archive: What kind it is, its first bytes say.
        folder: If it is there already, nothing is done.
        below: The folder of the archive that becomes `folder`; by default all of it.
        limits: See `Limits`.

    Raises:
        DataError: If the archive is broken or may do harm.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_name(f".{folder.name}.lock")):
        if folder.exists():
            return
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
        try:
            part.mkdir()
            _Unpacking(archive, part, limits or Limits()).run(below)
            os.rename(part / below, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)


class _Unpacking:
    """An archive on its way into a new folder, and the member where it is."""

    def __init__(self, archive: Path, root: Path, limits: Limits) -> None:
        self.archive, self.root, self.limits = archive, root, limits
        self.meter = _Meter(archive.stat().st_size, limits)
        self.member = ""
        self.links: dict[Path, str] = {}

    def run(self, below: str) -> None:
        """Unpacks all, or says in one sentence why not."""
        try:
            self._files()
            self._links(below)
        except _Refused as error:
            reason = f"{error}; get the archive from its publisher"
        except OSError as error:
            broken = "it is truncated or corrupt; replace it with a whole copy"
            reason = str(error.strerror) if error.errno else broken
        except BROKEN as error:
            cause = str(error).partition("\n")[0] or type(error).__name__
            reason = f"it is truncated or corrupt ({cause}); replace it with a whole copy"
        else:
            return
        at = f" at its member {self.member!r}" if self.member else ""
        raise DataError(f"{self.archive} cannot be unpacked{at}: {reason}")

    def _files(self) -> None:
        with open(self.archive, "rb") as file:
            magic = file.read(6)
        entries = _zip_entries if magic[:2] == b"PK" else _tar_entries
        for count, entry in enumerate(entries(self.archive, magic, self.meter), 1):
            self.member = entry.name
            if count > self.limits.members:
                raise _Refused(f"it has more than {self.limits.members:,} members")
            self._place(entry)

    def _place(self, entry: Entry) -> None:
        if entry.kind == "other":
            raise _Refused("it is neither a file, a folder nor a link")
        path = self.root / _inside(entry.name)
        if entry.kind == "folder":
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of members of the same name, the last counts
        self.links.pop(path, None)
        if entry.kind == "link":
            self.links[path] = entry.target
        elif entry.kind == "copy":
            original = self.root / _inside(entry.target)
            self.meter.add(original.stat().st_size)
            shutil.copyfile(original, path)
        elif entry.data is not None:
            with open(path, "xb") as file:
                shutil.copyfileobj(entry.data, file, PIECE)

    def _links(self, below: str) -> None:
        """Makes the links last, so that nothing can be written through one."""
        for path, target in self.links.items():
            self.member = str(path.relative_to(self.root))
            os.symlink(target, path)
        self.member, made = below, self.root / below
        if made.is_symlink() or not made.is_dir():
            raise _Refused("the archive has no such folder")
        top = os.path.realpath(made)
        for path, target in self.links.items():
            self.member = str(path.relative_to(self.root))
            inside = os.path.commonpath([os.path.realpath(path), top]) == top
            if path.is_relative_to(made) and (os.path.isabs(target) or not inside):
                raise _Refused(f"it is a link to {target!r}, outside of the folder")


def _inside(name: str) -> PurePosixPath:
    """The path of a member below the folder; refuses one that leads out of it on any system."""
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.anchor or ".." in path.parts + windows.parts:
        raise _Refused(f"{name!r} leads out of the folder")
    return path


class _Meter:
    """Counts the bytes that come out, and stops where they are too many."""

    def __init__(self, packed: int, limits: Limits) -> None:
        self.total = 0
        self.most = min(limits.size, max(limits.free, limits.ratio * packed))
        self.stop = self.most

    def add(self, count: int) -> None:
        self.total += count
        if self.total > self.most:
            raise _Refused(f"more than {self.most:,} bytes come out, as of a decompression bomb")
        if self.total > self.stop:
            raise _Refused(f"its header has more than {HEADER:,} bytes")


class _Metered:
    """A file to read from, whose bytes are counted."""

    def __init__(self, file: Any, meter: _Meter) -> None:
        self.file, self.meter = file, meter

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(PIECE if size < 0 else min(size, PIECE))
        self.meter.add(len(data))
        return data


class _Strict(tarfile.TarInfo):
    """Does not take a broken header, or none, for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Strict":
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise  # this is the end
            raise tarfile.ReadError(str(error)) from None


def _tar_entries(archive: Path, magic: bytes, meter: _Meter) -> Iterator[Entry]:
    start = next(start for start in DECOMPRESSORS if magic.startswith(start))
    with DECOMPRESSORS[start](archive) as file:
        stream: Any = _Metered(file, meter)
        meter.stop = HEADER
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Strict) as tar:
            while (member := tar.next()) is not None:
                meter.stop = meter.most
                yield _tar_entry(tar, member)
                meter.stop = meter.total + HEADER
                vars(tar)["members"].clear()  # or a million of them fill the memory
        meter.stop = meter.most
        while stream.read():  # the checksum is behind the last member
            pass


def _tar_entry(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    if member.isdir():
        return Entry(member.name, "folder")
    if member.issym() or member.islnk():
        return Entry(member.name, "link" if member.issym() else "copy", member.linkname)
    if not member.isreg() or member.issparse():  # a sparse file is as large as it says
        return Entry(member.name, "other")
    return Entry(member.name, "file", data=tar.extractfile(member))


def _zip_entries(archive: Path, _: bytes, meter: _Meter) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where it was not made on Unix
            if info.is_dir():
                yield Entry(info.filename, "folder")
            elif kind not in (0, stat.S_IFREG, stat.S_IFLNK):
                yield Entry(info.filename, "other")
            else:
                with file.open(info) as raw:
                    data: Any = _Metered(raw, meter)
                    if kind == stat.S_IFLNK:
                        yield Entry(info.filename, "link", os.fsdecode(data.read(4096)))
                    else:
                        yield Entry(info.filename, "file", data=data)


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Waits until no other process holds the lock, where the system knows such locks."""
    with _locked(lock):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _locked(lock: Path) -> IO[str]:
    """The lock's file, open and ours; who held it before may have removed it, and one came anew."""
    while True:
        file = open(lock, "w")  # noqa: SIM115  # the caller closes it
        if fcntl is None:
            return file
        with contextlib.suppress(OSError):  # some shared file systems have none
            fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                return file
        file.close()
