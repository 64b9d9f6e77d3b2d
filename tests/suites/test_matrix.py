"""A matrix states each row and column once, judges its cells by a floor, and goes on past a collapse."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image

from lightning_gen.cli import main
from lightning_gen.cli.reproducing import SUITES, add_floor, find_suite
from lightning_gen.suites.cells import FLOOR, cells_of, tallies
from lightning_gen.suites.engines import at_once
from lightning_gen.suites.jobs import jobs_of
from lightning_gen.suites.matrix import merged
from lightning_gen.suites.pictures import LARGEST, encoded, panel
from lightning_gen.suites.results import document, of_present_settings, report
from lightning_gen.suites.suite import read_suite

ROOT = Path(__file__).parents[2]
LAYERS = "model.generator.init_args.widths"
SCORE = "fid/digits@64"
CLASSES = "is_all/digits@64"
QUALITY = {"n": 64, "scores": ["fid", "is"], "every_n_epochs": 1000, "at_start": False}
GRID = {"rows": 2, "columns": 2, "every_n_epochs": 1000, "at_start": False}


def matrix(rows=("one", "two"), columns=("A", "B"), **scale):
    """A suite of cells with tiny networks on tiny data."""
    at = {
        "seeds": [0],
        "cost": {"minutes": 0.1, "machine": "one CPU core"},
        "distance": SCORE,
        "classes": CLASSES,
        "expect": {"A": [0, len(rows)]},
        "overrides": {
            "model.generator.init_args.widths": [8, 8],
            "model.discriminator.init_args.widths": [8, 8],
            "trainer.accelerator": "cpu",
            "trainer.max_epochs": 1,
            "trainer.log_every_n_steps": 1,  # and look whether all is finite
            "trainer.callbacks": [
                {"class_path": "SampleQuality", "init_args": QUALITY},
                {"class_path": "SampleGrid", "init_args": GRID},
            ],
        },
    }
    return {
        "title": "Tiny",
        "about": "Digits.",
        "config": str(ROOT / "configs" / "digits" / "gan.yaml"),
        "rows": [{"name": name} for name in rows],
        "columns": [{"name": name} for name in columns],
        "scales": {"short": {**at, **scale}},
    }


def written(folder, content):
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def found_of(suite, value_of, floor=1.0, classes=9.0, protocol="fid@64:digits-test-64:a"):
    """What the runs of a suite found, by a function of their rows' names and seeds."""
    every = {}
    for job in jobs_of(suite, "short", Path()):
        value = value_of(job.row.name, job.seed)
        reason = "the term generator/loss is not finite at step 7"
        score = {"value": value, "protocol": protocol if value is not None else reason}
        run = {"recipe": job.recipe, "seconds": 60, "environment": {"torch": "2"}}
        run["scores"] = {SCORE: score, CLASSES: {"value": classes if value else None}}
        every.setdefault(job.row.slug, {})[str(job.seed)] = run
    real = {"value": floor, "protocol": "fid@64:digits-test-64:a"}
    return {**every, FLOOR: {"0": {"scores": {SCORE: real}}}}


def test_a_cell_is_the_config_changed_by_scale_row_and_column_in_this_order(tmp_path):
    content = matrix()
    scale = content["scales"]["short"]
    scale["overrides"] = {"model": "LSGAN", LAYERS: [1], "data.batch_size": 1}
    content["rows"][1] |= {"overrides": {LAYERS: [2]}, "at": {"short": {"data.batch_size": 2}}}
    content["columns"][1] |= {"overrides": {"model": "GAN", "data.batch_size": 3}}
    suite = read_suite(written(tmp_path, content))
    made = {row.name: row.scales["short"].overrides for row in suite.rows}
    assert list(made) == ["one, A", "one, B", "two, A", "two, B"]
    assert made["one, A"] == scale["overrides"]
    assert made["one, B"] == {LAYERS: [1], "model": "GAN", "data.batch_size": 3}
    assert list(made["one, B"]) == [LAYERS, "model", "data.batch_size"]  # as they are to be made
    assert made["two, A"] == {"model": "LSGAN", LAYERS: [2], "data.batch_size": 2}
    assert made["two, B"] == {LAYERS: [2], "model": "GAN", "data.batch_size": 3}
    assert all(row.scales["short"].may_collapse for row in suite.rows)
    assert [row.slug for row in suite.rows] == ["one-a", "one-b", "two-a", "two-b"]


