import io
from pathlib import Path

import pytest
import torch

from callbacks import AtomicCheckpoints, LastCheckpoint
from tests.callbacks.parts import TinyData, TinyModel, trainer


def step_of(path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


@pytest.mark.parametrize("every", [3, 4, 5, None])
def test_the_last_step_is_saved_whether_or_not_it_was_due(tmp_path, every):
    class Counting(AtomicCheckpoints):
        def save_checkpoint(self, checkpoint, path, storage_options=None):
            saved.append(checkpoint["global_step"])
            super().save_checkpoint(checkpoint, path, storage_options)

    saved: list[int] = []
    keep = LastCheckpoint(tmp_path / "checkpoints", every)
    run = trainer(tmp_path, keep, enable_checkpointing=True, plugins=[Counting()])
    run.fit(TinyModel(), TinyData())  # two epochs of four steps
    due = range(every or 4, 9, every or 4)
    # Before each validation too, and at the end once more, with what the last one found.
    assert saved == [*sorted({*due, 4, 8}), 8]
    assert step_of(tmp_path / "checkpoints" / "last.ckpt") == 8


@pytest.mark.parametrize("where", ["while writing", "before the disk has it"])
def test_a_checkpoint_that_fails_leaves_the_old_one_whole_and_nothing_beside(
    tmp_path, monkeypatch, where
):
    def half(checkpoint, file):
        whole = io.BytesIO()
        save(checkpoint, whole)
        part = whole.getvalue()[: whole.tell() // 2]
        Path(file).write_bytes(part) if isinstance(file, str | Path) else file.write(part)
        fail()

    def fail(*_):
        raise OSError("the disk is full")

    path, save = tmp_path / "last.ckpt", torch.save
    AtomicCheckpoints().save_checkpoint({"global_step": 1}, path)
    with monkeypatch.context() as patch:
        patch.setattr(*((torch, "save", half) if where == "while writing" else ("os.fsync", fail)))
        with pytest.raises(OSError, match="the disk is full"):
            AtomicCheckpoints().save_checkpoint({"global_step": 2}, path)
    assert step_of(path) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_new_checkpoint_takes_the_place_of_the_old_one_in_one_step(tmp_path):
    path = tmp_path / "last.ckpt"
    AtomicCheckpoints().save_checkpoint({"global_step": 1}, path)
    with open(path, "rb") as old:  # a copy would write into it
        AtomicCheckpoints().save_checkpoint({"global_step": 2}, path)
        assert step_of(old) == 1
    assert step_of(path) == 2


def test_one_callback_serves_two_fits(tmp_path):
    keep = LastCheckpoint(tmp_path / "checkpoints")
    for _ in range(2):
        trainer(tmp_path, keep, enable_checkpointing=True).fit(TinyModel(), TinyData())
        assert step_of(keep.path) == 8
        keep.path.unlink()
