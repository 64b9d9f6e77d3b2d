"""No key, token or password in what a run writes or prints."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lightning_gen.cli import main
from lightning_gen.secrets import REDACTED, is_secret, redact

ROOT = Path(__file__).parents[2]
DCGAN = ROOT / "configs" / "digits" / "dcgan.yaml"
SECRET = """
    api_key apiKey APIKey apikey x-api-key api_keys WANDB_API_KEY COMET_API_KEY AWS_ACCESS_KEY_ID
    AWS_SECRET_ACCESS_KEY private_key ssh_key secret_key client_secret SECRETS token hf_token HF_TOKEN
    token2 authToken access_tokens refresh_token github-token auth basic_auth Authorization
    password db_password PASSWORD passwd pass.password.value credentials google_credential_file key
    --trainer.logger.init_args.api_key --x.key
"""
INNOCENT = """
    state_key keys state_dict_keys monitor tokens tokens_per_image num_tokens token_size token_embedding
    n_tokens tokenizer tokenize mask_token start_token cls_token author authors authority keyboard
    monkey turkey key_size keypoints keep_best primary_key sort_key label_key secretary bypass
    autoencoder pwd PWD PATH HOME SSH_AUTH_SOCK checkpoint_every lr betas
"""


@pytest.mark.parametrize("name", SECRET.split())
def test_names_of_secrets(name):
    assert is_secret(name)
    assert redact({name: "abc123def"}) == {name: REDACTED}


@pytest.mark.parametrize("name", INNOCENT.split())
def test_names_that_only_sound_like_it(name):
    assert not is_secret(name)
    value = {name: "abc123def"}
    assert redact(value) == value
    assert redact([f"--x.{name}=abc", f"--x.{name}", "abc"]) == [
        f"--x.{name}=abc",
        f"--x.{name}",
        "abc",
    ]
    assert redact(f"{name}: abc, {name}=abc") == f"{name}: abc, {name}=abc"


def test_numbers_are_passwords_rather_than_tokens():
    assert redact({"token": 256, "auth": True, "api_key": None, "key": 0.5, "keys": []}) == {
        "token": 256,
        "auth": True,
        "api_key": None,
        "key": 0.5,
        "keys": [],
    }
    assert redact({"token": 123456789, "password": 1234, "secret": None}) == {
        "token": REDACTED,
        "password": REDACTED,
        "secret": None,
    }
    assert redact(["--model.mask_token", "256", "--x.token=0"]) == [
        "--model.mask_token",
        "256",
        "--x.token=0",
    ]


def test_what_lies_under_such_a_name_is_secret_as_well():
    assert redact({"credentials": {"user": "me"}}) == {"credentials": REDACTED}
    assert redact({"a": [{"api_key": ["x", "y"]}], "b": ("u", {"token": "t"})}) == {
        "a": [{"api_key": [REDACTED, REDACTED]}],
        "b": ("u", {"token": REDACTED}),
    }
    part = {"token": {"class_path": "Part", "init_args": {"size": 4}}}
    assert redact(part) == part


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["--x.api_key=abc,d=e f"], ["--x.api_key=***"]),
        (["--x.api_key", "abc", "--y", "z"], ["--x.api_key", "***", "--y", "z"]),
        (["--x.token", "--y=z"], ["--x.token", "--y=z"]),
        (["--x+={api_key: abc, size: 3}"], ["--x+={api_key: ***, size: 3}"]),
        (['--x={"api_key": "a c", "n": 1}'], ['--x={"api_key": "***", "n": 1}']),
        (["--uri=https://me:abc@host/x"], ["--uri=https://***@host/x"]),
        (["--uri", "http://host/?token=abc&n=1"], ["--uri", "http://host/?token=***&n=1"]),
    ],
)
def test_command_lines(before, after):
    assert redact(before) == after
    assert redact(redact(before)) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("no key 'api_key': 'abc' in {'api_key': 'abc'}", "no key 'api_key': '***' in {'api_key': '***'}"),
        ("error: token: abc", "error: token: ***"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("unknown arguments: --x.token abc --y", "unknown arguments: --x.token *** --y"),
        ("mysql://me:p@ss@host:33/x and http://host/a@b", "mysql://***@host:33/x and http://host/a@b"),
        ("missing key: weight", "missing key: weight"),
        ("model.generator_optimizer names a.b; see token", "model.generator_optimizer names a.b; see token"),
    ],
)  # fmt: skip
def test_texts(before, after):
    assert redact(before) == after
    assert redact(after) == after


def test_contents_of_the_environment_are_secret_wherever_they_stand(monkeypatch, tmp_path):
    for name, value in {
        "WANDB_API_KEY": "planted-12",
        "OPENAI_KEY": "another.one+",
        "NUMBER_TOKEN": "1234567890",
        "SHORT_TOKEN": "seven77",
        "APP_SECRETS": str(tmp_path),  # where they are is none
        "STATE": "plain-text-here",
    }.items():
        monkeypatch.setenv(name, value)
    written = {"name": "run planted-12!", "n": 1234567890, "x": [f"{tmp_path}/x", "another.one+"]}
    assert redact(written) == {"name": "run ***!", "n": "***", "x": [f"{tmp_path}/x", "***"]}
    assert redact("unplanted-12 seven77 plain-text-here") == "unplanted-12 seven77 plain-text-here"


def test_a_config_of_the_platform_has_nothing_to_hide():
    import yaml

    for path in sorted((ROOT / "configs").glob("*/*.yaml")):
        content = yaml.safe_load(path.read_text())
        assert redact(content) == content


def test_a_long_text_is_searched_quickly():
    assert redact("key" * 100_000 + "=x").endswith("=x")


PLANTED = {
    "WANDB_API_KEY": "e0" * 20,
    "argument": "argument-token-5d41402abc4b",
    "option": "option-token-7d793037a076",
    "login": "login-password-9b74c9897bac",
    "unnamed": "unnamed-value-1f3870be274f",
}
CODE = """
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.callbacks import Callback