def test_the_last_word_on_a_setting_is_said_last():
    assert list(merged({"a": 1, "b": 2}, {"a": 3}).items()) == [("b", 2), ("a", 3)]


@pytest.mark.parametrize(
    ("value", "classes", "verdict"),
    [
        (5.0, 9.0, "trains"),
        (5.1, 9.0, "degraded"),
        (20.0, 9.0, "degraded"),
        (20.1, 9.0, "collapses"),
        (1.0, 2.0, "collapses"),
        (1.0, 2.1, "trains"),
        (None, None, "collapses"),
    ],
)
def test_a_verdict_is_by_the_floor_and_by_the_classes(value, classes, verdict, tmp_path):
    suite = read_suite(written(tmp_path, matrix()))
    found = found_of(suite, lambda name, seed: value, classes=classes)
    assert {cell.verdict for cell in cells_of(suite, "short", found).values()} == {verdict}


def test_floors_can_be_of_the_scale(tmp_path):
    suite = read_suite(written(tmp_path, matrix(floors=[10, 50])))
    found = found_of(suite, lambda name, seed: 11.0 if name == "one, A" else 9.0)
    cells = cells_of(suite, "short", found)
    assert [cell.verdict for cell in cells.values()] == ["degraded", "trains", "trains", "trains"]


def test_a_cell_is_as_bad_as_its_worst_seed_and_lacks_what_is_missing(tmp_path):
    suite = read_suite(written(tmp_path, matrix(seeds=[0, 1])))
    found = found_of(suite, lambda name, seed: [2.0, 7.0][seed])
    cell = cells_of(suite, "short", found)["one", "A"]
    assert cell.verdict == "degraded" and cell.summary.mean == 4.5 and cell.summary.low < 2
    found = found_of(suite, lambda name, seed: [None, 2.0][seed])
    cell = cells_of(suite, "short", found)["one", "A"]
    assert cell.verdict == "collapses" and cell.summary is None
    assert cell.reason == "the term generator/loss is not finite at step 7"
    del found["one-a"]["0"]
    assert cells_of(suite, "short", found)["one", "A"].verdict == "missing"


def test_nothing_is_judged_by_a_floor_of_another_protocol_or_by_none(tmp_path):
    suite = read_suite(written(tmp_path, matrix()))
    found = found_of(suite, lambda name, seed: 2.0, protocol="fid@64:digits-test-64:b")
    assert {cell.verdict for cell in cells_of(suite, "short", found).values()} == {"missing"}
    found = found_of(suite, lambda name, seed: 2.0, floor=None)
    assert {cell.verdict for cell in cells_of(suite, "short", found).values()} == {"missing"}
    del found[FLOOR]
    assert not report(suite, "short", found)[1]


def test_a_column_passes_by_the_number_of_rows_that_it_trains(tmp_path):
    content = matrix(expect={"A": [2, 2], "B": [0, 1]})
    content["columns"][0]["published"] = {"trains": [2, 2], "source": "a paper"}
    suite = read_suite(written(tmp_path, content))
    first, second = tallies(suite, "short", found_of(suite, lambda name, seed: 1.0))
    assert (first.trains, first.verdict, first.column.published) == (2, "PASS", (2, 2))
    assert (second.trains, second.verdict) == (2, "FAIL")
    found = found_of(suite, lambda name, seed: None if name == "one, B" else 1.0)
    assert [each.verdict for each in tallies(suite, "short", found)] == ["PASS", "PASS"]
    assert report(suite, "short", found)[1]
    del found["one-b"]
    assert [each.verdict for each in tallies(suite, "short", found)] == ["PASS", "missing"]


