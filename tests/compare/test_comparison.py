"""Groups, columns of one protocol each, verdicts and budgets."""

import pytest

from lightning_gen.compare import read_runs
from lightning_gen.compare.comparison import compare_runs
from lightning_gen.compare.protocols import command, differing, impossible, parts
from lightning_gen.compare.selection import after_selection
from lightning_gen.compare.statistics import holm
from lightning_gen.compare.tables import cell_text, headlines, markdown
from lightning_gen.scores import direction

from .folders import BOUND, DISTANCE, config_of, make_run, read_config, score, three_models

OTHER = "fid@2000:digits-12345678:digits-test-300:abcdefabcdef"
CAN = {"GAN": ["Sampler", "Decoder"], "VAE": ["Sampler", "Likelihood"]}


def test_directions():
    lower = (
        "fid/digits@2000",
        "kid/inception@10000",
        "nll/bound",
        "bpd/iw64",
        "lpips",
        "fid_inf/digits@2000",
    )
    higher = (
        "is/inception@50000",
        "precision/digits@2000",
        "recall",
        "density",
        "coverage",
        "psnr",
        "ssim",
    )
    assert [direction(key) for key in lower] == [-1] * len(lower)
    assert [direction(key) for key in higher] == [1] * len(higher)
    assert direction("generator/loss") == 0 and direction("isolation") == 0


def test_a_protocol_is_read_by_its_parts():
    assert parts(DISTANCE) == {
        "metric": "fid",
        "n": "2000",
        "features": "digits",
        "features digest": "08444c34",
        "reference data": "digits",
        "reference split": "train",
        "reference images": "1297",
        "data fingerprint": "6555043cdb7f",
    }
    assert parts(BOUND)["kind"] == "bound" and parts(BOUND)["dequantisation"] == "none"
    assert differing([DISTANCE, OTHER]) == [
        "features digest",
        "reference split",
        "reference images",
        "data fingerprint",
    ]


@pytest.mark.parametrize(
    ("protocol", "asked"),
    [
        (DISTANCE, "--metrics fid --count 2000 --extractor digits --split train"),
        (
            "fid_inf@2000-parts1,2,3,4:digits-08444c34:digits-test-300:0123456789ab",
            "--metrics fid --count 2000 --extractor digits --split test",
        ),
        (
            "recall@500:inception-tf1-08444c34:x-val-9:0123456789ab",
            "--metrics pr --count 500 --extractor inception-tf1 --split val",
        ),
        (
            "nll:iw250:digits-test-300:0123456789ab:dequantisation-none",
            "--metrics iw --split test --importance 250",
        ),
        (BOUND, "--metrics bpd --split val"),
        ("$(id)@2;id:a;b-12345678", "--metrics '$(id)' --count '2;id' --extractor 'a;b'"),
        ("sampling:cpu-1:batch-100:torch.float32", "--metrics speed"),
    ],
)
def test_what_would_measure_it_again(protocol, asked):
    assert (
        command("a run/last.ckpt", protocol)
        == f"run.py evaluate --checkpoint 'a run/last.ckpt' {asked}"
    )


def test_what_is_impossible_is_known_by_capability():
    can = {"PixelCNN": ["Sampler", "Likelihood"]}
    assert (
        impossible("nll/iw250", "x.PixelCNN", [], can)
        == "PixelCNN has no importance-weighted likelihood"
    )
    assert impossible("nll/exact", "x.PixelCNN", [], can) == ""
    assert impossible("psnr", "x.PixelCNN", [], can) == "PixelCNN has no encoder"
    assert impossible("fid/digits@2000", "x.Unknown", [], can) == ""


def mixed(root):
    make_run(root / "a", {"fid/digits@2000": 10.0}, config_of(seed=1))
    make_run(root / "b", {"fid/digits@2000": 11.0}, config_of(seed=2))
    make_run(root / "c", {"fid/digits@2000": score(90.0, OTHER)}, config_of("LSGAN"))
    return compare_runs(read_runs([str(root)], read_config))


def test_numbers_of_different_protocols_never_share_a_column(tmp_path):
    found = mixed(tmp_path)
    assert len(found.columns) == 2 and found.pairs == []
    for group in found.groups:
        assert sum(cell.summary is not None for cell in found.row(group)) == 1
    assert "features digest, reference split" in found.mixed[0]
    assert "reference split test" in found.columns[1].title
    assert (
        len(found.again) == 1
        and "/c/checkpoints/last.ckpt --metrics fid --count 2000" in found.again[0]
    )
    assert found.again[0].endswith("--extractor digits --split train")
    assert found.again[0] in markdown(found)


def test_a_score_under_another_protocol_besides_makes_the_comparison(tmp_path):
    make_run(tmp_path / "a", {"fid/digits@2000": 10.0})
    also = {DISTANCE: score(70.0)}
    make_run(tmp_path / "b", {"fid/digits@2000": score(90.0, OTHER, also=also)}, config_of("LSGAN"))
    found = compare_runs(read_runs([str(tmp_path)], read_config))
    first = found.columns[0]
    assert first.protocol == DISTANCE and found.again == []
    assert [found.cells[g.name, first].summary.mean for g in found.groups] == [10.0, 70.0]


