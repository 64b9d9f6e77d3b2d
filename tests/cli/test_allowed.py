"""What a config or a checkpoint names is imported only if it is of the platform, or is trusted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse._common import parsing_settings

from lightning_gen.cli import main

ROOT = Path(__file__).parents[2]
DCGAN = ROOT / "configs" / "digits" / "dcgan.yaml"
FIT = ["--trackers=[]", "--run_dir=run", "--trainer.max_steps=0", "--trainer.accelerator=cpu"]
CODE = """\
import os, sys
open(f"ran{os.environ.get('LOCAL_RANK', '')}", "w").write(" ".join(sys.argv))
from pytorch_lightning import Callback, LightningModule
class Model(LightningModule): pass
class Part(Callback): pass
"""


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """Makes a module that leaves a file when it is imported; says whether it has been since."""
    (tmp_path / "evil.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def imported() -> bool:
        left = list(tmp_path.glob("ran*"))
        for file in left:
            file.unlink()
        return sys.modules.pop("evil", None) is not None or bool(left)

    yield imported
    sys.modules.pop("evil", None)


def config_with(**changes) -> list[str]:
    """Options that name the config of a DCGAN with parts of it replaced; `__` goes one level down."""
    content = yaml.safe_load(DCGAN.read_text())
    for path, value in changes.items():
        *parents, last = path.split("__")
        part = content
        for parent in parents:
            part = part[parent]
        part[last] = value
    Path("config.yaml").write_text(yaml.safe_dump(content))
    return ["--config=config.yaml"]


def given(*options: str) -> list[str]:
    return [f"--config={DCGAN}", *options]


MODEL, PART = {"class_path": "evil.Model"}, {"class_path": "evil.Part"}
WAYS = {
    "model": lambda: given("--model=evil.Model"),
    "a value of its own": lambda: given("--model", "evil.Model"),
    "class_path": lambda: given("--model.class_path=evil.Model"),
    "json": lambda: given('--model={"class_path": "evil.Model"}'),
    "data": lambda: given("--data=evil.Model"),
    "network": lambda: given("--model.generator=evil.Model"),
    "nested class_path": lambda: given("--model.init_args.generator.class_path=evil.Model"),
    "optimizer": lambda: given("--model.generator_optimizer=evil.Model"),
    "scheduler": lambda: given("--model.generator_scheduler=evil.Model"),
    "logger": lambda: given("--trainer.logger=evil.Part"),
    "callback": lambda: given("--trainer.callbacks=evil.Part"),
    "further callback": lambda: given("--trainer.callbacks+=evil.Part"),
    "list of callbacks": lambda: given("--trainer.callbacks=[evil.Part]"),
    "function of a callback": lambda: given(
        "--trainer.callbacks+=LambdaCallback", "--trainer.callbacks.on_fit_start=evil.Part"
    ),
    "plugin": lambda: given("--trainer.plugins=evil.Part"),
    "help": lambda: given("--model.help=evil.Model"),
    "printed config": lambda: given("--model=evil.Model", "--print_config"),
    "file: model": lambda: config_with(model=MODEL),
    "file: network": lambda: config_with(model__init_args__generator=MODEL),
    "file: optimizer": lambda: config_with(model__init_args__generator_optimizer=MODEL),
    "file: data": lambda: config_with(data=MODEL),
    "file: callbacks": lambda: config_with(trainer__callbacks=["SampleGrid", PART]),
    "file: logger": lambda: config_with(trainer__logger=PART),
}


def fit(arguments: list[str], *flags: str) -> int:
    """Runs `fit`; where the help was asked for, it ends like a process."""
    try:
        return main(["fit", *arguments, *FIT, *flags])
    except SystemExit as done:
        return int(done.code or 0)


@pytest.mark.parametrize("way", WAYS)
def test_code_of_others_is_run_only_if_it_is_trusted(way, evil, capsys):
    arguments = WAYS[way]()
    assert fit(arguments) == 2
    assert not evil()
    refused(capsys)
    fit(arguments, "--allow-any-class")
    assert evil()
    assert "warning: --allow-any-class" in capsys.readouterr().err
    assert fit(arguments) == 2  # the permission was for one command
    assert not evil()
    refused(capsys)


def refused(capsys, where: str = "") -> None:
    """Whether what was printed is one sentence that says what was refused and how to permit it."""
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert f"{where} names evil." in errors[0]
    assert "is not a class of the platform" in errors[0]
    assert errors[0].endswith("; if you trust its code, add --allow-any-class")
    assert len(errors[0]) < 200


@pytest.mark.parametrize(
    ("option", "where"),
    [
        ("--model=evil.Model", "model"),
        ("--model.generator=evil.Model", "model.generator"),
        ("--trainer.callbacks+=evil.Part", "trainer.callbacks"),
        ("--model.help=evil.Model", "--model.help"),
    ],
)
def test_the_refusal_says_where_the_class_is_named(option, where, evil, capsys):
    assert fit(given(option)) == 2
    refused(capsys, f"error: {where}")


def test_a_model_in_a_file_of_its_own_is_refused(evil, capsys):
    Path("model.yaml").write_text("class_path: evil.Model\n")
    assert fit(given("--model=model.yaml")) == 2
    assert not evil()
    refused(capsys)


def test_a_file_that_is_missing_is_not_taken_for_a_class(evil, capsys):
    assert fit(given("--model=nosuch.yaml")) == 2
    assert "model names nosuch.yaml, and there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_environment_variables_are_refused_too(command, evil, monkeypatch, capsys):
    monkeypatch.setenv("JSONARGPARSE_DEFAULT_ENV", "true")
    monkeypatch.setenv(f"PL_{command.upper()}__TRAINER__LOGGER", "evil.Part")
    assert main([command, *given(), *FIT]) == 2
    assert not evil()
    refused(capsys)


@pytest.mark.parametrize("flag", ["--allow-any-class", "--allow_any_class"])
def test_the_flag_is_no_setting_of_a_config(flag, evil, capsys):
    assert fit([*config_with(allow_any_class=True), "--trainer.callbacks=evil.Part"]) == 2
    assert not evil()
    assert fit([flag, *given("--trainer.callbacks=evil.Part")]) == 0
    assert evil()


@pytest.mark.parametrize(
    "path",
    [
        "torch.hub.load",
        "torch.utils.cpp_extension.BuildExtension",
        "torch.optim.adam.torch.hub.load",  # what an allowed module has imported
        "pytorch_lightning.cli.instantiate_class",
        "lightning_gen.cli.checkpoints.load_model",
        "subprocess.Popen",
    ],
)
def test_what_loads_and_runs_is_not_allowed_where_a_function_is_expected(path, evil, capsys):
    options = given("--trainer.callbacks+=LambdaCallback")
    assert fit([*options, f"--trainer.callbacks.on_fit_start={path}"]) == 2
    assert fit(given(f"--model={path}")) == 2
    assert fit(given("--model=lightning_gen.models.gans.GAN.load_from_checkpoint")) == 2


def test_classes_of_the_platform_and_of_its_libraries_are_allowed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = given(
        "--trainer.callbacks+=pytorch_lightning.callbacks.ModelSummary",
        "--trainer.plugins+=pytorch_lightning.plugins.environments.LightningEnvironment",
        "--model.generator_optimizer=torch.optim.RMSprop",
        "--model.generator_optimizer.lr=0.1",
    )
    assert fit(options) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--model=LSGANN", "there is no class LSGANN for model; did you mean LSGAN?"),
        ("--model.generator=MLPGeneratr", "for model.generator; did you mean MLPGenerator?"),
        ("--model=lightning_gen.models.gans.LSGANN", "has no attribute 'LSGANN' (for model)"),
    ],
)
def test_a_misspelt_class_of_ours_is_no_foreign_one(option, words, evil, capsys):
    assert fit(given(option)) == 2
    assert words in capsys.readouterr().err


def test_the_settings_of_the_parser_are_as_before_after_a_command(evil):
    before = dict(parsing_settings)
    fit(given("--model=evil.Model"))
    assert parsing_settings == before


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of no step, with its checkpoint."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    small = [f"--model.{net}.init_args.width=4" for net in ("generator", "discriminator")]
    options = [f"--run_dir={folder}", "--trackers=[]", "--trainer.accelerator=cpu"]
    assert main(["fit", *given(*small), *options, "--trainer.max_steps=1"]) == 0
    return folder


@pytest.mark.parametrize("key", ["_class_path", "generator", "generator_optimizer", "real_target"])
@pytest.mark.parametrize("flags", [[], ["--allow-any-class"]])
def test_a_checkpoint_names_no_code_to_run_whatever_is_trusted(key, flags, run, evil, capsys):
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    plain = key in ("_class_path", "real_target")
    content["hyper_parameters"][key] = "evil.Model" if plain else MODEL
    torch.save(content, "hostile.ckpt")
    assert main(["sample", "--checkpoint=hostile.ckpt", *flags]) == 2
    assert not evil()
    error = capsys.readouterr().err
    if key != "real_target":  # which is a number, so that no class is looked for
        assert "names evil.Model, which is not a class of the platform; a checkpoint can" in error
        assert "if you trust" not in error


def test_the_config_of_a_run_names_no_code_to_evaluate_on(run, evil, tmp_path, capsys):
    copy = tmp_path / "run" / "checkpoints" / "last.ckpt"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((run / "checkpoints" / "last.ckpt").read_bytes())
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump({"data": MODEL, "trainer": {}}))
    arguments = ["evaluate", f"--checkpoint={copy}", "--count=16"]
    assert main(arguments) == 2
    assert not evil()
    refused(capsys)
    assert main([*arguments, "--allow-any-class"]) == 2  # a model is no data, which it then finds
    assert evil()


@pytest.mark.slow
def test_the_flags_reach_the_processes_that_lightning_starts(evil, tmp_path):
    flags = ["--allow-any-class", "--debug"]
    options = [*given("--trainer.callbacks+=evil.Part", "--trainer.devices=2"), *FIT]
    done = subprocess.run(
        [sys.executable, ROOT / "run.py", *flags, "fit", *options],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("warning: --allow-any-class") == 1
    for name in ("ran", "ran1"):
        assert all(flag in (tmp_path / name).read_text() for flag in flags)
