"""Rows that nothing here trains stand beside the others, and what is not to be compared says so."""

import json
from pathlib import Path

import pytest
import yaml

from lightning_gen.cli.reproducing import SUITES
from lightning_gen.models import autoencoders, autoregressive, flows
from lightning_gen.suites.jobs import Job, commands, jobs_of
from lightning_gen.suites.results import document, outcomes, report, text
from lightning_gen.suites.suite import read_suite

ROOT = Path(__file__).parents[2]
SCORE = "bpd/exact"


def trained(**more):
    at = {
        "seeds": [0],
        "cost": {"minutes": 1, "machine": "one CPU core"},
        "expect": {SCORE: [3, 4]},
        **more,
    }
    return {
        "name": "PixelCNN",
        "config": str(ROOT / "configs" / "cifar10" / "pixelcnn.yaml"),
        "published": {SCORE: {"value": 3.14, "source": "a paper"}},
        "scales": {"short": at},
    }


def untrained(**more):
    published = {"bpd/bound": {"value": 4.13, "source": "another paper"}}
    return {"name": "DRAW", "published": published, "why": "It is not here yet.", **more}


def suite_of(folder, *rows):
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({"title": "Tiny", "rows": list(rows)}))
    return read_suite(path)


def found_of(value):
    score = {"value": value, "protocol": "bpd:exact:cifar10-test-932"}
    run = {"scores": {SCORE: score}, "seconds": 60, "environment": {"torch": "2"}}
    return {"pixelcnn": {"0": run}}


def test_a_row_that_nothing_trains_has_its_number_its_reason_and_no_runs(tmp_path):
    suite = suite_of(tmp_path, untrained(), trained())
    assert suite.scales == ["short"]
    assert [job.row.name for job in jobs_of(suite, "short", tmp_path)] == ["PixelCNN"]
    lines = [text(each) for each in outcomes(suite, "short", found_of(3.5))]
    assert lines[0] == ["DRAW", "bpd/bound", "4.13", "-", "-", "-", "not trained"]
    assert lines[1] == ["PixelCNN", SCORE, "3.14", "3 to 4", "3.5", "1 of 1", "PASS"]
    page = document(suite, {"short": found_of(3.5)})
    assert "| DRAW | bpd/bound | 4.13 | - | - | - | not trained |" in page
    assert "Not trained here:\n\n- DRAW: It is not here yet.\n" in page
    assert "- DRAW, bpd/bound: another paper" in page
    assert "Not trained here" not in document(suite_of(tmp_path, trained()), {"short": found_of(3)})


def test_a_row_that_nothing_trains_does_not_fail_a_scale_nor_pass_it(tmp_path):
    suite = suite_of(tmp_path, untrained(), trained())
    assert report(suite, "short", found_of(3.5))[1]
    assert not report(suite, "short", found_of(5.0))[1]
    assert not report(suite, "short", {})[1]
    with pytest.raises(ValueError, match="DRAW has no config, so it cannot be run"):
        Job(suite.rows[0], suite.rows[1].scales["short"], 0, tmp_path).fit()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"published": {}}, "should have published numbers, and neither a config nor scales"),
        ({"config": "configs/cifar10/vae.yaml"}, "neither a config nor scales"),
        ({"scales": {}}, "neither a config nor scales"),
        ({"why": None}, "lacks why"),
    ],
)
def test_a_row_is_trained_or_says_why_not(more, says, tmp_path):
    with pytest.raises(ValueError, match=f"row 2 of the suite .*{says}"):
        suite_of(tmp_path, trained(), untrained(**more))


def test_numbers_of_other_data_are_marked_at_their_scale_only(tmp_path):
    marks = {}
    for name, more in {"same": {}, "other": {"comparable": False}}.items():
        suite = suite_of(
            tmp_path, trained(**more), {**trained(**more), "name": "x", "published": {}}
        )
        page = document(suite, {"short": found_of(3.5)})
        marks[name] = [each.comparable for each in outcomes(suite, "short", found_of(3.5))]
        assert ("3.14*" in page) == ("by another protocol" in page) == (name == "other")
    assert marks == {"same": [True, True], "other": [False, True]}  # without a number, no mark


