"""Data sets that are missing, incomplete, corrupt or dangerous."""

import gzip
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.datamodules.tiny import write_idx, write_mnist

from . import SMALL, Bad, Code, put

FOLDER = (
    "fit --config=small.yaml --data=ImageFolder --data.root=images --data.size=8 --data.channels=1"
)
ON_COLOURS = "--model.generator.shape=[3,8,8] --model.discriminator.shape=[3,8,8]"
ON_28 = "--model.generator.shape=[1,28,28] --model.discriminator.shape=[1,28,28]"
LSUN = f"fit --config=small.yaml --data=LSUN --data.root=. --data.size=8 {ON_COLOURS}"
CELEBA = "fit --config=small.yaml --data=CelebA --data.root=. --data.download=false"
MNIST = f"fit --config=small.yaml --data=MNIST --data.root=. --data.download=false --data.size=28 {ON_28}"


def images(**content: bytes | Callable[[Path], object] | None) -> Callable[[Path], object]:
    """Writes twenty images, of which some are something else; `a_png` is `a.png`."""

    def write(folder: Path) -> None:
        put("small.yaml", SMALL)
        Path("images").mkdir()
        for k in range(20):
            Image.new("L", (8, 8), k).save(f"images/{k:02}.png")
        for name, data in content.items():
            path = Path("images", name.lstrip("_").replace("_", "."))
            if callable(data):
                data(path)
            else:
                put(path, data)

    return write


def saved(image: Image.Image, kind: str, cut: int = 0) -> Callable[[Path], object]:
    """Writes an image, less some bytes at its end."""

    def write(path: Path) -> None:
        image.save(path, kind)
        path.write_bytes(path.read_bytes()[: path.stat().st_size - cut])

    return write


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG, which is all that says how large it is."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + body + struct.pack(">I", 99) + b"IDAT" + bytes(99)


def tiff_header(bands: int) -> bytes:
    """The beginning of a TIFF of 4x4 pixels with so many channels."""
    tags = [(256, 4), (257, 4), (258, 8), (259, 1), (262, 1), (273, 200), (277, bands)]
    tags += [(278, 4), (279, 16 * bands)]
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head.ljust(200, b"\0") + bytes(16 * bands)


def packed(
    name: str = "{:02}.png", change: Callable[[bytes], bytes] = bytes
) -> Callable[[Path], object]:
    """Writes twenty images as a zip, whose bytes are changed."""

    def write(folder: Path) -> None:
        images()(folder)
        with zipfile.ZipFile("images.zip", "w") as archive:
            for k in range(20):
                archive.writestr(name.format(k), Path(f"images/{k:02}.png").read_bytes())
        data = Path("images.zip").read_bytes()
        Path("images.zip").write_bytes(change(data))

    return write


def bomb(data: bytes) -> bytes:
    """A zip whose last member says that it unpacks to 4 GB."""
    at = data.rindex(b"PK\x01\x02")
    return data[: at + 24] + struct.pack("<I", 2**32 - 2) + data[at + 28 :]


def damaged(data: bytes) -> bytes:
    at = data.index(b"IDAT") + 5  # of the first image
    return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]


def mnist(change: Callable[[Path], object]) -> Callable[[Path], object]:
    """Writes a small MNIST and changes its folder."""

    def write(folder: Path) -> None:
        put("small.yaml", SMALL)
        write_mnist(folder)
        change(folder / "MNIST" / "raw")

    return write


def celeba(change: Callable[[Path], object]) -> Callable[[Path], object]:
    """Writes a CelebA of three images and changes its folder."""

    def write(folder: Path) -> None:
        put("small.yaml", SMALL)
        names = [f"{k:06}.jpg" for k in range(3)]
        for name in names:
            (folder / "celeba" / "img_align_celeba").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (178, 218)).save(folder / "celeba" / "img_align_celeba" / name)
        put("celeba/list_eval_partition.txt", "".join(f"{n} {k}\n" for k, n in enumerate(names)))
        head = " ".join(f"A{k}" for k in range(40))
        rows = "".join(f"{name} {'1 ' * 40}\n" for name in names)
        put("celeba/list_attr_celeba.txt", f"3\n{head}\n{rows}")
        change(folder / "celeba")

    return write


