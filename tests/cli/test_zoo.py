"""The zoo's catalogue says of every name what it is and where; what it says is here trains."""

import importlib
import json
import re
import tomllib
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from pytorch_lightning import LightningModule

from lightning_gen.cli import main
from lightning_gen.cli.catalogue import ZOO_STATUSES, read_catalogue, read_zoo
from tests.test_configs import shrunk

ROOT = Path(__file__).parents[2]
ZOO = read_zoo()
HERE = [row for row in ZOO if row["status"] in ("implemented", "config")]
NAMES = [row["name"] for row in HERE]


def test_the_zoo_has_92_names_each_of_them_once():
    """Its picture prints WGAN-GP twice, and CCGAN a second time as SSL-GAN, which is a row here."""
    names = [row["name"] for row in ZOO]
    assert len(names) == len(set(names)) == 92
    papers = Counter(row["paper"] for row in ZOO)
    assert [row["name"] for row in ZOO if papers[row["paper"]] > 1] == ["CCGAN", "SSL-GAN"]


def test_every_row_is_filled_and_whatever_is_not_here_has_a_reason():
    for row in ZOO:
        assert row["status"] in ZOO_STATUSES, row["name"]
        assert all(row[key].strip() == row[key] != "" for key in ("paper", "change", "modality"))
        assert len(row["change"]) <= 90, row["name"]
        is_here = row in HERE
        assert bool(row["reason"]) != is_here, row["name"]
        assert bool(row["class_path"]) == bool(row["config"]) == is_here, row["name"]
        assert not row["paper"].startswith("http") or re.fullmatch(
            r"https://arxiv\.org/abs/\d{4}\.\d{4,5}", row["paper"]
        )


@pytest.mark.parametrize("row", HERE, ids=NAMES)
def test_its_class_imports_and_its_config_is_of_this_class(row):
    module, name = row["class_path"].rsplit(".", 1)
    assert issubclass(getattr(importlib.import_module(module), name), LightningModule)
    content = yaml.safe_load((ROOT / row["config"]).read_text())
    assert content["model"]["class_path"].split(".")[-1] == name


def test_a_class_of_its_own_is_said_of_one_name_only():
    owners = Counter(row["class_path"] for row in HERE if row["status"] == "implemented")
    assert max(owners.values()) == 1


def test_both_catalogues_have_the_same_papers_for_the_same_names():
    zoo = {row["name"]: row for row in ZOO}
    for row in read_catalogue():
        if row["name"] in zoo:
            known = zoo[str(row["name"])]
            assert known["paper"] == row["paper"]
            assert known["class_path"] == row["class_path"]
            assert known["status"] == row["status"]


@pytest.mark.slow
@pytest.mark.parametrize("row", HERE, ids=NAMES)
def test_it_takes_a_training_step(row, tmp_path):
    config, run = shrunk(ROOT / row["config"], tmp_path / "config.yaml"), tmp_path / "run"
    options = [f"--config={config}", f"--run_dir={run}", "--trackers=[csv]"]
    assert main(["fit", *options, "--debug", "--allow-any-class"]) == 0
    assert (run / "checkpoints" / "last.ckpt").exists()


def test_it_is_printed_with_counts(capsys):
    assert main(["models", "--zoo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["GAN", "implemented"]
    assert len(lines) == 92 + 1 + len(ZOO_STATUSES) + 1
    counts = {line[:18].strip(): int(line[18:].split()[0]) for line in lines[93:]}
    assert counts.pop("total") == sum(counts.values()) == 92
    assert counts == {**dict.fromkeys(ZOO_STATUSES, 0), **Counter(row["status"] for row in ZOO)}
    assert max(map(len, lines)) <= 130


def test_it_is_printed_as_objects(capsys):
    assert main(["models", "--zoo", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows == ZOO
    keys = ["name", "paper", "change", "modality", "status", "reason", "class_path", "config"]
    assert all(list(row) == keys for row in rows)


def test_the_catalogues_are_part_of_the_package():
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = setup["package-data"]["lightning_gen"]
    for path in (ROOT / "lightning_gen" / "models").glob("*.csv"):
        assert any(fnmatch(f"models/{path.name}", pattern) for pattern in patterns), path.name
