"""What a group is, and what it is called."""

import json

import pytest

from lightning_gen.compare.grouping import group_runs
from lightning_gen.compare.naming import _departures, number
from lightning_gen.compare.runs import Run, read_run

from .folders import config_of, make_run, read_config


def names(*configs, by="model", rows=None):
    rows = rows or [""] * len(configs)
    runs = [
        Run(f"r/{k}", config, name=f"r/{k}", row=row)
        for k, (config, row) in enumerate(zip(configs, rows, strict=True))
    ]
    return [group.name for group in group_runs(runs, by)]


def labelled(classes=10, networks=("generator", "discriminator"), **settings):
    """A config whose networks are given labels."""
    config = config_of(**settings)
    for network in ("generator", "discriminator"):
        given = classes if network in networks else None
        config["model"]["init_args"][network]["init_args"]["num_classes"] = given
    return config


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


def test_what_is_given_labels_is_conditional_and_the_other_is_not():
    """Whichever is the more usual, and without how long each was trained."""
    plain, given = labelled(None, max_steps=3000), labelled(max_steps=3600)
    assert names(plain, given) == ["GAN", "GAN conditional"]
    assert names(given, {**given, "seed_everything": 2}, plain) == ["GAN conditional", "GAN"]
    assert names(config_of(), given) == ["GAN", "GAN conditional"]  # null is the default
    assert names(plain, given, labelled(lr=1e-4)) == [
        "GAN",
        "GAN conditional",
        "GAN conditional lr=1e-4",
    ]


def test_labels_that_are_no_switch_are_said_in_full():
    assert names(labelled(None), labelled(10), labelled(100)) == [
        "GAN",
        "GAN num_classes=10",
        "GAN num_classes=100",
    ]
    half = labelled(networks=("generator",))
    assert len(set(names(labelled(None), labelled(), half))) == 3


def test_how_long_a_run_was_is_said_of_what_differs_in_nothing_else():
    base, long = config_of(), config_of(max_steps=500)
    assert names(base, config_of(lr=1e-4, max_steps=500)) == ["GAN", "GAN lr=1e-4"]
    assert names(base, long, config_of(lr=1e-4, max_steps=300)) == [
        "GAN",
        "GAN max_steps=500",
        "GAN lr=1e-4",
    ]
    assert names(labelled(None), labelled(), labelled(max_steps=500)) == [
        "GAN",
        "GAN conditional",
        "GAN conditional max_steps=500",
    ]


def test_runs_of_a_suite_are_called_as_their_rows():
    other = labelled(max_steps=500)
    rows = ["DCGAN", "conditional GAN"]
    assert names(config_of(), other, rows=rows) == rows
    both = names(config_of(), config_of(max_steps=500), rows=["DCGAN", "DCGAN"])
    assert both == ["DCGAN", "DCGAN max_steps=500"]  # of two scales
    mnist = config_of()
    mnist["data"]["class_path"] = "datamodules.MNIST"
    assert names(config_of(), mnist, rows=["DCGAN", "DCGAN"]) == [
        "DCGAN on Digits",
        "DCGAN on MNIST",
    ]


def test_a_run_beside_a_suite_is_in_the_group_of_its_settings():
    assert names(config_of(seed=1), config_of(seed=2), rows=["DCGAN", ""]) == ["DCGAN"]
    mixed = names(config_of(), config_of(lr=1e-4), config_of("LSGAN"), rows=["a", "", "b"])
    assert mixed == ["GAN", "GAN lr=1e-4", "b"]  # where some of a kind have no row
    assert names(config_of(), config_of("LSGAN"), rows=["a", "a"]) == ["GAN", "LSGAN"]
    assert names(config_of(seed=1), config_of(seed=2), rows=["a", "b"]) == ["GAN"]


@pytest.mark.parametrize(
    ("note", "folder", "row"),
    [
        ({"row": "AC-GAN", "recipe": "0"}, "ac-gan-1", "AC-GAN"),
        ({"recipe": "0"}, "ac-gan-1", "ac-gan"),
        ({"recipe": "0"}, "ac-gan-2", ""),  # not of this seed: it was called otherwise
        ({"row": 3}, "moved", ""),
        (None, "ac-gan-1", ""),  # nobody's row
    ],
)
def test_the_row_of_a_run_is_noted_in_it_or_is_in_the_name_of_its_folder(
    tmp_path, note, folder, row
):
    run = make_run(tmp_path / folder, {}, config_of(seed=1))
    if note is not None:
        (run / "suite.json").write_text(json.dumps(note))
    assert read_run(str(run), read_config).row == row


def test_two_settings_of_one_name_are_both_said():
    said = _departures({"data.size": "10", "model.size": "14"})
    assert said == ["data.size=10", "model.size=14"]