def test_what_a_model_cannot_have_is_a_value(tmp_path):
    make_run(tmp_path / "a", {"fid/digits@2000": 10.0})
    vae = config_of()
    vae["model"]["class_path"] = "lightning_gen.models.autoencoders.VAE"
    make_run(tmp_path / "b", {"bpd/bound": score(3.0, BOUND)}, vae)
    exact = config_of("Flow")
    make_run(tmp_path / "c", {"bpd/exact": score(3.0, BOUND.replace("bound", "exact"))}, exact)
    found = compare_runs(read_runs([str(tmp_path)], read_config), capabilities=CAN)
    text = {
        (g.name, c.key): cell_text(found.cells[g.name, c])
        for g in found.groups
        for c in found.columns
    }
    assert text["GAN", "bpd/bound"] == "n/a: GAN has no likelihood"
    assert text["VAE", "bpd/exact"] == "n/a: VAE has bound likelihoods"
    assert text["VAE", "fid/digits@2000"] == "not measured"


def test_verdicts_over_seeds(tmp_path):
    found = compare_runs(read_runs([str(three_models(tmp_path))], read_config))
    verdicts = {(pair.a, pair.b): pair.verdict for pair in found.pairs}
    assert verdicts == {
        ("GAN MLP", "DCGAN"): "not distinguishable at n = 3",
        ("GAN ResNet", "DCGAN"): "DCGAN is better",
    }
    assert all(pair.difference.method == "paired t" for pair in found.pairs)
    assert all((pair.family, pair.comparisons) == ("best", 2) for pair in found.pairs)
    best = {g.name for g in found.groups if found.row(g)[0].best}
    assert best == {"DCGAN", "GAN MLP"}
    assert "not distinguishable from" in headlines(found)[0]


def test_a_baseline_is_compared_with_all_others_and_no_more(tmp_path):
    runs = read_runs([str(three_models(tmp_path))], read_config)
    found = compare_runs(runs, baseline="GAN MLP")
    assert [(pair.a, pair.b) for pair in found.pairs] == [
        ("DCGAN", "GAN MLP"),
        ("GAN ResNet", "GAN MLP"),
    ]
    with pytest.raises(ValueError, match="did you mean GAN MLP"):
        compare_runs(runs, baseline="GAN MPL")


def test_single_runs_have_no_interval_and_no_verdict(tmp_path):
    found = compare_runs(read_runs([str(three_models(tmp_path, seeds=(1,)))], read_config))
    assert "(n = 1)" in cell_text(found.row(found.groups[0])[0])
    assert {pair.verdict for pair in found.pairs} == {"no interval at n = 1"}
    assert found.tested == [] and "Differences" not in markdown(found)
    assert not any(cell.best for cell in found.cells.values())
    assert "more seeds are needed" in headlines(found)[0]


def test_higher_is_better_where_it_is(tmp_path):
    for seed in (1, 2, 3):
        for model, value in (("GAN", 0.2), ("LSGAN", 0.8)):
            protocol = DISTANCE.replace("fid", "recall")
            scores = {
                "recall/digits@2000": score(value + 0.001 * seed * (model == "GAN"), protocol)
            }
            make_run(tmp_path / f"{model}{seed}", scores, config_of(model, seed=seed))
    found = compare_runs(read_runs([str(tmp_path)], read_config))
    (pair,) = found.pairs
    assert pair.verdict == "LSGAN is better" and pair.better < 0.001


def test_budgets_that_differ_are_said(tmp_path):
    make_run(tmp_path / "a", {"fid/digits@2000": 10.0}, config_of("GAN"))
    make_run(tmp_path / "b", {"fid/digits@2000": 10.0}, config_of("LSGAN"), images=64000)
    found = compare_runs(read_runs([str(tmp_path)], read_config))
    assert found.budgets[0] == "images seen: from 6,400 (GAN) to 64,000 (LSGAN)"
    assert any("training time" in sentence for sentence in found.budgets)
    assert not any("parameters" in sentence for sentence in found.budgets)


def test_many_groups_are_compared_with_the_best_only(tmp_path):
    for k in range(10):
        for seed in (1, 2):
            config = config_of(lr=1e-4 * (k + 1), seed=seed)
            make_run(
                tmp_path / f"{k}-{seed}",
                {"fid/digits@2000": 10.0 + k + 0.1 * seed * (k + 1)},
                config,
                steps=1,
                pictures=0,
            )
    found = compare_runs(read_runs([str(tmp_path)], read_config))
    assert len(found.groups) == 10 and len(found.pairs) == 9
    assert len({pair.b for pair in found.pairs}) == 1
    assert {(pair.family, pair.comparisons) for pair in found.pairs} == {("best", 9)}
    named = compare_runs(found.runs, baseline=found.pairs[0].b)
    assert {(pair.family, pair.comparisons) for pair in named.pairs} == {("baseline", 9)}
    assert [pair.p for pair in named.pairs] == holm([pair.difference.p for pair in found.pairs])
    p = [pair.difference.p for pair in named.pairs]
    assert p == [pair.difference.p for pair in found.pairs]
    assert [pair.p for pair in found.pairs] == after_selection(p, (1, 2), [(1, 2)] * 9)


def test_without_a_better_side_few_groups_are_compared_each_with_each(tmp_path):
    for seed in (1, 2):
        for name, value in (("DCGAN", 1.0), ("MLP", 2.0), ("ResNet", 4.0)):
            config = config_of(family=name, seed=seed)
            make_run(tmp_path / f"{name}{seed}", {"generator/loss": value + seed % 2}, config)
    found = compare_runs(read_runs([str(tmp_path)], read_config))
    assert {(pair.family, pair.comparisons) for pair in found.pairs} == {("pairs", 3)}
    assert "for all pairs" in markdown(found) and "best mean" not in markdown(found)
