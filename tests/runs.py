"""Real runs of `fit` in processes of their own, which may be killed, and what they leave."""

import contextlib
import csv
import os
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.util import _run_after_forkers
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from datamodules.decoding import MODES
from lightning_gen.cli.catalogue import read_catalogue

ROOT = Path(__file__).parents[1]
OWN = sorted((ROOT / "configs" / "digits").glob("*.yaml"))
# Of models without a config for digits, the one that the catalogue names.
OTHERS = [
    ROOT / row["config"]
    for row in read_catalogue()
    if Path(row["config"]).stem not in {path.stem for path in OWN}
]
CONFIGS = OWN + OTHERS
# The kind of images that a config needs, by its data set; of the others it is grey ones.
KINDS = {"BinarizedMNIST": "binary", "CIFAR10": "colour", "ColouredDigits": "masked"}
SIDES = {"binary": 28, "colour": 32, "masked": 28}
CHANNELS = {"colour": 3, "masked": 4}  # else grey
CLOCKED = {"images_per_second", "waiting_share", "peak_memory_gb"}
TRAIN, BATCH = 56, 8  # images; seven batches an epoch


def kind_of(content: dict[str, Any]) -> str:
    """Which images the model of a config needs: grey, binary or colour."""
    data = content["data"]
    kind = KINDS.get(data["class_path"].split(".")[-1], "grey")
    return "colour" if kind == "masked" and not data["init_args"].get("masks") else kind


def folder_of_digits(root: Path) -> Path:
    """Scikit-learn's digits as files, in classes, some of them to train on and some held out.

    They are grey; beside the folder, for `config_of`, are the same in black and white, and coloured.
    """
    images, labels = load_digits(return_X_y=True)
    for kind in ("grey", *SIDES):
        below = of_kind(root, kind)
        for k in range(TRAIN + 24):
            split = "train" if k < TRAIN else "val" if k < TRAIN + 12 else "test"
            folder = below / split / str(labels[k])
            folder.mkdir(parents=True, exist_ok=True)
            levels = (images[k].reshape(8, 8) / 16 * 255).round().astype(np.uint8)
            painted(Image.fromarray(levels), kind).save(folder / f"{k:03d}.png")
        for split in ("val", "test"):  # the same classes everywhere
            for label in range(10):
                (below / split / str(label)).mkdir(exist_ok=True)
    return root


def of_kind(root: Path, kind: str) -> Path:
    """Where the images of a kind are: the grey ones in the folder itself, the others beside it."""
    return root if kind == "grey" else root.with_name(f"{root.name}-{kind}")


def painted(image: Image.Image, kind: str) -> Image.Image:
    """A grey image in the size of a kind, and in its levels or colours."""
    side = SIDES.get(kind, 28)
    image = image.resize((side, side))
    if kind == "binary":
        return image.point(lambda level: 255 * (level > 127))
    turned = [image.rotate(10 * k) for k in range(CHANNELS.get(kind, 1))]
    return Image.merge(MODES[len(turned)], turned)


def config_of(source: Path, data: Path, target: Path, workers: int = 0, **trainer: Any) -> Path:
    """A config of the repository on a folder of few images, two epochs of them, logged each step."""
    content = yaml.safe_load(source.read_text())
    content.pop("checkpoint_every", None)
    kind = kind_of(content)
    size = content["data"]["init_args"].get("size", SIDES.get(kind, 28))
    content["model"] = small(content["model"]) if source in OTHERS else content["model"]
    content["data"] = {
        "class_path": "ImageFolder",
        "init_args": {
            "root": str(of_kind(data, kind)),
            "size": size,
            "channels": CHANNELS.get(kind, 1),
            "flip": False,
            "in_memory": False,
            "batch_size": BATCH,
            "num_workers": workers,
        },
    }
    adversarial = "generator" in content["model"]["init_args"]
    distance = {"n": 12, "extractor": "digits", "every_n_epochs": 1}
    kept = {k: v for k, v in content["trainer"].items() if k == "gradient_clip_val"}
    content["trainer"] = {
        **kept,
        "accelerator": "cpu",
        "max_epochs": 2,
        "max_steps": -1,
        "log_every_n_steps": 1,
        "limit_val_batches": 1,
        "callbacks": [{"class_path": "FID", "init_args": distance}] if adversarial else [],
        **trainer,
    }
    target.write_text(yaml.safe_dump(content))
    return target


