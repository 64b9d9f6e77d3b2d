"""python -m benchmarks.figures.toys: which modes of the ring and of the grid each game loses.

Runs the configs of `configs/ring` and `configs/grid` over several seeds, writes the table, and a picture
of the first seed's samples. A run that is finished is not made again.
"""

import lightning_gen._torchvision  # isort: skip  # noqa: F401

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from callbacks.curves import INK, WIDTH
from lightning_gen.files import write_bytes, write_text
from lightning_gen.tracking import read_results

ROOT = Path(__file__).parents[2]
DATA = ("ring", "grid")
GAMES = ("minimax", "gan", "lsgan", "wgan", "wgan_gp")
PANEL, TITLE = 190, 22  # pixels of a picture and of the line above it
HEAD = "| data | game | modes, by seed | good samples, median | CPU seconds a run, median |"


class Run(NamedTuple):
    """One run: of which data and game, with which seed, where."""

    data: str
    game: str
    seed: int
    folder: Path

    def make(self) -> None:
        """Trains, if that is not done yet, and notes what it took."""
        note = self.folder / "toys.json"
        if note.exists():
            return
        config = ROOT / "configs" / self.data / f"{self.game}.yaml"
        options = [f"--config={config}", f"--run_dir={self.folder}", "--trackers=[csv]"]
        before = seconds()
        command = [sys.executable, str(ROOT / "run.py"), "fit", *options, "--ckpt_path=auto"]
        subprocess.run(
            [*command, f"--seed_everything={self.seed}"], check=True, capture_output=True
        )
        write_text(note, json.dumps({"cpu_seconds": round(seconds() - before, 1)}) + "\n")

    def score(self, name: str) -> float:
        """A score by the name of its metric."""
        scores: dict[str, Any] = read_results(self.folder / "result.json")["scores"]
        found = next(value for key, value in scores.items() if key.startswith(f"{name}/"))
        return float("nan") if found["value"] is None else found["value"]

    def cost(self) -> float:
        """Of training, seconds of CPU time."""
        return json.loads((self.folder / "toys.json").read_text())["cpu_seconds"]


def seconds() -> float:
    """The CPU time of all child processes so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(runs: Sequence[Run]) -> str:
    """A line for each data and game, Markdown."""
    lines = [HEAD, "| --- | --- | --- | --- | --- |"]
    for data, game in dict.fromkeys((run.data, run.game) for run in runs):
        own = [run for run in runs if (run.data, run.game) == (data, game)]
        modes = ", ".join(f"{run.score('modes'):.0f}" for run in own)
        good = 100 * median(run.score("quality") for run in own)
        cost = median(run.cost() for run in own)
        lines.append(f"| {data} | {game} | {modes} | {good:.0f} % | {cost:.0f} |")
    return "\n".join(lines) + "\n"


def sheet(runs: Sequence[Run]) -> bytes:
    """The last pictures of these runs, a row for each data, as a PNG."""
    rows = list(dict.fromkeys(run.data for run in runs))
    columns = list(dict.fromkeys(run.game for run in runs))
    paper = Image.new("RGB", (len(columns) * PANEL, TITLE + len(rows) * PANEL), "white")
    draw = ImageDraw.Draw(paper)
    for k, game in enumerate(columns):
        draw.text(((k + 0.5) * PANEL, 4), game, INK, ImageFont.load_default(13), anchor="mt")
    for run in runs:
        with Image.open(run.folder / "samples" / "latest.png") as picture:
            points = picture.crop((0, 0, WIDTH, WIDTH)).resize((PANEL - 4, PANEL - 4))
        place = columns.index(run.game) * PANEL + 2, TITLE + rows.index(run.data) * PANEL
        paper.paste(points, place)
    encoded = BytesIO()
    paper.quantize(128, Image.Quantize.FASTOCTREE).save(
        encoded, "PNG", optimize=True
    )  # a third of the bytes of full colour
    return encoded.getvalue()


def main() -> None:
    """Makes the runs, prints the table and writes both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures.toys", description=__doc__)
    parser.add_argument("--data", nargs="+", default=DATA, choices=DATA)
    parser.add_argument("--games", nargs="+", default=GAMES, choices=GAMES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=Path("runs/toys"))
    parser.add_argument("--table", type=Path, default=Path("docs/results/toys.md"))
    parser.add_argument("--picture", type=Path, default=Path("docs/images/toys.png"))
    options = parser.parse_args()
    runs = [
        Run(data, game, seed, options.runs / f"{data}-{game}-{seed}")
        for data in options.data
        for game in options.games
        for seed in range(options.seeds)
    ]
    for run in tqdm(runs, desc="runs"):
        run.make()
    found = table(runs)
    print(found, end="")
    title = "# Modes that games lose\n\nGenerated by `python -m benchmarks.figures.toys`; see [toys](../toys.md)."
    write_text(options.table, f"{title}\n\n{found}")
    write_bytes(options.picture, sheet([run for run in runs if run.seed == 0]))


if __name__ == "__main__":
    main()
