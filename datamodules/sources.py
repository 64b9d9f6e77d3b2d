"""Where encoded images come from: the files of a folder, or of a zip that stays packed."""

import lzma
import os
import stat
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

LONGEST = 2**30  # bytes of one encoded image
BROKEN_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    KeyError,
    ValueError,
    RuntimeError,  # it has a password, or is compressed in a way of its own
)


class Source(ABC):
    """Where encoded images come from. A key is bytes, so that a million of them take little."""

    @abstractmethod
    def read(self, key: bytes) -> bytes:
        """The encoded image, or an OSError."""

    @abstractmethod
    def where(self, key: bytes) -> str:
        """The image's name in messages."""

    @abstractmethod
    def stamp(self, keys: Sequence[bytes]) -> str:
        """Changes when the images may have changed; made without reading them."""


class Files(Source):
    """Images that are files of a folder. A key is a path below it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: bytes) -> bytes:
        with open(self.where(key), "rb", buffering=0, opener=_open_at_once) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise OSError(None, "it is not a plain file")
            if facts.st_size > LONGEST:
                raise OSError(None, f"it has {facts.st_size:,} bytes, too many for an image")
            return file.read()

    def where(self, key: bytes) -> str:
        return os.path.join(self.folder, os.fsdecode(key))

    def stamp(self, keys: Sequence[bytes]) -> str:
        return repr((str(self.folder), [_stamp(self.where(key)) for key in keys]))


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for its writer


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns


class Zip(Source):
    """Images that are files of a zip, opened by each process when it first reads.

    A key is a path below the deepest folder that holds all of them.
    """

    _open: dict[str, tuple[int, zipfile.ZipFile]] = {}  # noqa: RUF012  # path: (process, zip)

    def __init__(self, path: Path) -> None:
        self.path, self.top = str(path), ""

    @property
    def archive(self) -> zipfile.ZipFile:
        process, archive = self._open.get(self.path, (0, None))
        if archive is None or process != os.getpid():  # processes that fork share a position
            archive = zipfile.ZipFile(self.path)
            self._open[self.path] = os.getpid(), archive
        return archive

    def names(self, wanted: Callable[[str], bool]) -> list[str]:
        """The keys of the wanted files as text, from the zip as it is now."""
        self._open.pop(self.path, None)
        every = dict.fromkeys(self.archive.namelist())  # each once
        names = [name for name in every if wanted(name) and not name.startswith("/")]
        self.top = os.path.commonpath(names).replace(os.sep, "/") if len(names) > 1 else ""
        self.top += "/" if self.top else ""
        return [name.removeprefix(self.top).replace("/", os.sep) for name in names]

    def read(self, key: bytes) -> bytes:
        try:
            name = self.top + os.fsdecode(key).replace(os.sep, "/")
            info = self.archive.getinfo(name)
            if info.file_size > LONGEST:
                raise OSError(None, f"it has {info.file_size:,} bytes, too many for an image")
            return self.archive.read(info)
        except BROKEN_ZIP as error:
            raise OSError(None, str(error).partition("\n")[0]) from None

    def where(self, key: bytes) -> str:
        return f"{self.path}:{self.top}{os.fsdecode(key)}"

    def stamp(self, keys: Sequence[bytes]) -> str:
        return repr((self.path, _stamp(self.path)))
