"""LSUN: millions of photographs of one category each, in an LMDB.

References:
    | LSUN: Construction of a Large-scale Image Dataset (Yu et al., 2015)
    | https://arxiv.org/abs/1506.03365
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import DataError
from .files import hold_out, say
from .images import Encoded, Splits
from .photographs import Photographs
from .sources import Source

SLACK = 2**20  # bytes at the end of an LMDB, up to a hundredth, that may be free and not written


class LSUN(Photographs):
    """Photographs of one category, cropped to the centre square.

    A tenth of the training LMDB, but at most 10,000 images, is held out to test, because the
    official test part has no categories. The validation part is `<category>_val_lmdb`, which has
    300 images, or as many again held out where it is missing. There are no labels.

    Arguments:
        category: Such as "bedroom", for `lsun/bedroom_train_lmdb`.
        size: Height and width of what is served, pixels.
        resample: See `Photographs`.
        flip: Mirror half of the training images.
        in_memory: See `Photographs`.
        kwargs: See `ImageData`.
    """

    name = "lsun"

    def __init__(
        self,
        category: str = "bedroom",
        size: int = 64,
        resample: str = "bicubic",
        flip: bool = True,
        in_memory: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(size, None, resample, flip=flip, in_memory=in_memory, **kwargs)
        self.category = category
        self.source = f"{category}, {self.source}"

    def read(self) -> Splits:
        folder = self.root / "lsun"
        train, val = (folder / f"{self.category}_{part}_lmdb" for part in ("train", "val"))
        if not train.exists():
            raise FileNotFoundError(
                f"lsun needs {train}, which is missing; download and unpack it with the script at "
                "https://github.com/fyu/lsun, or set root to the folder that has lsun/"
            )
        every = read_lmdb(train, self.decoder)
        held = min(len(every) // 10, 10_000)
        if val.exists():
            kept, test = (every.subset(part) for part in hold_out(len(every), held))
            return Splits(kept, read_lmdb(val, self.decoder), test)
        say(f"lsun: no {val.name}, so {held:,} of {len(every):,} images are held out to validate")
        return Splits(*(every.subset(part) for part in hold_out(len(every), held, held)))


def read_lmdb(path: Path, decoder: Any) -> Encoded:
    """The images of an LMDB, in the order of its keys."""
    source = Lmdb(path)
    return Encoded(source, source.keys(), decoder)


class Lmdb(Source):
    """Images that are the values of an LMDB, opened by each process when it first reads.

    An open LMDB must not cross a fork, and must not be opened twice in a process.
    """

    _open: dict[str, tuple[int, Any]] = {}  # noqa: RUF012  # path: (process, LMDB), for all objects

    def __init__(self, path: Path) -> None:
        self.path, self.place = str(path), os.path.abspath(path)

    @property
    def environment(self) -> Any:
        process, environment = self._open.get(self.place, (None, None))
        if process != os.getpid():
            if environment is not None:
                environment.close()  # what came over a fork
            environment = open_lmdb(self.path)
            self._open[self.place] = os.getpid(), environment
        return environment

    def keys(self) -> list[bytes]:
        """All keys, in order."""
        environment = self.environment
        from lmdb import Error  # which is optional

        try:
            with environment.begin() as transaction:
                return list(transaction.cursor().iternext(values=False))
        except Error as error:
            raise damaged(self.path, error) from None

    def read(self, key: bytes) -> bytes:
        from lmdb import Error  # which is optional

        try:
            with self.environment.begin() as transaction:
                data = transaction.get(key)
        except Error as error:
            raise OSError(None, str(error).partition("\n")[0]) from None
        if data is None:
            raise OSError(None, "the LMDB no longer has it")
        return data

    def where(self, key: bytes) -> str:
        return f"{self.path}:{key.decode(errors='replace')}"

    def stamp(self, keys: Sequence[bytes]) -> str:
        stat = os.stat(Path(self.path) / "data.mdb")
        return repr((self.path, stat.st_size, stat.st_mtime_ns))


def open_lmdb(path: str) -> Any:
    """An LMDB to read from, without a lock file, so that its folder may be read-only."""
    try:
        import lmdb
    except ImportError:
        raise FileNotFoundError(f"{path} needs lmdb: pip install lmdb") from None
    try:
        environment = lmdb.open(path, readonly=True, lock=False, readahead=False, meminit=False)
    except lmdb.Error as error:
        raise damaged(path, error) from None
    wanted = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    size = os.path.getsize(os.path.join(path, "data.mdb"))
    if (
        size + min(SLACK, wanted // 100) < wanted
    ):  # it is mapped, and to read past its end kills the process
        environment.close()
        raise DataError(
            f"{path} is truncated: it has {size:,} of {wanted:,} bytes; replace it with a whole copy"
        )
    return environment


def damaged(path: str, error: Exception) -> DataError:
    """The sentence about an LMDB that its library gave up on."""
    return DataError(
        f"{path} is no LMDB that can be read ({str(error).splitlines()[0]}); replace it"
    )