def test_a_density_of_images_with_noise_is_marked(tmp_path):
    suite = suite_of(tmp_path, trained(), untrained(dequantised=True))
    names = [text(each)[1] for each in outcomes(suite, "short", {})]
    assert names == [SCORE, "bpd/bound, dequantised"]


def test_bounds_estimates_and_densities_are_told_apart(monkeypatch):
    monkeypatch.chdir(ROOT)
    for row in read_suite(SUITES / "mnist-bounds.yaml").rows:
        scores = {score for at in row.scales.values() for score in at.expect} | set(row.published)
        if row.config is None:
            assert scores <= {"nll/bound", "nll/iw128"}
            continue
        model = yaml.safe_load(row.config.read_text())["model"]
        kind = model["init_args"].get("likelihood", {}).get("class_path")
        assert row.dequantised == (kind == "Gaussian")
        if model["class_path"] in ("RBM", "DBN", "DBM"):
            assert scores == {"nll/ais" if model["class_path"] == "RBM" else "nll/ais_bound"}
        elif model["class_path"] == "Autoencoder":
            assert scores == {"accuracy/probe@1000"}
        else:
            assert scores <= {"nll/bound", "nll/iw5", "nll/iw128"}
        # No published number has our test images, so none is compared without a mark.
        assert not any(each.get("comparable", True) for each in row.published.values())


def test_what_codes_are_worth_is_measured_when_training_is_over(tmp_path):
    at = {**trained()["scales"]["short"], "expect": {"accuracy/probe@1000": [0, 1], SCORE: [3, 4]}}
    suite = suite_of(tmp_path, {**trained(), "scales": {"short": at}})
    (job,) = jobs_of(suite, "short", tmp_path, data="elsewhere")
    fit, probe, test = commands(job)
    assert (fit[0], test[0]) == ("fit", "test")
    last = f"--checkpoint={job.folder / 'checkpoints' / 'last.ckpt'}"
    assert probe == ["probe", last, "--mode=probe", "--labels=1000", "--root=elsewhere"]
    content = {"scores": {}, "budget": {"images_seen": 7}, "finished": "now"}
    score = {"value": 0.9, "images_seen": 7, "protocol": "accuracy@1000:probe:mnist-test-10000:x"}
    for accuracy, left in ((score, ["test"]), ({**score, "images_seen": 6}, ["probe", "test"])):
        job.folder.mkdir(parents=True, exist_ok=True)
        content["scores"]["accuracy/probe@1000"] = accuracy
        (job.folder / "result.json").write_text(json.dumps(content))
        assert [command[0] for command in commands(job)] == left


def test_how_often_classes_are_guessed_is_no_matter_of_a_probe(tmp_path):
    at = {**trained()["scales"]["short"], "expect": {"accuracy/labels": [0, 1]}}
    suite = suite_of(tmp_path, {**trained(), "scales": {"short": at}})
    (job,) = jobs_of(suite, "short", tmp_path)
    assert [command[0] for command in commands(job)] == ["fit", "test"]


@pytest.mark.parametrize("name", ["cifar10-bits", "mnist-exact"])
def test_rows_are_marked_as_dequantised_where_their_model_is(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    for row in read_suite(SUITES / f"{name}.yaml").rows:
        if row.config is not None:
            model = model_of(row.config)
            exact = model.nll_kind == "exact"
            assert row.dequantised == (getattr(model, "dequantisation", None) == "uniform")
            for at in row.scales.values():
                assert all(score.endswith("/exact") == exact for score in at.expect)


def model_of(config):
    name = yaml.safe_load(config.read_text())["model"]["class_path"]
    families = (autoencoders, autoregressive, flows)
    return next(getattr(family, name) for family in families if hasattr(family, name))