def small(config: Any, key: str = "", widest: int = 8) -> Any:
    """A config of networks of few layers with 8 channels or units, and with few labels and orders."""
    if isinstance(config, dict):
        widest = 6 if config.get("channels") == 3 else widest  # which the colours divide
        return {name: small(value, name, widest) for name, value in config.items()}
    if isinstance(config, list):
        return [small(value, key, widest) for value in config]
    most = dict.fromkeys(("width", "widths", "head", "hidden"), widest)
    most |= {"labelled": 20, "depth": 3, "count": 2, "level_images": 16, "lower_images": 16}
    return min(config, most[key]) if config and key in most else config


def in_a_process(function: Callable[[], int | None], output: Path) -> int:
    """Runs a function in a forked process; its exit code, or minus the signal that killed it."""
    return ended(begun(function, output))


def ended(pid: int) -> int:
    """Waits for a process; its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def begun(function: Callable[[], int | None], output: Path) -> int:
    """Begins a function in a forked process, which writes to a file; the process's number."""
    sys.stdout.flush()
    output.parent.mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        _run_after_forkers()  # as multiprocessing does, which has threads that are not forked
        os.setpgid(0, 0)
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        for number, name in ((1, "stdout"), (2, "stderr")):
            stream = open(number, "w", buffering=1, closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)  # not pytest's
        code = function() or 0
    except BaseException:  # noqa: BLE001  # whatever it is, the process ends here
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):  # or the test goes on in two processes
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def fit(
    config: Path, run: Path, *arguments: str, die_at: int | None = None, dies: Any = None
) -> int:
    """`run.py fit` in a process of its own; it dies by SIGKILL after so many batches, if it is to."""
    from callbacks import LastCheckpoint
    from lightning_gen.cli import main

    def child() -> int:
        after = LastCheckpoint.on_train_batch_end

        def dying(self: Any, trainer: Any, *rest: Any) -> None:
            after(self, trainer, *rest)
            if trainer.fit_loop.epoch_loop.batch_progress.total.processed == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

        LastCheckpoint.on_train_batch_end = dying  # type: ignore[method-assign]
        if dies:
            dies()
        return main(["fit", f"--config={config}", f"--run_dir={run}", *arguments])

    return in_a_process(child, run.with_suffix(".log"))


def rows(run: Path) -> list[dict[str, str]]:
    """What is logged, less what a clock or the machine says."""
    with open(run / "metrics.csv", newline="") as file:
        found = [
            {k: v for k, v in row.items() if k not in CLOCKED and v} for row in csv.DictReader(file)
        ]
    return [row for row in found if set(row) - {"step", "images_seen"}]


def state(run: Path) -> dict[str, Any]:
    """All that the newest checkpoint holds, but where its logs and folders are."""
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return {k: v for k, v in content.items() if k not in ("logged", "recipe")}


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """Where two states are not the same bit for bit."""
    if isinstance(a, dict) and isinstance(b, dict):
        found = [f"{where}.{key} is in one only" for key in a.keys() ^ b.keys()]
        return found + [
            d for key in a.keys() & b.keys() for d in differences(a[key], b[key], f"{where}.{key}")
        ]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [d for k, pair in enumerate(zip(a, b)) for d in differences(*pair, f"{where}[{k}]")]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [f"{where} differs"]
    return [] if a == b else [f"{where}: {a} and {b}"]
