"""Runs from W&B: its offline files, whole and damaged, and its service as far as it answers."""

import json
import os
import struct
import subprocess
import sys
import zlib
from types import SimpleNamespace

import pytest
import yaml

from lightning_gen.compare import read_runs
from lightning_gen.compare.comparison import compare_runs
from lightning_gen.compare.places import find_runs
from lightning_gen.compare.tracked import (
    BLOCK,
    CHUNK,
    FIRST,
    FULL,
    HEADER,
    LAST,
    read_offline,
    read_online,
)

from ..cli.test_cli import ROOT
from .folders import DISTANCE, config_of, make_run, read_config, score

MIDDLE = 3
protocol = pytest.importorskip("wandb.proto.wandb_internal_pb2")


def log(records):
    """Records in the form of LevelDB's log, over as many blocks as they take."""
    data = bytearray(b":W&B\xe1\xbe\x00")
    assert len(data) == HEADER
    for record in records:
        rest, first = record.SerializeToString(), True
        while True:
            left = BLOCK - len(data) % BLOCK
            if left < CHUNK.size:
                data += bytes(left)
                continue
            part, rest = rest[: left - CHUNK.size], rest[left - CHUNK.size :]
            kind = (FULL if first else LAST) if not rest else (FIRST if first else MIDDLE)
            checksum = zlib.crc32(bytes([kind]) + part)
            data += struct.pack("<IHB", checksum, len(part), kind) + part
            first = False
            if not rest:
                break
    return bytes(data)


def items(target, values):
    for key, value in values.items():
        target.add(key=key, value_json=json.dumps(value))


def records(config=None, value=12.0, finished=True, rows=5):
    run = protocol.Record()
    items(run.run.config.update, {"lr": 1e-3})
    found = [run]
    if config:
        told = protocol.Record()
        result = {"scores": {"fid/digits@2000": score(value)}, "budget": {"parameters": 7}}
        items(told.config.update, {"run": config, "result": result})
        found.append(told)
    for k in range(rows):
        row = protocol.Record()
        values = {
            "images_seen": 64.0 * k,
            "generator/loss": 1 / (k + 1),
            "samples": "x" * 3000,
            "_step": k,
        }
        items(row.history.item, values)
        found.append(row)
    summary = protocol.Record()
    summary.summary.update.add(nested_key=["samples", "count"], value_json="1")
    items(summary.summary.update, {"kid/digits@2000": 0.5, "generator/loss": 0.1})
    found.append(summary)
    if finished:
        end = protocol.Record()
        end.exit.exit_code = 0
        found.append(end)
    return found


def offline(folder, **choices):
    folder.mkdir(parents=True)
    (folder / "run-abc.wandb").write_bytes(log(records(**choices)))
    return folder


def test_an_offline_run_is_read_over_several_blocks(tmp_path):
    folder = offline(tmp_path / "wandb" / "offline-run-1", config=config_of(), rows=40)
    assert (folder / "run-abc.wandb").stat().st_size > 3 * BLOCK
    assert find_runs([str(tmp_path)]) == [str(folder)]
    run = read_offline(folder)
    assert run.problems == [] and run.finished and run.seed == 1
    assert [(s.key, s.value, s.protocol) for s in run.scores] == [
        ("fid/digits@2000", 12.0, DISTANCE),
        ("kid/digits@2000", 0.5, "not stated"),
    ]
    assert len(run.history) == 40 and set(run.history) == {"images_seen", "generator/loss"}
    assert run.budget == {"parameters": 7.0, "images_seen": 39 * 64.0}


def test_offline_runs_and_run_folders_share_a_table_and_a_column(tmp_path):
    offline(tmp_path / "offline-run-1", config=config_of(seed=2))
    make_run(tmp_path / "a", {"fid/digits@2000": 11.0}, config_of(seed=1))
    found = compare_runs(read_runs([str(tmp_path)], read_config))
    (group,) = found.groups
    cell = found.cells[group.name, found.columns[0]]
    assert cell.values == {1: 11.0, 2: 12.0}
    assert any("protocol not stated" in column.title for column in found.columns)


def test_a_run_without_its_config_is_left_out_and_said(tmp_path):
    run = read_offline(offline(tmp_path / "offline-run-1"))
    assert run.config == {} and "does not have its whole config" in run.problems[0]


@pytest.mark.parametrize("cut", [0, 5, 8, 300, -1, -20])
def test_a_file_that_is_cut_is_read_as_far_as_it_goes(tmp_path, cut):
    folder = offline(tmp_path / "offline-run-1", config=config_of(), finished=False)
    path = folder / "run-abc.wandb"
    path.write_bytes(path.read_bytes()[:cut])
    run = read_offline(folder)
    assert run.problems and not run.finished
    assert (run.history is not None) == (cut < 0)


def test_a_changed_byte_is_found(tmp_path):
    folder = offline(tmp_path / "offline-run-1", config=config_of())
    path = folder / "run-abc.wandb"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert any("checksum" in problem for problem in read_offline(folder).problems)


def test_w_and_b_that_cannot_be_asked_is_one_sentence(monkeypatch):
    import wandb

    def refuse(**_):
        raise wandb.errors.CommError("no network.\n")

    monkeypatch.setattr(wandb, "Api", refuse)
    with pytest.raises(ValueError, match=r"could not be asked for me/gans: no network; check"):
        read_online("wandb://me/gans")
    with pytest.raises(ValueError, match="entity/project"):
        read_online("wandb://me")


def test_online_runs_are_read_by_the_public_api(monkeypatch):
    import wandb

    result = {"scores": {"fid/digits@2000": score(9.0)}, "budget": {}}
    there = SimpleNamespace(
        path=["me", "gans", "abc"],
        state="finished",
        config={"run": config_of(seed=4), "result": result},
        summary={"fid/digits@2000": 9.0},
        scan_history=lambda page_size: iter(
            [{"images_seen": 0, "x": 1.0}, {"images_seen": 64, "x": None}]
        ),
    )
    api = SimpleNamespace(runs=lambda path: [there], run=lambda path: there)
    monkeypatch.setattr(wandb, "Api", lambda timeout: api)
    (run,) = read_runs(["wandb://me/gans"], read_config)
    assert (run.place, run.name, run.seed) == ("wandb://me/gans/abc", "gans/abc", 4)
    assert run.problems == [] and run.scores[0].value == 9.0 and len(run.history) == 2


@pytest.mark.slow
def test_a_real_offline_run_holds_what_its_folder_does(tmp_path):
    vae = ROOT / "configs" / "digits" / "vae.yaml"
    folder = tmp_path / "runs" / "a"
    command = [
        sys.executable,
        str(ROOT / "run.py"),
        "fit",
        "--config",
        str(vae),
        f"--run_dir={folder}",
    ]
    short = [
        "--trainer.max_steps=40",
        "--trainer.log_every_n_steps=10",
        "--trainer.accelerator=cpu",
    ]
    mode = {**os.environ, "WANDB_MODE": "offline"}
    subprocess.run([*command, *short, "--trackers=[csv,wandb]"], env=mode, check=True)
    (tracked,) = (folder / "wandb").glob("offline-run-*")
    (here,), there = read_runs([str(folder)], read_config), read_offline(tracked)
    assert there.problems == [] and there.finished and there.config == here.config
    assert yaml.safe_load((folder / "config.yaml").read_text())["seed_everything"] == there.seed
    assert {(s.key, s.value, s.protocol) for s in there.scores} == {
        (s.key, s.value, s.protocol) for s in here.scores
    }
    assert there.budget["images_seen"] == here.budget["images_seen"]
