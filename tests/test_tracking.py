"""result.json: numbers of different protocols never take each other's place."""

import json
from types import SimpleNamespace

import pytest
import torch

from lightning_gen.files import write_text
from lightning_gen.tracking import record


def fake(folder, stage="fit"):
    model = torch.nn.Linear(2, 1)
    model.images_seen = 640
    return SimpleNamespace(
        is_global_zero=True,
        default_root_dir=str(folder),
        lightning_module=model,
        state=SimpleNamespace(fn=stage),
        global_step=10,
        current_epoch=1,
        world_size=1,
    )


def score(value, protocol):
    return {"nll/bound": {"value": value, "protocol": protocol}}


def test_a_newer_score_of_the_same_protocol_replaces_the_older(tmp_path):
    for value in (3.0, 2.0):
        record(fake(tmp_path), score(value, "nll:bound:val"))
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["scores"] == score(2.0, "nll:bound:val")
    assert content["budget"]["steps"] == 10
    assert content["budget"]["parameters"] == 3


def test_scores_of_other_protocols_are_kept_beside_it(tmp_path):
    for value, protocol in ((3.0, "val"), (4.0, "test"), (2.0, "val"), (5.0, "other")):
        record(fake(tmp_path), score(value, protocol))
    entry = json.loads((tmp_path / "result.json").read_text())["scores"]["nll/bound"]
    assert (entry["value"], entry["protocol"]) == (5.0, "other")
    assert {p: e["value"] for p, e in entry["also"].items()} == {"val": 2.0, "test": 4.0}


def test_only_training_changes_the_budget(tmp_path):
    record(fake(tmp_path), {})
    later = fake(tmp_path, "test")
    later.global_step = 0
    record(later, score(1.0, "test"))
    assert json.loads((tmp_path / "result.json").read_text())["budget"]["steps"] == 10


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\udc80")  # cannot be encoded
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