def lmdb(change: Callable[[Path], object]) -> Callable[[Path], object]:
    """Writes an LMDB and changes its file."""

    def write(folder: Path) -> None:
        put("small.yaml", SMALL)
        import lmdb

        path = Path("lsun/bedroom_train_lmdb")
        path.mkdir(parents=True)
        with lmdb.open(str(path), map_size=2**24) as database, database.begin(write=True) as into:
            for k in range(200):
                into.put(str(k).encode(), bytes(5000))
        (path / "lock.mdb").unlink()
        change(path / "data.mdb")

    return write


def scan(says: str, files: Callable[[Path], object], options: str = "") -> Bad:
    """A folder of images for the doctor."""
    return Bad(f"data folder --root=images --size=8{options}", says, files)


GREY = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))
MASTER = "train-images-idx3-ubyte.gz"
DATA = {
    "unknown data set": Bad("data digitz", "there is no data set digitz; did you mean digits?"),
    "no data set": Bad("data", "name must be given; see `run.py data --help`"),
    "size of digits": Bad("data digits --size=4", "size must be at least 8, which the digits have, got 4"),
    "size of CIFAR": Bad("data cifar10 --size=64", "cifar10 has images of one size only; leave --size out"),
    "what to do with corruption": Bad("data digits --on_corrupt=ignore", "on_corrupt must be one of fail, skip, got ignore; see `run.py data --help`"),
    "report into a file": Bad("data digits --output=small.yaml", "small.yaml"),
    "no root": Bad("data folder", "ImageFolder needs root, the folder that holds your images"),
    "missing root": Bad("data folder --root=images", "images is not a folder; set root to that of your images"),
    "text for a root": Bad("data folder --root=small.yaml", "small.yaml is neither a folder nor a whole .zip; unpack it .. set root"),
    "empty root": scan("images has no images; it should hold files such as .png or .jpg", lambda _: Path("images").mkdir()),
    "texts only": scan("images has no images; it should hold files such as .png or .jpg", lambda _: put("images/a.txt", "a")),
    "one image": scan("cannot hold 1 and 1 images out of 1 .. or add images", lambda _: put("images/a.png", "a")),
    "tests only": scan("images has images in test only, none to train on; put some in train", lambda _: put("images/test/a.png", "a")),
    "no pixel": Bad(FOLDER.replace("size=8", "size=0"), "size must be at least 1 pixel, got 0", images()),
    "negative size": scan("size must be at least 1 pixel, got -8", images(), " --size=-8"),
    "five channels": Bad(f"{FOLDER}0".replace("channels=10", "channels=5"), "channels must be 1, 2, 3 or 4, got 5", images()),
    "no crop": Bad(f"{FOLDER} --data.crop=0", "crop must be at least 1 pixel, got 0", images()),
    "large crop": Bad(f"{FOLDER} --data.crop=99", "00.png is 8x8, too small for a crop of 99; remove it or crop less", images()),
    "filter": Bad(f"{FOLDER} --data.resample=nearest", "resample must be one of box, bilinear, bicubic, lanczos, got nearest", images()),
    "all held out": Bad(f"{FOLDER} --data.val_size=19", "cannot hold 19 and 2 images out of 20 .. hold out fewer (val_size, test_size)", images()),
    "negative validation": Bad(f"{FOLDER} --data.val_size=-1", "val_size must not be negative, got -1", images()),
    "no test": Bad(f"{FOLDER} --data.test_size=0", "test_size must be at least 1, got 0", images()),
    "corruption to train on": Bad(FOLDER, "07.png cannot be decoded .. replace or remove it", images(_07_png=saved(GREY, "PNG", 2000))),
    "no byte": scan("07.png is not an image that Pillow can read; remove it", images(_07_png=b"")),
    "half a PNG": scan("07.png cannot be decoded .. truncated .. replace or remove it", images(_07_png=saved(GREY, "PNG", 2000))),
    "half a JPEG": scan("a.jpg cannot be decoded .. truncated .. replace or remove it", images(a_jpg=saved(GREY, "JPEG", 1500))),
    "half a GIF": scan("a.gif cannot be decoded .. replace or remove it", images(a_gif=saved(GREY, "GIF", 2000))),
    "text for an image": scan("a.jpg is not an image that Pillow can read; remove it", images(a_jpg=b"<html>404</html>")),
    "folder for an image": scan("a.png cannot be read .. put it back or remove it", images(a_png=lambda path: path.symlink_to("nowhere"))),
    "bomb": scan("a.png has more than .. pixels, which may be a decompression bomb; make it smaller or remove it", images(a_png=png_header(100_000, 100_000))),
    "image of no width": scan("a.png is not an image that Pillow can read; remove it", images(a_png=png_header(0, 8))),
    "five bands": scan("a.tif has 5 channels; at most 4 can be served", images(a_tif=tiff_header(5))),
    "floats": scan("a.tif has floating point levels; store it with 8 or 16 bits", images(a_tif=saved(Image.new("F", (8, 8)), "TIFF"))),
    "wide levels": scan("a.tif has levels outside 16 bits; store it with 8 or 16 bits", images(a_tif=saved(Image.new("I", (8, 8), 70_000), "TIFF"))),
    "program": scan("a.png is PostScript, which is a program; convert it or remove it", images(a_png=saved(Image.new("L", (8, 8)), "EPS"))),
    "all corrupt, skipped": scan("images in a row .. cannot be decoded; replace them", lambda _: [put(f"images/{k}.png", "x") for k in range(9)], " --on_corrupt=skip"),
    "half a zip": Bad("data folder --root=images.zip", "images.zip is neither a folder nor a whole .zip", packed(change=lambda data: data[:-50])),
    "zip without images": Bad("data folder --root=images.zip", "images.zip has no images", packed("{:02}.txt")),
    "zip of names that lead outside": Bad("data folder --root=images.zip", "images.zip has no images", packed("/tmp/{:02}.png")),
    "zip bomb": Bad("data folder --root=images.zip --size=8", "images.zip:19.png cannot be read (it has 4,294,967,294 bytes, too many for an image)", packed(change=bomb)),
    "zip with damage": Bad("data folder --root=images.zip --size=8", "images.zip:00.png cannot be read (Bad CRC-32 .. put it back or remove it", packed(change=damaged)),
    "no MNIST": Bad(MNIST, "mnist needs MNIST/raw/train-images-idx3-ubyte, which is missing; set root (or LIGHTNING_GEN_DATA)"),
    "half an idx": Bad(MNIST, f"{MASTER} is truncated or corrupt; replace it with a whole copy", mnist(lambda raw: put(raw / MASTER, (raw / MASTER).read_bytes()[:900]))),
    "no gzip": Bad(MNIST, f"{MASTER} is truncated or corrupt; replace it", mnist(lambda raw: put(raw / MASTER, "<html>404</html>"))),
    "empty idx": Bad(MNIST, f"{MASTER} is .. replace it", mnist(lambda raw: put(raw / MASTER, b""))),
    "magic of idx": Bad(MNIST, f"{MASTER} is not an idx file of bytes with 3 dimensions; replace it", mnist(lambda raw: put(raw / MASTER, gzip.compress(b"\0\0\x0d\3" + bytes(12))))),
    "idx that lacks images": Bad(MNIST, f"{MASTER} should hold 784000 bytes after its header but holds 784; replace it", mnist(lambda raw: put(raw / MASTER, gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, 1000, 28, 28) + bytes(784))))),
    "images of another size": Bad(MNIST, f"{MASTER} should hold 30 images of 28x28 .. replace both", mnist(lambda raw: write_idx(raw / MASTER, np.zeros((30, 8, 8))))),
    "more images than labels": Bad(MNIST, f"{MASTER} should hold 30 images of 28x28, as many as there are labels .. replace both", mnist(lambda raw: write_idx(raw / MASTER, np.zeros((31, 28, 28))))),
    "label of no digit": Bad(MNIST, "train-labels-idx1-ubyte.gz has a label above 9; replace it", mnist(lambda raw: write_idx(raw / "train-labels-idx1-ubyte.gz", np.full(30, 77)))),
    "labels that are missing": Bad(MNIST, "mnist needs .. t10k-labels-idx1-ubyte, which is missing", mnist(lambda raw: (raw / "t10k-labels-idx1-ubyte.gz").unlink())),
    "folder for a file": Bad(MNIST, "train-images-idx3-ubyte", mnist(lambda raw: (raw / "train-images-idx3-ubyte").mkdir())),
    "size of MNIST": Bad(f"{MNIST} --data.size=30", "size must be 28, 32 to pad with level 0, or 14 .. got 30"),
    "validation of more than all": Bad(MNIST, "cannot hold 10,000 images out of 30 .. hold out fewer (val_size", mnist(lambda _: None)),
    "binarization": Bad("fit --config=small.yaml --data=BinarizedMNIST --data.binarization=none", "data.binarization must be one of dynamic, static, got none"),
    "static digits": Bad("fit --config=small.yaml --data=BinarizedMNIST --data.binarization=static --data.root=. --data.download=false --data.size=28 --model.generator.shape=[1,28,28] --model.discriminator.shape=[1,28,28]", "binarized_mnist_train.amat should hold lines of 784 digits 0 or 1; replace it", lambda _: (put("binarized_mnist/binarized_mnist_train.amat", "0 1 2\n"), put("small.yaml", SMALL))),
    "no CelebA": Bad(CELEBA, "celeba needs celeba/img_align_celeba, which is missing; set root"),
    "crop of CelebA": Bad(f"{CELEBA} --data.crop=100", "data.crop must be one of 178, 148, 108, got 100"),
    "no attributes": Bad(CELEBA, "celeba needs celeba/list_attr_celeba.txt, which is missing", celeba(lambda folder: (folder / "list_attr_celeba.txt").unlink())),
    "attributes of another list": Bad(CELEBA, "list_attr_celeba.txt should list 40 attributes per image; replace it", celeba(lambda folder: put(folder / "list_attr_celeba.txt", "3\nMale\n"))),
    "attributes in bytes": Bad(CELEBA, "list_attr_celeba.txt is not a text; replace it", celeba(lambda folder: put(folder / "list_attr_celeba.txt", bytes(range(256))))),
    "parts of CelebA": Bad(CELEBA, "list_eval_partition.txt is corrupt; replace it", celeba(lambda folder: put(folder / "list_eval_partition.txt", "000000.jpg 7\n"))),
    "no faces": Bad(CELEBA, "has none of the list", celeba(lambda folder: put(folder / "list_eval_partition.txt", "x.jpg 0\n"))),
    "no LSUN": Bad(LSUN, "lsun needs lsun/bedroom_train_lmdb, which is missing; download"),
    "no data.mdb": Bad(LSUN, "lsun/bedroom_train_lmdb is no LMDB that can be read .. replace it", lambda _: (put("lsun/bedroom_train_lmdb/lock.mdb", ""), put("small.yaml", SMALL))),
    "text for an LMDB": Bad(LSUN, "lsun/bedroom_train_lmdb is no LMDB that can be read .. replace it", lmdb(lambda path: put(path, "x" * 9999))),
    "half an LMDB": Bad(LSUN, "lsun/bedroom_train_lmdb is truncated: it has .. replace it with a whole copy", lmdb(lambda path: put(path, path.read_bytes()[:500_000]))),
    "LMDB without images": Bad(LSUN, "lsun/bedroom_train_lmdb .. is not an image that Pillow can read; remove it", lmdb(lambda _: None)),
    "file for an LMDB": Bad(LSUN, "lsun/bedroom_train_lmdb is no LMDB that can be read .. replace it", lambda _: (put("lsun/bedroom_train_lmdb", "x"), put("small.yaml", SMALL))),
    "batches of CIFAR": Bad("fit --config=small.yaml --data=CIFAR10 --data.root=.", "data_batch_1", lambda _: (put("CIFAR10/cifar-10-batches-py/data_batch_1", pickle.dumps(Code())), put("small.yaml", SMALL))),
    "USPS": Bad(f"fit --config=small.yaml --data=USPS --data.root=. --data.size=28 {ON_28}", "usps.h5 is truncated or corrupt; replace it", lambda _: (put("USPS/usps.h5", "x"), put("small.yaml", SMALL))),
}  # fmt: skip
