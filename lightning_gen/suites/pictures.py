"""The picture of a matrix: the samples of each cell with its verdict, from the folders of the runs."""

import textwrap
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from lightning_gen.files import write_bytes

from .cells import At, Cell, cell_text, cells_of
from .jobs import Job
from .suite import Suite

WIDTH = 170  # most pixels of a cell
GAP, LINE, NAMES = 8, 16, 96  # pixels between cells, of a line of text, of the rows' names
LARGEST = 300_000  # bytes
COLOURS = (256, 64, 32, 16, 8)  # as many as stay below that


def draw_matrix(suite: Suite, scale: str, jobs: list[Job], found: At, path: Path) -> None:
    """Writes the picture of a scale, if any run is there to be seen.

    Arguments:
        suite: A matrix.
        scale: Which of its scales.
        jobs: Its runs; of several seeds the first is shown.
        found: What they found.
        path: Where the picture goes, a .png.
    """
    samples: dict[str, Image.Image] = {}
    for job in reversed(jobs):
        picture = samples_of(job.folder)
        if picture is not None:
            samples[job.row.slug] = picture
    if samples:
        write_bytes(path, encoded(panel(suite, cells_of(suite, scale, found), samples)))


def samples_of(run: Path) -> Image.Image | None:
    """The newest samples of a run, small enough for a cell."""
    path = run / "samples" / "latest.png"
    if not path.exists():
        return None
    with Image.open(path) as picture:
        whole = picture.convert("RGB")
    return whole.reduce(-(-whole.width // WIDTH))  # by a whole number, so that pixels stay pixels


def panel(
    suite: Suite, cells: Mapping[tuple[str, str], Cell], samples: Mapping[str, Image.Image]
) -> Image.Image:
    """Rows and columns of samples, by the name of each cell's runs, each above its verdict."""
    assert suite.matrix is not None
    rows, columns = suite.matrix.rows, suite.matrix.columns
    width = max(picture.width for picture in samples.values()) + GAP
    height = max(picture.height for picture in samples.values()) + LINE + GAP
    size = NAMES + len(columns) * width, LINE + GAP + len(rows) * height
    paper, font = Image.new("RGB", size, "white"), ImageFont.load_default(11)
    pen = ImageDraw.Draw(paper)
    for j, column in enumerate(columns):
        pen.text((NAMES + j * width, GAP // 2), column.name, "black", font)
    for i, row in enumerate(rows):
        top = LINE + GAP + i * height
        pen.text((GAP // 2, top), textwrap.fill(row.name, 15), "black", font)
        for j, column in enumerate(columns):
            left, picture = NAMES + j * width, samples.get(suite.matrix.slug(row, column))
            if picture is not None:
                paper.paste(picture, (left, top))
            said = cell_text(cells[row.name, column.name])
            pen.text((left, top + height - LINE - GAP), said, "black", font)
    return paper


def encoded(picture: Image.Image) -> bytes:
    """A picture as PNG, with fewer colours if it would be large."""
    best = b""
    for count in COLOURS:
        file = BytesIO()
        picture.quantize(count).save(file, "PNG", optimize=True)
        best = file.getvalue()
        if len(best) <= LARGEST:
            break
    return best
