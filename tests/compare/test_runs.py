"""Reading runs: whatever is missing, damaged or rubbish is said, and never ends a comparison."""

import json
import math
import os
import random

import numpy as np
import pandas as pd
import pytest

from lightning_gen.compare import read_runs
from lightning_gen.compare.comparison import compare_runs
from lightning_gen.compare.page import page
from lightning_gen.compare.places import find_runs, name_runs
from lightning_gen.compare.runs import Run, read_run, with_seconds
from lightning_gen.compare.tables import latex, markdown

from .folders import BOUND, DISTANCE, config_of, make_run, read_config, score

FILES = ("config.yaml", "result.json", "metrics.csv", "environment.json")


def test_a_run_is_read_as_it_was_written(tmp_path):
    other = score(20.0, DISTANCE.replace("train-1297", "test-300"))
    scores = {
        "fid/digits@2000": score(12.5, also={other["protocol"]: other}),
        "bpd/bound": score(3.1, BOUND, standard_error=0.1),
    }
    run = read_run(str(make_run(tmp_path / "a", scores, pictures=3)), read_config)
    assert run.problems == [] and run.finished and run.seed == 1
    assert [(s.key, s.value) for s in run.scores] == [
        ("fid/digits@2000", 12.5),
        ("fid/digits@2000", 20.0),
        ("bpd/bound", 3.1),
    ]
    assert run.scores[2].standard_error == 0.1
    assert run.budget["images_seen"] == 6400 and run.budget["seconds"] == pytest.approx(2.0)
    assert list(run.pictures) == [0, 100, 200]
    assert run.history["images_seen"].is_monotonic_increasing


def test_runs_are_found_at_any_depth_and_each_once(tmp_path):
    a, b = make_run(tmp_path / "x" / "a"), make_run(tmp_path / "x" / "deep" / "b")
    (a / "wandb" / "run" / "files").mkdir(parents=True)
    (a / "wandb" / "run" / "files" / "config.yaml").write_text("a: 1")
    found = find_runs([str(tmp_path), str(a), str(tmp_path / "x" / "*"), str(b / "config.yaml")])
    assert sorted(found) == sorted([str(a), str(b)])
    os.symlink(tmp_path, tmp_path / "x" / "loop")
    assert len(find_runs([str(tmp_path)])) == 2


@pytest.mark.parametrize("what", ["missing", "empty", "nothing*"])
def test_an_argument_without_runs_is_said(tmp_path, what):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="does not exist|holds no run"):
        find_runs([str(tmp_path / what)])


def test_names_are_as_short_as_tells_apart():
    runs = [Run("r/x/a/1"), Run("r/y/a/1"), Run("r/y/b/2"), Run("wandb://e/p/1")]
    name_runs(runs)
    assert [run.name for run in runs] == ["x/a/1", "y/a/1", "b/2", "p/1"]


def test_seconds_are_images_over_speed():
    frame = pd.DataFrame(
        {
            "images_seen": [0.0, 100, 100, 300, 400],
            "images_per_second": [np.nan, 50, np.nan, 100, np.nan],
        }
    )
    seconds = with_seconds(frame)["seconds"]
    assert list(seconds) == pytest.approx(
        [0, 2, 2, 4, 5]
    )  # 100/50, 200/100, then on at the last speed
    assert "seconds" not in with_seconds(frame.drop(columns="images_per_second"))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content",
    [None, b"", b"{", b"[]", b"null", b"\x00\xff\x80rubbish\n\xfe", b"[" * 100_000, b"a,b\n1,2\n"],
)
def test_a_damaged_file_is_a_problem_and_no_more(tmp_path, name, content):
    whole = make_run(tmp_path / "whole", {"fid/digits@2000": 3.0}, config_of(seed=2))
    broken = make_run(tmp_path / "broken", {"fid/digits@2000": 4.0})
    if content is None:
        (broken / name).unlink()
    else:
        (broken / name).write_bytes(content)
    found = compare_runs(read_runs([str(whole), str(broken)], read_config))
    assert any(run == "broken" or run.endswith("/broken") for run, _ in found.problems), (
        found.problems
    )
    cell = found.row(found.groups[0])[0]
    assert cell.summary.n == (1 if name in ("config.yaml", "result.json") else 2)
    for write in (markdown, latex, page):
        assert "broken" in write(found) or write is latex


