"""The callbacks that tell of a run: progress, curves and environment."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning.loggers import CSVLogger

from callbacks import FID, Curves, Environment, Progress
from callbacks.curves import COLOURS, draw_panels, panels, read_curves, short, ticks
from callbacks.environment import git_state
from tests.callbacks.parts import TinyData, TinyModel, trainer


def test_the_bar_shows_plain_values_and_images_seen_and_no_version(tmp_path):
    model = TinyModel()
    model.latest, model.images_seen = {"loss": 1.23456789}, 12345
    bar = Progress()
    assert bar.get_metrics(trainer(tmp_path), model) == {"loss": "1.235", "images": "12,345"}
    assert bar.refresh_rate == 20


class Telling(TinyModel):
    """Has a value to show after each step."""

    def training_step(self, batch, batch_idx):
        self.latest = {"loss": self.global_step + 0.5}
        return super().training_step(batch, batch_idx)


def fit_with_bar(folder, bar, **kwargs):
    trainer(folder, bar, enable_progress_bar=True, **kwargs).fit(Telling(), TinyData())


def test_without_a_terminal_a_plain_line_comes_every_ten_seconds_at_most(
    tmp_path, monkeypatch, capsys
):
    now = [100.0]
    monkeypatch.setattr("callbacks.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(
        Telling, "on_train_epoch_start", lambda self: now.append(now.pop() + 6), raising=False
    )
    fit_with_bar(tmp_path, Progress(refresh_rate=2), max_epochs=4)  # of four steps
    out, err = capsys.readouterr()
    lines = ["step 2  images 16  loss 1.5", "step 10  images 80  loss 9.5"]
    assert [line for line in out.splitlines() if "images" in line] == lines
    assert "\r" not in out + err


def test_without_a_terminal_short_epochs_have_lines_and_a_bar_that_is_off_has_none(
    tmp_path, capsys
):
    fit_with_bar(tmp_path, Progress())
    assert capsys.readouterr().out.count("step 4  images 32") == 1
    fit_with_bar(tmp_path, Progress(refresh_rate=0))
    assert "images" not in capsys.readouterr().out


def test_with_a_terminal_there_is_a_bar(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    fit_with_bar(tmp_path, Progress(refresh_rate=2))
    out = capsys.readouterr().out
    assert "\rEpoch 1" in out
    assert "step 2" not in out


def test_curves_are_read_by_images_seen_without_gaps_and_nans(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "g/loss,step,images_seen,fid/digits@9,waiting_share\n"
        "1.5,1,64,,0.5\n,2,128,30.0,\nnan,3,192,,\n2.5,3,192,,\n"
    )
    curves = read_curves(tmp_path / "metrics.csv")
    assert curves == {"g/loss": [(64, 1.5), (192, 2.5)], "fid/digits@9": [(128, 30.0)]}


def test_scores_come_first_and_players_share_a_panel():
    point = [(0.0, 1.0)]
    names = [
        "generator/penalty",
        "generator/loss",
        "discriminator/loss",
        "fid/digits@9",
        "nll/bound",
    ]
    grouped = panels(dict.fromkeys(names, point))
    assert list(grouped) == ["fid", "nll", "loss", "penalty"]
    assert list(grouped["loss"]) == ["discriminator/loss", "generator/loss"]


def test_a_flat_curve_is_a_line_in_the_middle_of_its_panel():
    picture = draw_panels({"loss": {"loss": [(0.0, 2.0), (100.0, 2.0)]}}).astype(int)
    near = np.abs(picture - np.array(COLOURS[0])).sum(2) < 100
    rows = np.flatnonzero(near.sum(1) > 300)
    assert len(rows) in (1, 2, 3)
    assert abs(rows.mean() - (34 + (300 - 34 - 30) / 2)) < 2


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 17), (1e-5, 4e-5), (5e6, 8.1e6)])
def test_ticks_are_few_round_and_inside(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 6
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)
    assert short(1_500_000) == "1.5M"


def test_a_fit_leaves_its_curves(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path / "cache"))
    logger = CSVLogger(tmp_path, name="", version="")
    trainer(tmp_path, FID(20, "seeded"), Curves(), logger=logger).fit(TinyModel(), TinyData())
    assert Image.open(tmp_path / "curves.png").size == (480, 300)
    trainer(tmp_path / "unlogged", Curves()).fit(TinyModel(), TinyData())
    assert not (tmp_path / "unlogged" / "curves.png").exists()


def test_the_environment_is_written_and_earlier_ones_are_kept(tmp_path):
    for _ in range(3):
        trainer(tmp_path, Environment(), max_epochs=1).fit(TinyModel(), TinyData())
    found = json.loads((tmp_path / "environment.json").read_text())
    assert found["versions"]["torch"] == torch.__version__
    assert found["hardware"]["processes"] == 1
    assert set(found) == {"command", "started", "git", "versions", "hardware", "earlier"}
    assert len(found["earlier"]) == 2
    assert all("earlier" not in each for each in found["earlier"])


def test_the_commit_and_its_changes_are_found_where_there_is_a_repository(tmp_path):
    assert git_state(tmp_path) == {"commit": None, "dirty": None}
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    clean = git_state(tmp_path)
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (tmp_path / "new").touch()
    assert git_state(tmp_path) == {**clean, "dirty": True}
