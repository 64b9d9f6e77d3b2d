"""Suites: what is missing is run, what is there is not run again, and every number has a run behind it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from lightning_gen.cli import main
from lightning_gen.cli.reproducing import SUITES, find_suite
from lightning_gen.suites import engines
from lightning_gen.suites.jobs import jobs_of
from lightning_gen.suites.results import document, of_present_settings, outcomes
from lightning_gen.suites.suite import read_suite

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs" / "digits"
FAST = {"trainer.max_epochs": 1, "trainer.accelerator": "cpu", "trainer.callbacks": []}


def row(name="VAE", config="vae", score="nll/bound", expect=(0, 1e6), seeds=(0, 1), **overrides):
    scale = {
        "seeds": list(seeds),
        "cost": {"minutes": 0.1, "machine": "one CPU core"},
        "expect": {score: list(expect)},
        "overrides": {**FAST, **overrides},
    }
    published = {score: {"value": 100.0, "source": "a paper"}}
    return {
        "name": name,
        "config": str(CONFIGS / f"{config}.yaml"),
        "published": published,
        "scales": {"short": scale},
    }


def suite_of(folder, *rows):
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({"title": "Tiny", "about": "Digits.", "rows": list(rows)}))
    return path


def reproduce(folder, *more):
    """Runs the command in this process; its exit code."""
    arguments = [
        str(folder / "tiny.yaml"),
        f"--output={folder / 'runs'}",
        f"--results={folder / 'results'}",
    ]
    try:
        return main(["reproduce", *arguments, *more])
    except SystemExit as stop:
        return stop.code


def runs_of(folder):
    return jobs_of(read_suite(folder / "tiny.yaml"), "short", folder / "runs")


@pytest.mark.slow
def test_what_is_missing_is_run_judged_and_not_run_again(tmp_path, capfd):
    suite_of(tmp_path, row(), row("VAE, too good", expect=[0, 1], seeds=[0]))
    assert reproduce(tmp_path, "--dry_run") == 0
    assert reproduce(tmp_path, "--dry_run", "true") == 0
    said = capfd.readouterr().out
    assert "scale short: 3 runs" in said
    assert "cost         0 minutes for 3 runs" in said
    assert not (tmp_path / "runs").exists()

    assert reproduce(tmp_path) == 3
    said = capfd.readouterr().out
    assert said.count("PASS") == said.count("FAIL") == 1
    every = runs_of(tmp_path)
    assert all(job.is_complete() for job in every)
    kept = json.loads((tmp_path / "results" / "tiny.json").read_text())
    values = [kept["short"]["vae"][seed]["scores"]["nll/bound"]["value"] for seed in "01"]
    assert values[0] != values[1]
    for job, value in zip(every, values):
        result = json.loads((job.folder / "result.json").read_text())
        assert result["scores"]["nll/bound"]["value"] == value
        assert "-test-" in result["scores"]["nll/bound"]["protocol"]
    page = (tmp_path / "results" / "tiny.md").read_text()
    assert page == document(read_suite(tmp_path / "tiny.yaml"), kept)
    assert f"{sum(values) / 2:.4g} [" in page

    before = [(job.folder / "checkpoints" / "last.ckpt").stat().st_mtime_ns for job in every]
    assert reproduce(tmp_path) == 3
    assert "run folder" not in capfd.readouterr().out
    after = [(job.folder / "checkpoints" / "last.ckpt").stat().st_mtime_ns for job in every]
    assert before == after


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_suite_that_is_stopped_goes_on(number, tmp_path):
    slow = {"trainer.max_epochs": 12}
    suite_of(tmp_path, row(seeds=[0], **slow), row("another", seeds=[1]))
    command = [sys.executable, str(ROOT / "run.py"), "reproduce", str(tmp_path / "tiny.yaml")]
    command += [f"--output={tmp_path / 'runs'}", f"--results={tmp_path / 'results'}"]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    first = runs_of(tmp_path)[0]
    end = time.monotonic() + 120
    while not first.is_started() and time.monotonic() < end:
        time.sleep(0.1)
    if number == signal.SIGINT:  # as a terminal does it
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait(60) == 128 + number, (tmp_path / "log").read_text()
    assert first.is_started()
    assert not first.is_finished()

    assert reproduce(tmp_path) == 0
    assert first.note()["seconds"] > 0
    (tmp_path / "whole").mkdir()
    suite_of(tmp_path / "whole", row(seeds=[0], **slow))
    assert reproduce(tmp_path / "whole") == 0
    (whole,) = runs_of(tmp_path / "whole")
    assert first.scores() == whole.scores()


@pytest.mark.slow
def test_a_run_that_fails_is_said_and_the_others_are_made(tmp_path, capfd):
    suite_of(tmp_path, row("broken", seeds=[0], **{"model.kl_warmup": -1}), row(seeds=[0]))
    assert reproduce(tmp_path) == 3
    said = capfd.readouterr()
    assert "failed       broken, seed 0 ended with exit code 2" in said.out
    assert "kl_warmup" in said.err
    assert [line.split()[-1] for line in said.out.splitlines() if " of 1 " in line] == [
        "missing",
        "PASS",
    ]


@pytest.mark.slow
def test_runs_are_handed_to_a_cluster_and_not_twice(tmp_path, monkeypatch, capfd):
    pytest.importorskip("submitit")
    monkeypatch.setattr(engines, "CLUSTER", "local")
    monkeypatch.setattr(engines, "POLL", 0.2)
    suite_of(tmp_path, row(seeds=[0]))
    assert reproduce(tmp_path, "--engine=slurm") == 0
    (job,) = runs_of(tmp_path)
    first = job.note()["job"]
    assert f"job {first}  VAE, seed 0" in capfd.readouterr().out
    (job.folder / "result.json").unlink()  # as while it is on its way
    queued = engines._queued(pytest.importorskip("submitit"), job)
    assert queued is None  # it has ended


def test_runs_of_other_settings_are_refused(tmp_path, capsys):
    suite_of(tmp_path, row(seeds=[0]))
    (job,) = runs_of(tmp_path)
    job.jot()
    assert job.note()["row"] == job.row.name
    suite_of(tmp_path, row(seeds=[0], **{"data.batch_size": 32}))
    assert reproduce(tmp_path) == 2
    said = capsys.readouterr().err
    assert "was made by other settings than the suite has now; remove it" in said


@pytest.mark.slow
def test_a_run_that_was_killed_is_known_by_its_settings(tmp_path, capfd):
    suite_of(tmp_path, row(seeds=[0], **{"trainer.max_epochs": 60}))
    command = [sys.executable, str(ROOT / "run.py"), "reproduce", str(tmp_path / "tiny.yaml")]
    command += [f"--output={tmp_path / 'runs'}", f"--results={tmp_path / 'results'}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    (job,) = runs_of(tmp_path)
    end = time.monotonic() + 120
    while not job.is_started() and time.monotonic() < end:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    suite_of(tmp_path, row(seeds=[0], **{"trainer.max_epochs": 1}))
    assert reproduce(tmp_path) == 2
    assert "was made by other settings" in capfd.readouterr().err
    (job.folder / "suite.json").unlink()
    assert reproduce(tmp_path) == 2


@pytest.mark.slow
def test_damaged_files_cost_their_run_only(tmp_path, capfd):
    suite_of(tmp_path, row(seeds=[0, 1]), row("another", seeds=[0]))
    assert reproduce(tmp_path) == 0
    first, second, _ = runs_of(tmp_path)
    (first.folder / "environment.json").write_text("{")
    (second.folder / "result.json").write_text("{")
    capfd.readouterr()
    assert reproduce(tmp_path) == 3
    said = capfd.readouterr().out
    assert "environment.json is damaged" in said
    assert "result.json does not hold the results of a run" in said
    assert said.count("PASS") == 1
    for content in ("{", "[]", '{"short": 3}'):
        (tmp_path / "results" / "tiny.json").write_text(content)
        assert reproduce(tmp_path) == 2
        assert "tiny.json does not hold the results of a suite" in capfd.readouterr().err


def test_results_of_other_settings_leave_the_page(tmp_path):
    suite_of(tmp_path, row(seeds=[0]))
    suite, (job,) = read_suite(tmp_path / "tiny.yaml"), runs_of(tmp_path)
    found = {"short": {"vae": {"0": {"recipe": job.recipe}}}}
    assert of_present_settings(suite, found) == found
    suite_of(tmp_path, row(seeds=[0], **{"data.batch_size": 32}))
    assert of_present_settings(read_suite(tmp_path / "tiny.yaml"), found) == {}


def test_the_mean_counts_and_a_missing_seed_is_no_pass():
    suite = find_suite(str(ROOT / SUITES / "mnist-likelihood.yaml"))
    run = lambda value, protocol="nll:a-test-1": {  # noqa: E731
        "scores": {
            "nll/bound": {"value": value, "protocol": protocol},
            "nll/iw128": {"value": 91, "protocol": "q"},
        }
    }

    def verdict(*runs):
        found = {"vae": {str(k): each for k, each in enumerate(runs)}}
        return next(o.verdict for o in outcomes(suite, "short", found) if o.score == "nll/bound")

    assert verdict(run(92), run(98)) == "PASS"
    assert verdict(run(92), run(93)) == "FAIL"
    assert verdict(run(95)) == "missing"
    assert verdict(run(None), run(95)) == "FAIL"
    assert verdict(run(95), run(95, "nll:b-test-1")) == "FAIL"


@pytest.mark.parametrize("path", sorted((ROOT / SUITES).glob("*.yaml")), ids=lambda p: p.stem)
def test_suites_of_the_repository_say_all(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    suite = read_suite(path)
    assert suite.scales == ["smoke", "short", "full"]
    for each in suite.rows if suite.matrix is None else []:
        assert each.why.endswith(".") if each.config is None else list(each.scales) == suite.scales
        if each.config is not None and (each.published or "there are none" not in suite.about):
            assert set(each.published) == set(each.scales["full"].expect)
        assert all("https://" in published["source"] for published in each.published.values())


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / SUITES).glob("*.yaml")), ids=lambda p: p.stem)
def test_every_row_is_run_by_settings_that_its_config_knows(path, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(ROOT)
    suite, tried = read_suite(path), set()
    for scale in suite.scales:
        for job in jobs_of(suite, scale, tmp_path):
            arguments = [part for part in job.fit() if not part.startswith(("--run_dir", "--seed"))]
            if tuple(arguments) in tried:
                continue
            tried.add(tuple(arguments))
            try:
                code = main([*arguments, "--print_config"])
            except SystemExit as stop:
                code = stop.code
            assert code in (0, None), f"{job.label} at {scale}: {capsys.readouterr().err}"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("rows"), "lacks rows"),
        (lambda s: s.update(rows=[]), "has no rows"),
        (lambda s: s["rows"].append(s["rows"][0]), "two rows .* the same name"),
        (lambda s: s["rows"][0].update(config="nowhere.yaml"), "nowhere.yaml, which is not there"),
        (
            lambda s: s["rows"][0]["scales"]["short"].update(seeds=["a"]),
            "should have different seeds",
        ),
        (lambda s: s["rows"][0]["scales"]["short"].update(seeds=[]), "should have different seeds"),
        (lambda s: s["rows"][0]["scales"]["short"].update(seeds=[1, 1]), "different seeds"),
        (lambda s: s["rows"][0]["scales"]["short"].update(overrides=["a"]), "overrides by their"),
        (lambda s: s["rows"][0].update(published={"nll/bound": 3}), "nll/bound as .value"),
        (lambda s: s["rows"][0].update(published=["a"]), "published as .value"),
        (lambda s: s["rows"][0]["scales"]["short"].pop("cost"), "lacks cost"),
        (lambda s: s["rows"][0]["scales"]["short"]["expect"].update(x=[3, 1]), "nothing lies"),
        (lambda s: s["rows"][0]["scales"]["short"]["expect"].update(x=4), r"in \[low, high\]"),
    ],
)
def test_a_suite_with_a_mistake_is_refused_in_one_sentence(change, says, tmp_path):
    path = suite_of(tmp_path, row())
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=says):
        read_suite(path)


def test_wrong_names_end_in_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(["reproduce", "mnist-likelyhood"]) == 2
    assert "did you mean mnist-likelihood?" in capsys.readouterr().err
    assert main(["reproduce", "mnist-gans", "--scale=tiny", "--dry_run"]) == 2
    assert "has no scale tiny, but smoke, short, full" in capsys.readouterr().err
    assert main(["reproduce", "mnist-gans", "--engine=cloud"]) == 2
    assert "there is no engine cloud" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "mnist-gans"]) == 2
    assert "run it from the repository" in capsys.readouterr().err
