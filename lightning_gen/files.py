"""Files that outlive a process: written whole or not at all, and where what is fetched is kept."""

import contextlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Writes a file that is either the old one or the new one, whenever the process dies."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """See `write_text`."""
    part = part_of(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(part, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            with contextlib.suppress(OSError):  # most often it has moved
                part.unlink()


def part_of(path: Path) -> Path:
    """The hidden file beside a path in which this process writes what will take its place."""
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.part")


def link(source: Path, target: Path) -> None:
    """Gives a file a second name, in the place of what may be there; a copy where there are no links."""
    part = part_of(target)
    with writing(target):
        part.unlink(missing_ok=True)
        try:
            os.link(source, part)
        except OSError:
            write_bytes(part, source.read_bytes())
        try:
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)  # also where both were one file already


def make_folder(path: Path) -> None:
    """Makes a folder, or says in one sentence why not."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"the folder {path} cannot be made: {error.strerror}; name another"
        ) from error


def append_text(path: Path, text: str) -> None:
    """Adds to a file all of a text or, if there is no room for it, nothing."""
    with writing(path), open(path, "ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            data = memoryview(text.encode())
            while data:
                data = data[file.write(data) :]
        except OSError:
            file.truncate(size)
            raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Has an OSError say in one sentence what could not be written, and why."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:  # it says so already
            raise
        failure = type(error)(f"could not write {path}: {error.strerror}")
        failure.errno = error.errno
        raise failure from error


def cache_folder() -> Path:
    """Where fetched weights, statistics of real images and digests of image files are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = os.environ.get("LIGHTNING_GEN_CACHE") or Path(home) / "lightning_gen"
    return Path(folder).expanduser()
