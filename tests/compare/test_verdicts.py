"""Who is said to be better: never against the means, nor of seeds counted twice or of unlike scores."""

import json

import pytest

from lightning_gen.compare import read_runs
from lightning_gen.compare.comparison import compare_runs
from lightning_gen.compare.page import page
from lightning_gen.compare.pairs import Cell, Column, mark_best, pairs_of
from lightning_gen.compare.protocols import UNSTATED
from lightning_gen.compare.runs import Run, Score
from lightning_gen.compare.statistics import summarise
from lightning_gen.compare.tables import headlines, latex, markdown, run_frame

from .folders import DISTANCE, config_of, make_run, read_config, score

KEY = "fid/digits@2000"


def run(place, value=1.0, seed=1, finished=True, images=6400.0, protocol=DISTANCE, **settings):
    scores = [] if value is None else [Score(KEY, value, protocol)]
    budget = {"images_seen": images}
    config = config_of(seed=seed, **settings)
    return Run(place, config, scores, budget, finished=finished, name=place)


def two_models(a, b, protocol=DISTANCE):
    """A comparison of two models with values by seed."""
    runs = [run(f"a{k}", v, k, protocol=protocol) for k, v in enumerate(a)]
    runs += [run(f"b{k}", v, k, model="LSGAN", protocol=protocol) for k, v in enumerate(b)]
    return compare_runs(runs)


def test_the_headline_and_the_table_name_the_same_group():
    """On the seeds that both have LSGAN is better, by its mean of all GAN is."""
    found = two_models([10.0, 20.1, 29.9], [9.0, 19.0, 29.0, 100.0, 100.0])
    (pair,) = found.pairs
    assert pair.difference.method == "Welch's t" and pair.difference.n == (5, 3)
    assert pair.difference.mean == pytest.approx(51.4 - 20.0)
    assert pair.verdict == "not distinguishable at n = 5 and 3" and pair.winner == ""
    assert "GAN has the best mean" in headlines(found)[0] and "not disting" in headlines(found)[0]
    assert not any(cell.best for cell in found.cells.values())


def test_a_group_is_beaten_only_by_the_winner():
    """A pair that the other won marks nothing, whatever the means say."""
    column = Column(KEY, DISTANCE)
    values = {"A": {1: 1.0, 2: 1.1, 3: 0.9}, "B": {1: 5.0, 2: 5.2, 3: 5.1}}
    cells = {name: Cell(summarise(list(v.values())), v) for name, v in values.items()}
    (pair,) = pairs_of(column, cells, None)
    assert pair.decided and pair.winner == "A" and pair.verdict == "A is better"
    other = {"A": cells["B"], "B": cells["A"]}  # now B has the best mean, and A won the pair
    mark_best(column, other, [pair])
    assert not other["A"].best and not other["B"].best
    mark_best(column, cells, [pair])
    assert cells["A"].best and not cells["B"].best


def test_a_lucky_single_seed_takes_no_verdict_from_the_others():
    values = {"GAN": [1.0], "LSGAN": [2.0, 2.05, 2.1], "WGAN": [9.0, 9.05, 9.1]}
    runs = [
        run(f"{model}{seed}", value, seed, model=model)
        for model, each in values.items()
        for seed, value in enumerate(each)
    ]
    found = compare_runs(runs)
    assert [(pair.a, pair.winner) for pair in found.pairs if pair.winner] == [("WGAN", "LSGAN")]
    assert "more seeds are needed" in headlines(found)[0]


def test_a_headline_claims_no_more_than_was_tested():
    values = {"GAN": [1.0, 1.05, 1.1], "LSGAN": [1.2], "WGAN": [9.0, 9.05, 9.1]}
    runs = [
        run(f"{model}{seed}", value, seed, model=model)
        for model, each in values.items()
        for seed, value in enumerate(each)
    ]
    assert "better than 1 of the other 2" in headlines(compare_runs(runs))[0]


def test_a_baseline_without_the_score_is_said_so():
    runs = [run(f"a{k}", 1.0 + k, k) for k in range(3)]
    runs += [run(f"b{k}", 2.0 + k, k, model="LSGAN") for k in range(3)]
    runs += [run(f"c{k}", None, k, model="WGAN") for k in range(3)]
    said = headlines(compare_runs(runs, baseline="WGAN"))[0]
    assert "WGAN has no such score" in said and "more seeds" not in said


