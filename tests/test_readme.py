"""Every command of the README runs: `make` as a dry run, training for two steps, the rest as it is."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from lightning_gen.cli import main

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
LINES = [line for block in BLOCKS for line in block.strip().splitlines()]
SHORT = ["--trainer.max_steps=2", "--trainer.accelerator=cpu", "--trackers=[csv]", "--debug"]
NEEDS = {"configs/mnist/": "MNIST"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder to run in, with the repository's configs and a folder of the user's own images."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("readme")
    for name in ("configs", "benchmarks/suites"):
        shutil.copytree(ROOT / name, folder / name)
    images = folder / "path" / "to" / "images"
    images.mkdir(parents=True)
    for i in range(300):
        Image.new("RGB", (70, 80), (i % 256, 99, 0)).save(images / f"{i}.png")
    return folder


def test_there_are_commands():
    assert len(LINES) > 12


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_command_of_the_readme_runs(line, place, request, monkeypatch):
    monkeypatch.chdir(place)
    words = shlex.split(line)
    if words[0] == "make":
        subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
    elif words[0] in ("python3", "pip"):
        assert line in (
            "python3 -m venv .venv && . .venv/bin/activate",
            "pip install -c constraints.txt -e '.[all,dev]'",
        )  # what `make setup` does, which ran if this runs
        assert (ROOT / "constraints.txt").exists()
    else:
        assert words[:2] == ["python", "run.py"], f"who tests {line}?"
        for prefix, folder in NEEDS.items():
            needed = any(prefix in word for word in words)
            if needed and not (request.getfixturevalue("real_data") / folder).exists():
                pytest.skip(f"needs {folder} under LIGHTNING_GEN_DATA")
        arguments = shortened(words[2:])
        if "--trainer.devices" in arguments:
            subprocess.run(
                ["python", str(ROOT / "run.py"), *arguments], check=True, env=environment()
            )
        else:
            assert main(arguments) == 0


def environment():
    import os
    import sys

    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}


def shortened(words):
    """The command with two steps, two more for one that goes on, and small metrics."""
    if words[0] != "fit":
        return words
    kept = []
    for word in words:
        if kept and kept[-1] in ("--trainer.max_steps", "--trainer.max_epochs"):
            kept.pop()
        else:
            kept.append(word)
    steps = 4 if "--ckpt_path" in kept else 2
    config = ROOT / kept[kept.index("--config") + 1]
    quick = ["--trainer.callbacks=[]"] if "digits" not in config.parent.name else []
    return [*kept, *SHORT[1:], f"--trainer.max_steps={steps}", "--trainer.max_epochs=-1", *quick]