from lightning_gen.models.gans import GAN


class Remote(CSVLogger):
    def __init__(self, save_dir: str, api_key: str, uri: str, note: str = "") -> None:
        super().__init__(save_dir, name="", version="remote")
        assert api_key == "{argument}" and uri == "https://me:{login}@host/x", "redacted too early"
        assert note == "{unnamed}"


class Keyed(GAN):
    def __init__(self, api_key: str, **kwargs) -> None:
        super().__init__(**kwargs)
        assert api_key == "{argument}"


class Notifier(Callback):
    def __init__(self, token: str) -> None:
        assert token == "{option}"
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A short run that is given secrets in every way."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "remote.py").write_text(CODE.format(**PLANTED))
    command = [sys.executable, str(ROOT / "run.py"), "fit", f"--config={DCGAN}"]
    command += ["--model=remote.Keyed", f"--model.api_key={PLANTED['argument']}"]
    command += [f"--model.{net}.init_args.width=4" for net in ("generator", "discriminator")]
    command += ["--trainer.logger=WandbLogger", "--trainer.logger.save_dir=run"]
    command += ["--trainer.logger.offline=true", "--trainer.logger+=TensorBoardLogger"]
    command += ["--trainer.logger.save_dir=run", "--trainer.logger+=remote.Remote"]
    command += ["--trainer.logger.save_dir=run", f"--trainer.logger.api_key={PLANTED['argument']}"]
    command += [f"--trainer.logger.uri=https://me:{PLANTED['login']}@host/x"]
    command += [f"--trainer.logger.note={PLANTED['unnamed']}"]
    command += ["--trainer.callbacks+=remote.Notifier"]
    command += ["--trainer.callbacks.token", PLANTED["option"]]
    command += ["--run_dir=run", "--trainer.max_steps=2", "--trainer.accelerator=cpu"]
    variables = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "WANDB_MODE": "offline",
        "WANDB_API_KEY": PLANTED["WANDB_API_KEY"],
        "NOTES_TOKEN": PLANTED["unnamed"],
    }
    done = subprocess.run(
        [*command, "--allow-any-class"], cwd=folder, env=variables, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return folder / "run", done


@pytest.mark.slow
def test_no_file_of_a_run_holds_a_secret_nor_does_its_output(planted):
    folder, done = planted
    contents = {"stdout": done.stdout, "stderr": done.stderr}
    for path in folder.rglob("*"):
        if path.is_file():
            contents[str(path)] = path.read_bytes()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    contents |= {f"{path}:{n}": archive.read(n) for n in archive.namelist()}
    names = " ".join(contents)
    for kind in ("config.yaml", "environment.json", ".ckpt:", ".wandb", "tfevents", "hparams.yaml"):
        assert kind in names
    for secret in PLANTED.values():
        leaks = [name for name, content in contents.items() if secret.encode() in content]
        assert not leaks, f"{leaks} hold {secret}"
    assert b"api_key: '***'" in contents[str(folder / "config.yaml")]
    assert b"--model.api_key=***" in contents[str(folder / "environment.json")]


@pytest.mark.slow
def test_the_usual_trackers_keep_no_secret_of_the_command(tmp_path):
    command = [sys.executable, str(ROOT / "run.py"), "fit", f"--config={DCGAN}"]
    command += ["--run_dir=run", "--trainer.max_steps=1", "--trainer.accelerator=cpu"]
    command += [f"--data.root=http://me:{PLANTED['login']}@host"]
    variables = {**os.environ, "WANDB_MODE": "offline", "WANDB_API_KEY": PLANTED["WANDB_API_KEY"]}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert list(tmp_path.glob("run/wandb/*/*.wandb"))
    for path in tmp_path.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for secret in (PLANTED["login"], PLANTED["WANDB_API_KEY"]):
            assert secret.encode() not in content, path


@pytest.mark.parametrize("flags", [[], ["--debug"]])
def test_a_message_to_the_user_holds_no_secret(flags, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", "planted-in-the-environment")
    options = ["--trainer.logger=CSVLogger", "--trainer.logger.api_key=planted-as-an-option"]
    wrong = ["--trainer.max_steps=planted-in-the-environment"]
    for more in (options, wrong):
        command = ["run.py", *flags, "fit", f"--config={DCGAN}", "--trackers=[]", *more]
        with monkeypatch.context() as context:
            context.setattr(sys, "argv", command)
            assert main() == (1 if flags else 2)
        printed = "".join(capsys.readouterr())
        assert "planted" not in printed
        assert ("Traceback" in printed) is bool(flags)
        assert "rror: " in printed
