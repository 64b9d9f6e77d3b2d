"""Every input of a corpus of bad ones ends in one sentence that says what is wrong and what to do."""

import shutil
import time
from pathlib import Path

import pytest

from lightning_gen.cli import main

from .corpus import SMALL, Bad
from .corpus.checkpoints import CHECKPOINTS
from .corpus.configs import CONFIGS
from .corpus.data import DATA

ROOT = Path(__file__).parents[2]
PLAIN = ["--trackers=[]", "--trainer.accelerator=cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of one step, with its checkpoint."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "small.yaml").write_text(SMALL)
    arguments = [f"--config={folder / 'small.yaml'}", f"--run_dir={folder / 'run'}"]
    assert main(["fit", *arguments, *PLAIN]) == 0
    return folder / "run"


def arguments_of(bad: Bad) -> list[str]:
    """The command, with what makes a run small, and with configs of ours by their names."""
    ours = ROOT / "configs" / "digits"
    given = [
        f"--config={ours}/{a[1:]}.yaml" if a.startswith("@") else a for a in bad.command.split()
    ]
    if given[0] == "fit":
        given[1:1] = PLAIN
    return given


def write(bad: Bad, folder: Path) -> set[Path]:
    """Writes an input; all paths that are there then."""
    if callable(bad.files):
        bad.files(folder)
    else:
        content = bad.files
        (folder / "small.yaml").write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
    return set(folder.rglob("*"))


def check(bad: Bad, folder: Path, monkeypatch, capsys) -> None:
    """Runs a bad input: one sentence, soon, and nothing is left behind."""
    monkeypatch.chdir(folder)
    before = write(bad, folder)
    begin = time.monotonic()
    assert main(arguments_of(bad)) == 2
    assert time.monotonic() - begin < 10
    *notices, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert not any(line.startswith(("error: ", "Traceback", " ")) for line in notices)
    assert len(error) < 500
    at = 0
    for words in bad.says.split(" .. "):
        assert words in error[at:], error
        at = error.index(words, at) + len(words)
    assert set(folder.rglob("*")) == before


@pytest.mark.parametrize("case", CONFIGS)
def test_a_bad_config_ends_in_one_sentence(case, tmp_path, monkeypatch, capsys):
    check(CONFIGS[case], tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_a_bad_checkpoint_or_folder_ends_in_one_sentence(case, run, tmp_path, monkeypatch, capsys):
    shutil.copytree(run, tmp_path / "run")
    check(CHECKPOINTS[case], tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("case", DATA)
def test_bad_data_ends_in_one_sentence(case, tmp_path, monkeypatch, capsys):
    if "LMDB" in case or "data.mdb" in case:
        pytest.importorskip("lmdb")
    check(DATA[case], tmp_path, monkeypatch, capsys)


def test_the_corpus_is_as_large_as_promised():
    assert len(CONFIGS) + len(CHECKPOINTS) + len(DATA) >= 300