def test_the_page_says_floor_verdicts_and_claims(tmp_path):
    content = matrix(expect={"A": [2, 2]})
    content["columns"][0]["published"] = {"trains": [2, 2], "source": "a paper"}
    suite = read_suite(written(tmp_path, content))
    found = found_of(suite, lambda name, seed: None if name == "two, B" else 4.25, floor=1.5)
    page = document(suite, {"short": found})
    assert "4 runs in 4 minutes" in page
    assert "| one | trains, 4.250 | trains, 4.250 |" in page
    reason = "the term generator/loss is not finite at step 7"
    assert "| two | trains, 4.250 | collapses, no distance |" in page
    assert f"- two, B: {reason}\n" in page
    assert (
        "is 1.50." in page
        and "5 times the floor, 7.50;" in page
        and "20 times the floor, 30.00," in page
    )
    assert "| A | 2 of 2 | 2 | 2 | PASS |" in page and "| B | 1 of 2 | - | - | PASS |" in page
    assert "![samples of each cell](tiny-short.png)" in page and "- a paper\n" in page
    kept = of_present_settings(suite, {"short": found})
    assert kept == {"short": found}


def test_the_floor_is_kept_where_the_runs_are_not(tmp_path):
    kept = {FLOOR: {"0": {"scores": {SCORE: {"value": 1.0}}}}}
    found = {}
    add_floor(found, tmp_path, kept)
    assert found == kept
    (tmp_path / "result.json").write_text(json.dumps({"scores": {SCORE: {"value": 2.0}}}))
    add_floor(found, tmp_path, kept)
    assert found[FLOOR]["0"]["scores"][SCORE]["value"] == 2.0


def test_the_picture_has_each_cell_above_its_verdict_and_is_small(tmp_path):
    suite = read_suite(written(tmp_path, matrix(rows="abcdef", columns="ABCD")))
    found = found_of(suite, lambda name, seed: 1.0)
    noise = Image.effect_noise((160, 130), 90).convert("RGB")
    samples = {job.row.slug: noise for job in jobs_of(suite, "short", Path())}
    picture = panel(suite, cells_of(suite, "short", found), samples)
    assert picture.width > 4 * 160 and picture.height > 6 * 130
    assert len(encoded(picture)) <= LARGEST  # of noise, which does not compress
    del samples["f-d"]  # a cell that has none
    assert panel(suite, cells_of(suite, "short", found), samples).size == picture.size


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("config"), "lacks config"),
        (lambda s: s.update(config="nowhere.yaml"), "nowhere.yaml, which is not there"),
        (lambda s: s.update(columns=[]), "has no columns"),
        (lambda s: s.update(columns=["A"]), "a column of .* lacks name"),
        (lambda s: s.pop("scales"), "lacks scales"),
        (lambda s: s["rows"].append(s["rows"][0]), "two rows .* the same name"),
        (lambda s: s["rows"][0].update(overrides=["a"]), "row one .* overrides by their dotted"),
        (lambda s: s["rows"][0].update(at={"long": {}}), "`at` by scale, of short"),
        (lambda s: s["rows"][0].update(at={"short": 3}), "overrides by their dotted"),
        (lambda s: s["columns"][0].update(published={"trains": 6}), r"published trains in \[least"),
        (lambda s: s["columns"][0].update(published={"trains": [1, 2]}), "lacks source"),
        (lambda s: s["scales"]["short"].pop("distance"), "lacks distance"),
        (lambda s: s["scales"]["short"].pop("cost"), "lacks cost"),
        (lambda s: s["scales"]["short"].update(seeds=[]), "should have different seeds"),
        (lambda s: s["scales"]["short"].update(classes=3), "one score of classes, or none"),
        (lambda s: s["scales"]["short"].update(floors=[20, 5]), "1 < trains < collapses"),
        (lambda s: s["scales"]["short"].update(floors=5), "1 < trains < collapses"),
        (lambda s: s["scales"]["short"].update(expect={"C": [0, 1]}), "C, which is no column"),
        (lambda s: s["scales"]["short"].update(expect={"A": [2, 1]}), r"in \[least, most\] rows"),
        (lambda s: s["scales"]["short"].update(expect={"A": [0, 3]}), "of 2 rows"),
    ],
)
def test_a_matrix_with_a_mistake_is_refused_in_one_sentence(change, says, tmp_path):
    content = matrix()
    change(content)
    with pytest.raises(ValueError, match=says):
        read_suite(written(tmp_path, content))


