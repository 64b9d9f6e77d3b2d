"""The page: one file, nothing of the outside in it, no secret, and names that are only names."""

import json
import re

import numpy as np
import pytest

from lightning_gen.compare import read_runs
from lightning_gen.compare.comparison import compare_runs
from lightning_gen.compare.figures import band, curves, over_seconds, spread, thin
from lightning_gen.compare.page import embedded_json, page
from lightning_gen.compare.tables import latex, markdown

from .folders import config_of, make_run, read_config, three_models

EVIL = "<script>alert(1)</script>"


def data_of(text):
    return json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', text, re.DOTALL)[1])


def without_library(text):
    """The page but for plotly.js."""
    start = text.index("<script>", text.index('id="data"')) + len("<script>")
    return text[:start] + text[text.index("</script>", start) :]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    root = three_models(tmp_path_factory.mktemp("runs"))
    return page(compare_runs(read_runs([str(root)], read_config)))


def test_all_is_in_the_page(text):
    data = data_of(text)
    assert data["groups"] == ["DCGAN", "GAN MLP", "GAN ResNet"]
    for axes in data["curves"].values():
        assert set(axes) == {"images_seen", "seconds"}
        assert [line["n"] for line in axes["images_seen"]] == [3, 3, 3]
    assert len(data["grids"]) == 3 and data["grids"][0]["frames"][0]["picture"].startswith(
        "data:image/"
    )
    differing = [path for path, differs, *_ in data["settings"] if differs]
    assert set(differing) == {"model.generator", "model.discriminator"}


def test_nothing_is_fetched(text):
    own = without_library(text)
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!#|data:)[^\"']+", own)
    assert "http://" not in own and "https://" not in own and "@import" not in own
    assert "default-src 'none'" in own and "plotly.js v" in text


def test_names_are_never_markup(tmp_path):
    config = config_of()
    config["model"]["init_args"]["note"] = EVIL
    run = make_run(tmp_path / EVIL.replace("/", "_"), {EVIL: 3.0, "fid/digits@2000": 2.0}, config)
    (run / "metrics.csv").write_text(f"images_seen,{EVIL}\n0,1\n10,2\n")
    other = config_of()
    other["model"]["init_args"]["note"] = "plain"
    make_run(tmp_path / "plain", {"fid/digits@2000": 2.0}, other)
    found = compare_runs(read_runs([str(tmp_path)], read_config))
    text = without_library(page(found))
    assert (
        "<script>alert" not in text and text.count("<script") == 3 and text.count("</script>") == 3
    )
    assert "&lt;script&gt;alert" in text
    assert EVIL in data_of(text)["curves"]
    assert "<script" not in re.sub(r"`[^`]*`|\\<", "", markdown(found))
    assert "<script" not in latex(found).partition("\\begin")[2]


def test_json_cannot_end_its_script():
    text = embedded_json({"a": "</script><!--\u2028&"})
    assert not set("<>&\u2028") & set(text) and json.loads(text) == {"a": "</script><!--\u2028&"}


def test_secrets_never_appear(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "zq81-not-in-plotly-7")
    config = config_of()
    config["data"]["init_args"] |= {
        "api_key": "k3y-of-mine-123",
        "url": "https://me:pa55w0rd@host/x",
    }
    config["model"]["init_args"]["note"] = "uses zq81-not-in-plotly-7"
    run = make_run(tmp_path / "a", {"fid/digits@2000": 2.0}, config)
    (run / "environment.json").write_text(
        json.dumps({"command": ["x", "--token", "t0ken-of-mine"]})
    )
    other = config_of(seed=2)
    make_run(tmp_path / "b", {"fid/digits@2000": 2.0}, other)
    found = compare_runs(read_runs([str(tmp_path)], read_config))
    for write in (page, markdown, latex):
        text = write(found)
        for secret in ("k3y-of-mine-123", "pa55w0rd", "zq81-not-in-plotly-7", "t0ken-of-mine"):
            assert secret not in text


def test_a_picture_that_is_none_is_a_problem(tmp_path):
    run = make_run(tmp_path / "a", {"fid/digits@2000": 2.0})
    (run / "samples" / "00000007.png").write_bytes(b"no picture")
    text = page(compare_runs(read_runs([str(tmp_path)], read_config)))
    assert "00000007.png is no picture" in text


def test_a_run_with_next_to_nothing_has_a_page(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.yaml").write_text("model: {class_path: x.Y}\n")
    text = page(compare_runs(read_runs([str(tmp_path)], read_config)))
    assert "has no result.json" in text and data_of(text)["curves"] == {}


def test_bands_are_students_and_hold_the_mean():
    x = np.array([0.0, 1.0])
    curve = band([(x, np.array([v, 2 * v])) for v in (1.0, 2.0, 3.0)], 300)
    assert curve["y"] == [2.0, 4.0] and curve["n"] == 3
    assert curve["high"][0] - 2.0 == pytest.approx(4.302653 / 3**0.5, rel=1e-4)


def test_lines_on_other_places_meet_on_a_common_grid():
    lines = [
        (np.array([0.0, 2.0, 4.0]), np.array([0.0, 2.0, 4.0])),
        (np.array([1.0, 3.0]), np.array([1.0, 3.0])),
    ]
    curve = band(lines, 300)
    assert curve["y"] == pytest.approx(curve["x"])  # both are y = x
    assert curve["low"] == [None, 1.0, 2.0, 3.0, None]  # one run, then two, then one


def test_a_curve_by_time_is_at_the_mean_time_of_the_seeds():
    places = np.array([0.0, 100.0, 200.0])
    curve = band([(places, np.array([4.0, 2.0, 1.0])), (places, np.array([6.0, 4.0, 3.0]))], 300)
    slow, fast = (places, places / 10), (np.array([100.0, 200.0]), np.array([5.0, 10.0]))
    timed = over_seconds(curve, [slow, fast])
    assert timed["x"] == [0.0, 7.5, 15.0] and timed["y"] == curve["y"] == [5.0, 3.0, 2.0]
    assert over_seconds(curve, []) is None


def test_long_curves_are_thinned_by_means():
    x = np.arange(10_000.0)
    points = thin(x, x % 2, 300)
    assert len(points[0]) == 300 and points[1].mean() == pytest.approx(0.5, abs=1e-3)


def test_curves_have_no_more_points_than_a_screen(tmp_path):
    make_run(tmp_path / "a", {}, steps=2000, images=128_000)
    found = compare_runs(read_runs([str(tmp_path)], read_config))
    for axes in curves(found.groups).values():
        assert all(len(line["x"]) <= 300 for lines in axes.values() for line in lines)


def test_steps_are_spread_with_their_ends():
    assert spread(range(100), 5) == [0, 25, 50, 74, 99] and spread([1, 2], 5) == [1, 2]
