"""`run.py compare` as a user meets it."""

import subprocess
import sys

import pytest

from lightning_gen.cli import main

from ..cli.test_cli import ROOT
from .folders import DISTANCE, config_of, make_run, score, three_models


def test_the_table_is_printed_where_no_report_is_asked_for(tmp_path, capsys):
    assert main(["compare", str(three_models(tmp_path))]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# Comparison of runs") and "not distinguishable at n = 3" in out


def test_reports_by_their_suffixes_and_a_folder(tmp_path, capsys):
    root = three_models(tmp_path / "runs", seeds=(1, 2))
    outputs = [tmp_path / "new" / name for name in ("r.html", "r.md", "r.csv", "r.tex")]
    options = [word for path in outputs for word in ("--output", str(path))]
    assert (
        main(
            [
                "compare",
                str(root / "dcgan"),
                *options,
                str(root / "mlp"),
                f"--output={tmp_path / 'all'}",
                "--by=class",
            ]
        )
        == 0
    )
    assert all(path.stat().st_size > 50 for path in outputs)
    names = {path.name for path in (tmp_path / "all").iterdir()}
    assert names == {
        "compare.html",
        "compare.md",
        "compare.csv",
        "compare.tex",
        "runs.csv",
        "differences.csv",
    }
    assert capsys.readouterr().out.count("report ") == 10


def test_strict_refuses_protocols_that_differ(tmp_path, capsys):
    other = DISTANCE.replace("train-1297", "test-300")
    make_run(tmp_path / "a", {"fid/digits@2000": 1.0})
    make_run(tmp_path / "b", {"fid/digits@2000": score(2.0, other)}, config_of("LSGAN"))
    assert main(["compare", str(tmp_path), "--strict", "--output", str(tmp_path / "r.md")]) == 2
    said = capsys.readouterr().err
    assert (
        "differ in reference split, reference images" in said
        and "run.py evaluate --checkpoint" in said
    )
    assert not (tmp_path / "r.md").exists()
    assert main(["compare", str(tmp_path)]) == 0
    assert "to measure it again: run.py evaluate" in capsys.readouterr().out.lower().replace(
        "`", ""
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "runs must be given"),
        (["nowhere"], "nowhere does not exist"),
        (["RUNS", "--output", "r.pdf"], "reports end in .html"),
        (["RUNS", "--output"], "--output needs a file"),
        (["RUNS", "--output="], "--output needs a file"),
        (["RUNS", "--baseline", "DCGNA"], "did you mean DCGAN?"),
        (["RUNS", "--by", "model.latent"], "no run has a setting model.latent"),
        (["RUNS", "--bye", "model"], "compare --help"),
        (["wandb://me"], "entity/project"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path, capsys, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    root = three_models(tmp_path / "runs", seeds=(1,))
    assert main(["compare", *[str(root) if a == "RUNS" else a for a in arguments]]) == 2
    said = capsys.readouterr().err.strip()
    assert says in said and said.startswith("error: ") and "\n" not in said


def test_damaged_runs_are_said_and_the_rest_is_compared(tmp_path, capsys):
    root = three_models(tmp_path)
    (root / "mlp" / "seed-2" / "result.json").write_text("{")
    (root / "mlp" / "seed-3" / "config.yaml").write_bytes(b"\xff\xfe")
    assert main(["compare", str(root)]) == 0
    said = capsys.readouterr()
    assert (
        "mlp/seed-2: result.json cannot be read" in said.err and "mlp/seed-3: left out" in said.err
    )
    assert "(n = 1, 1 of 2 not measured)" in said.out


def test_runs_that_are_all_damaged_are_refused(tmp_path, capsys):
    (make_run(tmp_path / "a") / "config.yaml").write_text("[")
    assert main(["compare", str(tmp_path)]) == 2
    assert "none of these runs" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["plotly", "jinja2", "pandas"])
def test_what_is_not_installed_is_named_with_the_extra(tmp_path, module):
    three_models(tmp_path / "runs", seeds=(1,))
    code = f"import sys; sys.modules[{module!r}] = None; from lightning_gen.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "compare", "runs", "--output", "r.html"],
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert (
        done.returncode == 2
        and f"needs {module}; pip install 'lightning-gen[compare]'" in done.stderr
    )
