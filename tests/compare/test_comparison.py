"""Groups, columns of one protocol each, verdicts and budgets."""

import pytest

from lightning_gen.compare import read_runs
from lightning_gen.compare.comparison import compare_runs
from lightning_gen.compare.grouping import group_runs, number
from lightning_gen.compare.protocols import command, differing, impossible, parts
from lightning_gen.compare.runs import Run
from lightning_gen.compare.tables import cell_text, headlines, markdown
from lightning_gen.scores import direction

from .folders import BOUND, DISTANCE, config_of, make_run, read_config, score, three_models

OTHER = "fid@2000:digits-12345678:digits-test-300:abcdefabcdef"
CAN = {"GAN": ["Sampler", "Decoder"], "VAE": ["Sampler", "Likelihood"]}


def names(*configs, by="model"):
    return [
        g.name
        for g in group_runs([Run(f"r/{k}", c, name=f"r/{k}") for k, c in enumerate(configs)], by)
    ]


def test_seeds_and_machines_make_no_group():
    same = config_of(seed=2, devices=4, logger=None, log_every_n_steps=3)
    same["data"]["init_args"] |= {"root": "/elsewhere", "num_workers": 8}
    assert names(config_of(seed=1), same) == ["GAN"]


def test_groups_are_named_by_what_departs_from_the_usual():
    assert names(config_of(), config_of(lr=1e-4), config_of(seed=2)) == ["GAN", "GAN lr=1e-4"]
    assert names(config_of(), config_of(lr=1e-4), config_of(family="MLP")) == [
        "DCGAN",
        "DCGAN lr=1e-4",
        "GAN MLP",
    ]
    assert names(config_of(), config_of("LSGAN")) == ["GAN", "LSGAN"]
    assert names(config_of(), config_of(max_steps=500)) == ["GAN", "GAN max_steps=500"]


def test_what_differs_in_one_network_is_named_with_it():
    wide = config_of()
    wide["model"]["init_args"]["generator"]["init_args"]["width"] = 128
    narrow = config_of()
    narrow["model"]["init_args"]["discriminator"]["init_args"]["width"] = 32
    assert names(config_of(), wide, narrow) == ["GAN", "GAN width=128", "GAN width=32"]
    both = config_of()
    both["model"]["init_args"]["generator"]["init_args"]["width"] = 128
    both["model"]["init_args"]["discriminator"]["init_args"]["width"] = 32
    assert names(config_of(), both)[1] == "GAN generator.width=128 discriminator.width=32"


def test_names_are_never_shared_by_two_settings():
    configs = [config_of()]
    for which in ("generator", "discriminator"):
        configs.append(config_of())
        configs[-1]["model"]["init_args"][which]["init_args"]["width"] = 128
    assert len(set(names(*configs))) == 3


def test_other_data_are_in_the_name():
    other = config_of()
    other["data"]["class_path"] = "datamodules.MNIST"
    assert names(config_of(), other) == ["GAN on Digits", "GAN on MNIST"]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("class", ["GAN", "LSGAN"]),
        ("run", ["r/0", "r/1", "r/2"]),
        ("generator_optimizer.lr", ["lr=2e-4", "lr=1e-4"]),
        ("data", ["Digits"]),
        (
            "data.init_args.batch_size,class",
            ["batch_size=64 model=GAN", "batch_size=64 model=LSGAN"],
        ),
    ],
)
def test_groups_by_settings(by, expected):
    assert names(config_of(), config_of(lr=1e-4), config_of("LSGAN"), by=by) == expected


def test_a_setting_that_no_run_has_is_answered_with_one_that_is_near():
    with pytest.raises(ValueError, match=r"did you mean data\.batch_size"):
        names(config_of(), by="data.batch_sise")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-4, "1e-4"),
        (0.5, "0.5"),
        (64.0, "64"),
        (2.5e-5, "2.5e-5"),
        (0.0, "0"),
        (1e7, "1e7"),
        (-2e-4, "-2e-4"),
    ],
)
def test_numbers_are_written_as_people_do(value, text):
    assert number(value) == text


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
    assert verdicts["DCGAN", "GAN MLP"] == "not distinguishable at n = 3"
    assert verdicts["DCGAN", "GAN ResNet"] == "DCGAN is better"
    assert all(pair.difference.method == "paired t" and pair.family == 3 for pair in found.pairs)
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
    assert {pair.family for pair in found.pairs} == {45}  # the values have chosen the best
    named = compare_runs(found.runs, baseline=found.pairs[0].b)
    assert {pair.family for pair in named.pairs} == {9}