def test_how_many_runs_at_a_time_is_a_number():
    assert at_once({}) == 1 and at_once({"jobs": 2}) == 2
    for wrong in ({"jobs": 0}, {"jobs": "two"}, {"gpus": 1}):
        with pytest.raises(ValueError, match="takes jobs of at least 1"):
            at_once(wrong)


def command(folder, *more):
    arguments = [str(folder / "tiny.yaml"), f"--output={folder / 'runs'}"]
    return ["reproduce", *arguments, f"--results={folder / 'results'}", *more]


def reproduce(folder, *more):
    """Runs the command in this process; its exit code."""
    try:
        return main(command(folder, *more))
    except SystemExit as stop:
        return stop.code


@pytest.mark.slow
def test_a_cell_without_numbers_is_a_result_and_the_others_are_made(tmp_path, capfd):
    content = matrix(floors=[1e6, 1e7], classes=None)
    wild = {"class_path": "torch.optim.SGD", "init_args": {"lr": 1.0e30}}
    content["rows"][1]["overrides"] = {"model.generator_optimizer": wild}
    written(tmp_path, content)
    assert reproduce(tmp_path, "--engine_options={jobs: 2}") == 0
    said = capfd.readouterr().out
    assert "[4 of 4]" in said and "failed" not in said
    assert "2 at a time" in said
    suite = read_suite(tmp_path / "tiny.yaml")
    every = {job.row.name: job for job in jobs_of(suite, "short", tmp_path / "runs")}
    assert "is not finite" in every["two, A"].scores()[SCORE]["protocol"]
    kept = json.loads((tmp_path / "results" / "tiny.json").read_text())
    assert [cell.verdict for cell in cells_of(suite, "short", kept["short"]).values()] == [
        *("trains", "trains", "collapses", "collapses")
    ]
    floor = kept["short"][FLOOR]["0"]["scores"][SCORE]
    made = every["one, A"].scores()[SCORE]
    assert floor["protocol"] == made["protocol"] and 0 < floor["value"] < made["value"]
    assert (tmp_path / "results" / "tiny.md").read_text() == document(suite, kept)
    with Image.open(tmp_path / "results" / "tiny-short.png") as picture:
        assert picture.format == "PNG"

    before = {job.folder: sorted(os.listdir(job.folder)) for job in every.values()}
    assert reproduce(tmp_path) == 0  # nothing is made again, be it without numbers or not
    said = capfd.readouterr().out
    assert "0 minutes for 0 runs" in said and "once" not in said
    assert before == {job.folder: sorted(os.listdir(job.folder)) for job in every.values()}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_runs_side_by_side_stop_together_and_go_on(number, tmp_path):
    content = matrix(rows=["one"], columns=["A", "B", "C"], classes=None, floors=[1e6, 1e7])
    content["scales"]["short"]["overrides"]["trainer.max_epochs"] = 40
    path = written(tmp_path, content)
    line = [sys.executable, str(ROOT / "run.py"), *command(tmp_path, "--engine_options={jobs: 2}")]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(
            line, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    first, second, third = jobs_of(read_suite(path), "short", tmp_path / "runs")
    end = time.monotonic() + 120
    while not (first.is_started() and second.is_started()) and time.monotonic() < end:
        time.sleep(0.05)
    if number == signal.SIGINT:  # as a terminal does it
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait(60) == 128 + number, (tmp_path / "log").read_text()
    assert not first.is_finished() and not second.is_finished()
    assert not third.is_started()
    assert reproduce(tmp_path, "--engine_options={jobs: 3}") == 0
    assert all(job.is_complete() for job in (first, second, third))
    assert all(job.note()["seconds"] > 0 for job in (first, second))


@pytest.mark.slow
def test_what_fails_side_by_side_is_said_with_its_last_words(tmp_path, capfd):
    content = matrix(rows=["one"], classes=None, floors=[1e6, 1e7])
    content["columns"][0]["overrides"] = {"model.real_target": 7}
    written(tmp_path, content)
    assert reproduce(tmp_path, "--engine_options={jobs: 2}") == 3
    said = capfd.readouterr()
    assert "failed       one, A, seed 0 ended with exit code 2: error: real_target" in said.out
    assert "one, B, seed 0: done" in said.out and "log.txt" in said.err


def test_the_robustness_table_crosses_six_rows_with_four_methods(monkeypatch):
    monkeypatch.chdir(ROOT)
    suite = find_suite("robustness")
    assert (len(suite.matrix.rows), len(suite.matrix.columns), len(suite.rows)) == (6, 4, 24)
    for scale, rule in suite.matrix.rules.items():
        assert all(0 <= low <= high <= 6 for low, high in rule.expect.values()), scale
    claims = [column for column in suite.matrix.columns if column.published]
    assert [column.name for column in claims] == ["WGAN-GP"]
    assert "https://" in claims[0].source
    at = {row.name: row.scales["full"].overrides for row in suite.rows}
    for name, settings in at.items():
        norm = settings.get("model.discriminator.init_args.norm")
        assert norm == ("layer" if name.endswith("WGAN-GP") else None), name
    assert math.isclose(at["baseline, WGAN"]["model.clip"], 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(24))
def test_every_cell_of_the_robustness_table_trains_a_round(number, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    every = jobs_of(find_suite("robustness"), "smoke", tmp_path)
    job = every[number]
    fake = {"shape": [1, 32, 32], "batch_size": 2, "count": 10, "eval_batch_size": 2}
    job.scale.overrides["data"] = {"class_path": "tests.fake.FakeImages", "init_args": fake}
    job.scale.overrides.update({"trainer.max_steps": 1, "trainer.callbacks": []})
    assert main([*job.fit(), "--trainer.accelerator=cpu", "--debug", "--allow-any-class"]) == 0
    content = json.loads((job.folder / "result.json").read_text())
    assert content["finished"] == 1 and "stopped" not in content


@pytest.mark.slow
@pytest.mark.data
def test_a_corner_of_the_robustness_table_comes_out_at_the_smoke_scale(
    real_data, tmp_path, monkeypatch
):
    monkeypatch.chdir(ROOT)
    content = yaml.safe_load((ROOT / SUITES / "robustness.yaml").read_text())
    content["rows"] = [row for row in content["rows"] if row["name"][:3] in ("bas", "Res")]
    content["columns"] = content["columns"][1::2]
    for column in content["columns"]:
        column.pop("published", None)
    content["scales"] = {"smoke": content["scales"]["smoke"]}
    for each in content["rows"] + content["columns"]:
        each["at"] = {k: v for k, v in each.get("at", {}).items() if k == "smoke"}
    written(tmp_path, content)
    assert reproduce(tmp_path, "--scale=smoke") == 0
    page = (tmp_path / "results" / "tiny.md").read_text()
    assert page.count("collapses, ") == 4 and "The floor" in page  # nothing learns in five rounds
    assert (tmp_path / "results" / "tiny-smoke.png").stat().st_size < LARGEST