def test_a_winner_is_the_higher_where_higher_is_better():
    values = {"A": {1: 0.1, 2: 0.11, 3: 0.09}, "B": {1: 0.5, 2: 0.52, 3: 0.51}}
    cells = {name: Cell(summarise(list(v.values())), v) for name, v in values.items()}
    (pair,) = pairs_of(Column("recall/digits@2000", DISTANCE), cells, None)
    assert pair.winner == "B"
    (pair,) = pairs_of(Column("generator/loss", DISTANCE), cells, None)
    assert pair.winner == "" and pair.verdict == "A is lower"


def test_a_finished_run_stays_and_not_its_broken_twin():
    broken = run("broken", None, finished=False, images=640.0)
    found = compare_runs([broken, run("whole", 3.0)])
    assert [r.name for r in found.groups[0].runs] == ["whole"]
    assert found.row(found.groups[0])[0].values == {1: 3.0}
    assert found.problems == [
        ("broken", "left out, as whole has the same settings and the same seed")
    ]


def test_of_unfinished_twins_the_longest_stays_then_that_of_the_most_scores():
    short, long = run("short", 1.0, finished=False, images=64.0), run("long", 2.0, finished=False)
    bare = run("bare", None, finished=False)
    found = compare_runs([short, bare, long])
    assert [r.name for r in found.groups[0].runs] == ["long"] and len(found.problems) == 2


def test_a_seed_counts_once_whatever_machine_it_ran_on():
    again = run("c", 3.1, seed=1, devices=2, log_every_n_steps=3, callbacks=[{"class_path": "x.Y"}])
    again.config["data"]["init_args"] |= {"root": "/elsewhere", "num_workers": 8}
    found = compare_runs([run("a", 3.0, seed=1), run("b", 4.0, seed=2), again])
    cell = found.row(found.groups[0])[0]
    assert cell.summary.n == 2 and cell.values == {1: 3.0, 2: 4.0}


def test_twins_stay_where_it_is_asked_what_tells_them_apart():
    found = compare_runs([run("a", 3.0, devices=1), run("b", 3.1, devices=2)], by="devices")
    assert [group.name for group in found.groups] == ["devices=1", "devices=2"]
    assert found.problems == []


def test_scores_without_a_protocol_are_never_judged():
    found = two_models([1.0, 1.1, 1.2], [9.0, 9.1, 9.3], UNSTATED)
    assert found.pairs == [] and headlines(found) == []
    assert not any(cell.best for cell in found.cells.values())
    assert "**" not in markdown(found) and "GAN is better" not in page(found)
    assert two_models([1.0, 1.1, 1.2], [9.0, 9.1, 9.3]).pairs[0].winner == "GAN"


def test_a_score_of_another_checkpoint_is_marked(tmp_path):
    make_run(tmp_path / "a", {KEY: score(3.0, images_seen=3200)}, config_of(seed=1))
    make_run(tmp_path / "b", {KEY: 4.0}, config_of(seed=2))
    found = compare_runs(read_runs([str(tmp_path)], read_config))
    said = f"{KEY} is of another checkpoint: of 3,200 images, where the run saw 6,400"
    assert [problem for _, problem in found.problems] == [said]
    cell = found.row(found.groups[0])[0]
    assert cell.elsewhere == 1 and cell.note == "1 of 2 of another checkpoint"
    assert "(n = 2, 1 of 2 of another checkpoint)" in markdown(found)
    assert "at 3,200 images" in page(found) and "$^\\dagger$" in latex(found)
    assert list(run_frame(found)["measured_at"]) == [3200, 6400]


def test_without_a_stated_budget_no_score_is_of_another_checkpoint(tmp_path):
    folder = make_run(tmp_path / "a", {KEY: score(3.0, images_seen=6401)})
    result = json.loads((folder / "result.json").read_text())
    del result["budget"]
    (folder / "result.json").write_text(json.dumps(result))
    (read,) = read_runs([str(folder)], read_config)
    assert read.budget["images_seen"] == 6400 and not read.scores[0].elsewhere  # of its history


def test_a_protocol_is_only_text():
    evil = "fid@2:x\n\\input{/etc/passwd}\n``` `<script>"
    found = two_models([1.0, 1.1, 1.2], [9.0, 9.1, 9.3], evil)
    body = latex(found)
    before = body[: body.index("\\begin{tabular}")]
    assert all(line.startswith("%") for line in before.splitlines())
    text = markdown(found).partition("## Protocols")[2].strip()
    assert len(text.splitlines()) == 1 and "```` fid@2:x" in text and text.endswith(" ````")