@pytest.mark.parametrize(
    "result",
    [
        {"scores": []},
        {"scores": {"fid": 3}},
        {"scores": {"fid": {"value": 3}}},
        {"scores": {"fid": {"value": "many", "protocol": "p"}}},
        {"scores": {"fid": {"value": True, "protocol": "p"}}},
        {"scores": {"fid": {"value": None, "protocol": "p"}}},
        {"scores": {"fid": {"value": math.nan, "protocol": "p", "also": 3}}},
        {"scores": {"fid": {"value": math.inf, "protocol": "p", "standard_error": "x"}}},
        {"scores": {"fid": {"value": 10**400, "protocol": "p"}}},
        {"scores": {}, "budget": {"images_seen": math.inf, "parameters": 10**400}},
        {"scores": {}, "budget": [1]},
        {"scores": {}, "budget": {"images_seen": "many"}, "finished": None},
    ],
)
def test_odd_results_are_problems(tmp_path, result):
    folder = make_run(tmp_path / "a")
    (folder / "result.json").write_text(json.dumps(result))
    run = read_run(str(folder), read_config)
    assert run.problems and all(s.value is None for s in run.scores)
    page(compare_runs([run]))


def test_rubbish_of_all_kinds_is_survived(tmp_path):
    """Files cut, with bytes changed, or of random bytes: every one is read without an exception."""
    source = make_run(tmp_path / "source", {"fid/digits@2000": 3.0})
    rng = random.Random(0)
    for k in range(120):
        folder = tmp_path / f"r{k}"
        folder.mkdir()
        for name in FILES:
            data = bytearray((source / name).read_bytes())
            kind = rng.randrange(4)
            if kind == 0:
                data = data[: rng.randrange(len(data))]
            elif kind == 1:
                for _ in range(rng.randrange(1, 20)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
            elif kind == 2:
                data = bytearray(rng.randbytes(rng.randrange(400)))
            (folder / name).write_bytes(data)
        run = read_run(str(folder), read_config)
        compare_runs([run], by="run")
        markdown(compare_runs([run]))


def test_an_unfinished_run_is_marked(tmp_path):
    make_run(tmp_path / "a", {"fid/digits@2000": 3.0}, finished=False)
    found = compare_runs(read_runs([str(tmp_path)], read_config))
    assert "unfinished, at step 100" in found.problems[0][1]
    assert "1 of 1 unfinished" in markdown(found) and "unfinished" in page(found)


def test_a_run_that_was_stopped_says_why(tmp_path):
    folder = make_run(tmp_path / "a", {"fid/digits@2000": score(3.0, interval_95=[2.5, 3.5])})
    result = json.loads((folder / "result.json").read_text())
    result["stopped"] = {"step": 70, "reason": "the loss is not finite"}
    (folder / "result.json").write_text(json.dumps(result))
    run = read_run(str(folder), read_config)
    assert run.problems == ["stopped at step 70: the loss is not finite"]
    assert run.scores[0].interval == (2.5, 3.5)
    assert "95 % interval of its measurement 2.50 to 3.50" in page(compare_runs([run]))


def test_the_same_run_twice_counts_once(tmp_path):
    for name in ("a", "b"):
        make_run(tmp_path / name, {"fid/digits@2000": 3.0})
    found = compare_runs(read_runs([str(tmp_path)], read_config))
    assert found.row(found.groups[0])[0].summary.n == 1
    assert "the same settings and the same seed" in found.problems[0][1]
