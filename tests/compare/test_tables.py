"""Markdown, CSV and LaTeX, by their structure; and what stands in their cells."""

import html
import io
import math
import re

import pandas as pd
import pytest

from lightning_gen.compare import read_runs
from lightning_gen.compare.comparison import compare_runs
from lightning_gen.compare.page import page
from lightning_gen.compare.statistics import Summary, summarise
from lightning_gen.compare.tables import (
    corrections,
    digits,
    group_frame,
    latex,
    markdown,
    pair_frame,
    run_frame,
    shown,
)

from .folders import config_of, make_run, read_config, three_models


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return compare_runs(
        read_runs([str(three_models(tmp_path_factory.mktemp("runs")))], read_config)
    )


def rows_of(text):
    return [
        re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")
    ]


def test_markdown_has_a_row_for_each_model_and_each_pair(found):
    text = markdown(found)
    table, differences = text.split("## Differences")
    rows = rows_of(table)
    assert [cell.strip() for cell in rows[0]] == [
        "model",
        "fid/digits@2000 ↓",
        "images seen",
        "parameters",
        "training time",
    ]
    assert len(rows) == 2 + 3 and {len(row) for row in rows} == {5}
    assert re.fullmatch(r"\*\*[\d.]+ ± [\d.]+ \(n = 3\)\*\*", rows[2][1].strip())
    assert len(rows_of(differences)) == 2 + 2  # each with the best
    assert "Student's t interval" in text and "not distinguishable at n = 3" in text
    assert "`fid@2000:digits-08444c34:digits-train-1297:6555043cdb7f`" in text


def test_it_is_said_for_which_comparisons_p_is_corrected(found):
    best, decided, chance = corrections(found)
    assert "k - 1 comparisons" in best and "the values have chosen that one" in best
    assert "0.05" in decided and "P(A better)" in chance
    named = compare_runs(found.runs, baseline="GAN MLP")
    assert corrections(named)[0].startswith("Every group is compared with GAN MLP, and p is")
    for each, sentence in ((found, best), (named, corrections(named)[0])):
        assert sentence in markdown(each) and sentence in html.unescape(page(each))
    frame = pair_frame(found)
    assert set(frame["family"]) == {"best"} and set(frame["comparisons"]) == {2}
    assert list(frame["p_corrected"]) == [pair.p for pair in found.pairs]


def test_latex_is_a_booktabs_table(found):
    text = latex(found)
    body = text[text.index("\\begin") :]
    assert [line for line in body.splitlines() if re.fullmatch(r"\\\w+", line)] == [
        "\\toprule",
        "\\midrule",
        "\\bottomrule",
    ]
    rows = [line for line in body.splitlines() if line.endswith("\\\\")]
    assert len(rows) == 4 and {row.count("&") for row in rows} == {2}
    assert "\\textbf{" in rows[1] and "$\\pm$" in rows[1] and "$\\downarrow$" in rows[0]
    assert body.count("{") == body.count("}")


def test_latex_leaves_nothing_of_a_name_to_tex(tmp_path):
    config = config_of()
    config["model"]["init_args"]["trick"] = "50%_&{x}$~^\\#"
    make_run(tmp_path / "a", {"fid/digits@2000": 1.0}, config_of())
    make_run(tmp_path / "b", {"fid/digits@2000": 1.0}, config)
    body = latex(compare_runs(read_runs([str(tmp_path)], read_config))).partition("\\midrule")[2]
    assert r"50\%\_\&\{x\}\$\textasciitilde{}\textasciicircum{}\textbackslash{}\#" in body


def test_csv_is_read_back(found):
    frame = pd.read_csv(io.StringIO(group_frame(found).to_csv(index=False)))
    assert list(frame["model"]) == ["DCGAN", "GAN MLP", "GAN ResNet"]
    cell = found.row(found.groups[0])[0].summary
    assert frame["mean"][0] == pytest.approx(cell.mean) and frame["high"][0] == pytest.approx(
        cell.high
    )
    assert set(frame["better"]) == {"lower"} and set(frame["n"]) == {3}
    assert len(run_frame(found)) == 9 and len(pair_frame(found)) == 2


@pytest.mark.parametrize(
    ("summary", "text"),
    [
        (Summary(1, 12.3456, math.nan, math.nan, "one value"), "12.35"),
        (Summary(3, 12.3456, 12.2222, 12.469, "Student's t"), "12.35 ± 0.12"),
        (Summary(3, 1234.5, 1134.5, 1334.5, "Student's t"), "1,230 ± 100"),
        (Summary(20, 0.51234, 0.4, 0.7, "bootstrap-t"), "0.51 [0.40, 0.70]"),
        (Summary(3, 2.5, 2.5, 2.5, "Student's t"), "2.500 ± 0"),
        (Summary(3, 1e-7, 0.9e-7, 1.1e-7, "Student's t"), "1e-07 ± 1e-08"),
    ],
)
def test_means_have_the_digits_that_their_intervals_warrant(summary, text):
    assert shown(summary) == text


def test_digits_of_odd_values():
    assert digits(math.nan, 1, 2) == "-" and digits(3.14159, 0, 2) == "3.142"
    assert shown(summarise([0.0, 0.0])) == "0 ± 0"
