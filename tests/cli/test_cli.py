"""The command line as a user meets it: a run from start to scores, and every mistake in a sentence."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from lightning_gen.cli import main
from lightning_gen.cli.catalogue import COLUMNS, read_catalogue

ROOT = Path(__file__).parents[2]
DCGAN = str(ROOT / "configs" / "digits" / "dcgan.yaml")
SMALL = [
    "--model.generator.init_args.width=8",
    "--model.discriminator.init_args.width=8",
    "--trainer.accelerator=cpu",
    "--trainer.log_every_n_steps=5",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A short run of DCGAN on digits."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    arguments = ["fit", "--config", DCGAN, f"--run_dir={folder}", "--trainer.max_steps=20", *SMALL]
    assert main([*arguments, "--trackers=[csv,tensorboard]"]) == 0
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def rows_text(folder: Path, step: int) -> str:
    """A row of losses at a step, as metrics.csv has them."""
    row = next(row for row in rows_of(folder) if row["generator/loss"])
    return ",".join({**row, "step": str(step)}.values()) + "\r\n"


def test_a_run_folder_explains_itself(run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["class_path"] == "lightning_gen.models.gans.GAN"
    assert config["model"]["init_args"]["generator"]["init_args"]["width"] == 8
    environment = json.loads((run / "environment.json").read_text())
    assert environment
    result = json.loads((run / "result.json").read_text())
    assert result["budget"]["steps"] == 20
    assert result["budget"]["images_seen"] == 20 * 64
    for score in result["scores"].values():
        assert isinstance(score["value"], float)
        assert score["protocol"].startswith("fid@2000:digits-")
    for name in ("checkpoints/last.ckpt", "samples/latest.png", "curves.png"):
        assert (run / name).stat().st_size > 0


def test_metrics_have_steps_and_images_seen_and_the_distance_at_the_start(run):
    rows = rows_of(run)
    assert all(int(float(row["images_seen"])) == int(row["step"]) * 64 for row in rows)
    losses = [int(row["step"]) for row in rows if row["generator/loss"]]
    assert losses == [5, 10, 15, 20]
    distances = [int(row["step"]) for row in rows if row["fid/digits@2000"]]
    assert distances == [0, 20]


def test_the_same_command_gives_the_same_numbers(run, tmp_path):
    arguments = ["fit", "--config", DCGAN, f"--run_dir={tmp_path / 'again'}", *SMALL]
    assert main([*arguments, "--trainer.max_steps=20", "--trackers=[csv]"]) == 0
    a, b = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (run, tmp_path / "again")
    )
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_goes_on_from_its_last_checkpoint(run, tmp_path):
    folder = tmp_path / "halves"
    arguments = ["fit", "--config", DCGAN, f"--run_dir={folder}", *SMALL, "--trackers=[csv]"]
    assert main([*arguments, "--trainer.max_steps=13", "--checkpoint_every=13"]) == 0
    with open(
        folder / "metrics.csv", "a"
    ) as file:  # as a killed run leaves it, past its checkpoint
        file.write(rows_text(folder, step=15))
    assert main([*arguments, "--trainer.max_steps=20", "--ckpt_path=last"]) == 0
    losses = [int(row["step"]) for row in rows_of(folder) if row["generator/loss"]]
    assert losses == [5, 10, 15, 20]
    a, b = (torch.load(f / "checkpoints" / "last.ckpt", weights_only=True) for f in (run, folder))
    assert a["images_seen"] == b["images_seen"]
    assert all(
        torch.equal(a["state_dict"][name], b["state_dict"][name]) for name in a["state_dict"]
    )


def test_samples_are_a_function_of_the_seed(run, tmp_path):
    checkpoint = f"--checkpoint={run / 'checkpoints' / 'last.ckpt'}"
    pictures = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        output = tmp_path / f"{name}.png"
        assert (
            main(["sample", checkpoint, "--count=9", f"--seed={seed}", f"--output={output}"]) == 0
        )
        pictures.append(output.read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_samples_do_not_depend_on_how_many_are_drawn_at_a_time(run, tmp_path):
    checkpoint = f"--checkpoint={run / 'checkpoints' / 'last.ckpt'}"
    pictures = []
    for size in (9, 4):
        output = f"--output={tmp_path / f'{size}.png'}"
        assert main(["sample", checkpoint, "--count=9", f"--batch_size={size}", output]) == 0
        pictures.append(np.asarray(Image.open(tmp_path / f"{size}.png")).astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 1  # kernels differ in their last bits


def test_evaluate_scores_a_checkpoint_and_says_what_it_cannot(run, capsys):
    checkpoint = f"--checkpoint={run / 'checkpoints' / 'last.ckpt'}"
    assert main(["evaluate", checkpoint, "--count=300"]) == 0
    printed = capsys.readouterr().out
    assert "bpd          n/a: GAN has no likelihood" in printed
    result = json.loads((run / "result.json").read_text())
    # The features and the split are those of the run.
    assert result["scores"]["fid/digits@300"]["protocol"].startswith("fid@300:digits-")
    assert ":digits-train-1297:" in result["scores"]["fid/digits@300"]["protocol"]
    assert result["budget"]["steps"] == 20  # that of the training still


def test_a_checkpoint_without_its_run_is_scored_but_leaves_nothing(
    run, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "alone"
    folder.mkdir()
    (folder / "some.ckpt").write_bytes((run / "checkpoints" / "last.ckpt").read_bytes())
    monkeypatch.chdir(folder)
    assert main(["evaluate", "--checkpoint=some.ckpt", "--data=digits", "--count=100"]) == 0
    assert "fid/digits@100" in capsys.readouterr().out
    assert [p.name for p in folder.iterdir()] == ["some.ckpt"]


def test_models_without_options_is_a_table(capsys):
    """Of as many lines as there are models, whose columns are below each other."""
    assert main(["models"]) == 0
    lines, rows = capsys.readouterr().out.splitlines(), read_catalogue()
    assert all(line.startswith(row["name"]) for line, row in zip(lines, rows, strict=True))
    assert len({line.index(f" {row['family']} ") for line, row in zip(lines, rows)}) == 1


def test_the_catalogue_tells_the_truth(capsys):
    import importlib

    from lightning_gen.capabilities import ALL

    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows == read_catalogue()
    assert all(set(row) == set(COLUMNS) for row in rows)
    for row in rows:
        module, name = row["class_path"].rsplit(".", 1)
        cls = getattr(importlib.import_module(module), name)
        has = {n for n, p in ALL.items() if all(hasattr(cls, m) for m in members(p))}
        assert set(row["capabilities"]) == has, row["name"]
        assert row["family"] in row["class_path"]


def test_every_model_is_in_the_catalogue():
    from pytorch_lightning import LightningModule

    from lightning_gen.cli import classes

    classes.import_classes()
    listed = {row["class_path"].split(".")[-1] for row in read_catalogue()}
    assert set(classes.subclasses_of(LightningModule)) == listed


def members(protocol: type) -> set[str]:
    names = {*vars(protocol), *vars(protocol).get("__annotations__", {})}
    return {name for name in names if not name.startswith("_")}


BAD = {
    "unknown command": (["fitt"], "did you mean fit?"),
    "unknown model": (["fit", "--config", DCGAN, "--model=NoSuch"], "no class NoSuch for model"),
    "misspelt model": (["fit", "--config", DCGAN, "--model=LSGANN"], "did you mean LSGAN?"),
    "model of another name before": (
        ["fit", "--config", DCGAN, "--model=GatedPixelCNN"],
        "GatedPixelCNN is now PixelModel with a GatedCausalStack network",
    ),
    "path of another name before": (
        ["fit", "--config", DCGAN, "--model=lightning_gen.models.autoregressive.GatedPixelCNN"],
        "GatedPixelCNN is now PixelModel with a GatedCausalStack network",
    ),
    "unknown argument": (
        ["fit", "--config", DCGAN, "--model.n_critc=3"],
        "GAN has no argument n_critc; did you mean n_critic?",
    ),
    "network in the wrong place": (
        ["fit", "--config", DCGAN, "--model.discriminator=MLPGenerator"],
        "no class MLPGenerator for model.discriminator",
    ),
    "unknown option": (["fit", "--config", DCGAN, "--trainer.max_stepz=3"], "max_stepz"),
    "missing config": (["fit", "--config=nosuch.yaml"], "nosuch.yaml"),
    "batch of nothing": (["fit", "--config", DCGAN, "--data.batch_size=0"], "got 0"),
    "missing data": (
        ["fit", "--config", str(ROOT / "configs/mnist/dcgan.yaml"), "--data.root=/nowhere", "--data.download=false"],
        "mnist needs /nowhere",
    ),
    "a file for a folder": (["fit", "--config", DCGAN, f"--run_dir={DCGAN}"], "is a file; name a folder"),
    "labels that the model has no class for": (
        ["fit", "--config", DCGAN.replace("dcgan", "gated_pixelcnn"), "--model.network.init_args.num_classes=5"],
        "conditioned on 5 classes but the data has 10",
    ),
    "shapes that differ": (
        ["fit", "--config", DCGAN, "--data.size=32"],
        "the model makes images of shape (1, 28, 28) but the data has (1, 32, 32)",
    ),
    "missing checkpoint": (["sample", "--checkpoint=nosuch.ckpt"], "there is no checkpoint"),
    "no checkpoint at all": (["sample", "--checkpoint", str(ROOT / "run.py")], "is not a checkpoint"),
    "samples that are no picture": (
        ["sample", "--checkpoint=nosuch.ckpt", "--output=samples.txt"],
        "a picture's name ends in .png, .jpg, .jpeg, got samples.txt",
    ),
    "unknown tool option": (["sample", "--chekpoint=x"], "see `run.py sample --help`"),
    "unknown data set": (["data", "digitz"], "did you mean digits?"),
    "unknown metric": (["evaluate", "--checkpoint=x", "--metrics=fod"], "did you mean fid?"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_ends_in_one_sentence(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments, words = BAD[case]
    more = ["--trackers=[]", "--trainer.accelerator=cpu"] if arguments[0] == "fit" else []
    assert main([*arguments, *more]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert words in errors[0]
    assert len(errors[0]) < 300


def test_a_checkpoint_of_another_model_is_refused(run, tmp_path, capsys):
    config = str(ROOT / "configs" / "digits" / "lsgan.yaml")
    checkpoint = f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
    assert main(["fit", "--config", config, checkpoint, f"--run_dir={tmp_path / 'x'}"]) == 2
    assert "is a checkpoint of GAN, but the config has LSGAN" in capsys.readouterr().err


def test_a_checkpoint_of_other_sizes_is_refused(run, tmp_path, capsys):
    arguments = ["fit", "--config", DCGAN, "--model.generator.init_args.width=4", "--trackers=[]"]
    checkpoint = f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
    assert main([*arguments, checkpoint, f"--run_dir={tmp_path / 'x'}"]) == 2
    assert "error: " in capsys.readouterr().err


def test_a_damaged_checkpoint_is_refused(run, tmp_path, capsys):
    whole = (run / "checkpoints" / "last.ckpt").read_bytes()
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(whole[: len(whole) // 2])
    assert main(["sample", f"--checkpoint={damaged}"]) == 2
    assert "damaged.ckpt is damaged" in capsys.readouterr().err


def test_wandb_is_offline_unless_asked_for(tmp_path, monkeypatch):
    from lightning_gen.cli.trackers import loggers

    pytest.importorskip("wandb")
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for variables, offline in (
        ({}, True),
        ({"WANDB_MODE": "offline", "WANDB_API_KEY": "x" * 40}, True),
        ({"WANDB_API_KEY": "x" * 40}, False),
        ({"WANDB_MODE": "online"}, False),
    ):
        with monkeypatch.context() as context:
            for name, value in variables.items():
                context.setenv(name, value)
            (logger,) = loggers(tmp_path, ["wandb"], None)
        assert logger._offline is offline
        assert logger._id == (tmp_path / "wandb_id.txt").read_text()  # one id for the run's life


def test_a_single_callback_need_not_be_a_list(tmp_path):
    arguments = ["fit", "--config", DCGAN, f"--run_dir={tmp_path / 'run'}", *SMALL]
    more = ["--trainer.callbacks=SampleGrid", "--trainer.max_steps=1", "--trackers=[]"]
    assert main([*arguments, *more]) == 0
    assert (tmp_path / "run" / "samples" / "latest.png").exists()


def test_two_fits_of_one_interactive_job_do_not_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    arguments = ["fit", "--config", DCGAN, *SMALL, "--trainer.max_steps=1", "--trackers=[]"]
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")  # what Lightning takes for an interactive job
    assert main(arguments) == 0
    assert main(arguments) == 0
    assert len(list(tmp_path.glob("runs/*/*"))) == 2


def test_a_run_is_not_overwritten(run, capsys):
    assert main(["fit", "--config", DCGAN, f"--run_dir={run}"]) == 2
    assert "holds a run already" in capsys.readouterr().err


def test_a_corrupt_image_in_a_folder_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(20):
        Image.new("RGB", (40, 40), (i, i, i)).save(folder / f"{i}.png")
    content = (folder / "7.png").read_bytes()
    (folder / "7.png").write_bytes(content[: len(content) // 2])
    assert main(["data", "folder", f"--root={folder}", "--size=32"]) == 2
    errors = capsys.readouterr().err
    assert "7.png" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_an_interrupted_run_says_how_to_go_on(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "run.py", "fit", "--config", DCGAN, *SMALL, "--trackers=[csv]"]
    child = subprocess.Popen(
        [*command, f"--run_dir={run}"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130
    assert f"--run_dir {run} --ckpt_path last" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_two_processes_are_launched_and_share_one_run_folder(tmp_path):
    command = [sys.executable, "run.py", "fit", "--config", DCGAN, *SMALL, "--trainer.devices=2"]
    command += [f"--run_dir={tmp_path / 'run'}", "--trainer.max_steps=10", "--trackers=[csv]"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["budget"]["processes"] == 2
    assert result["budget"]["images_seen"] == 640
    assert len(rows_of(tmp_path / "run")) >= 2
