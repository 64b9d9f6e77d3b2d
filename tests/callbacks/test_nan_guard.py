import math

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from callbacks import NaNGuard
from callbacks.nan_guard import not_finite
from tests.callbacks.parts import TinyData, TinyModel, trainer


class Breaking(TinyModel):
    """Has a term that is NaN from the given step on, and a weight too if it enters the loss."""

    def __init__(self, step: int, through: bool = False, rank: int | None = None) -> None:
        super().__init__()
        self.step, self.through, self.rank = step, through, rank

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        here = self.rank is None or self.global_rank == self.rank
        penalty = torch.tensor(math.nan if self.global_step >= self.step and here else 1.0)
        self.last_terms = {"loss": loss.detach(), "penalty": penalty}
        return loss * penalty if self.through else loss


def checkpoints(folder) -> ModelCheckpoint:
    return ModelCheckpoint(
        folder / "checkpoints", "last", every_n_train_steps=1, enable_version_counter=False
    )


def test_a_term_that_is_not_finite_stops_the_run_and_is_named(tmp_path):
    run = trainer(tmp_path, NaNGuard(every=1))
    with pytest.raises(
        FloatingPointError, match="^the term penalty is not finite at step 3; there is no"
    ):
        run.fit(Breaking(step=2), TinyData())


def test_it_is_noticed_within_so_many_steps(tmp_path):
    run = trainer(tmp_path, NaNGuard(every=3))
    with pytest.raises(FloatingPointError, match="at step 6;"):
        run.fit(Breaking(step=4), TinyData())


@pytest.mark.parametrize("save_on_exception", [False, True])
def test_bad_weights_never_replace_a_good_checkpoint(tmp_path, save_on_exception):
    # The guard itself would look after 100 steps only: it is the checkpoint that is stopped.
    keep = checkpoints(tmp_path)
    keep.save_on_exception = save_on_exception
    run = trainer(tmp_path, keep, NaNGuard(every=100), enable_checkpointing=True)
    last = tmp_path / "checkpoints" / "last.ckpt"
    with pytest.raises(
        FloatingPointError, match=f"the weight weight .* step 4; the last good checkpoint is {last}"
    ):
        run.fit(Breaking(step=3, through=True), TinyData())
    kept = torch.load(last, weights_only=True)
    assert kept["global_step"] == 3
    assert kept["state_dict"]["weight"].item() == -3


def test_all_processes_stop_for_the_term_of_one(tmp_path):
    run = trainer(tmp_path, NaNGuard(every=1), processes=2)
    with pytest.raises(Exception, match="the term penalty is not finite at step 2"):
        run.fit(Breaking(step=1, rank=1), TinyData())


def test_new_log_lines_are_looked_at_when_they_appear(tmp_path):
    class Logging(TinyModel):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.last_terms = {}
            if self.global_step == 2:
                self.latest = {"distance": math.inf}
            return loss

    with pytest.raises(FloatingPointError, match="the term distance is not finite at step 3"):
        trainer(tmp_path, NaNGuard(every=100)).fit(Logging(), TinyData())


def test_a_healthy_run_is_left_alone(tmp_path):
    trainer(tmp_path, checkpoints(tmp_path), NaNGuard(1), enable_checkpointing=True).fit(
        TinyModel(), TinyData()
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_entry_among_many_is_found(bad):
    values = {"a": torch.zeros(3), "n": torch.arange(3), "b": torch.randn(5, 7).half(), "c": 1.0}
    assert not_finite(values) is None
    values["b"][3, 2] = bad
    assert not_finite(values) == "b"
    assert not_finite({"x": bad}) == "x"
    assert not_finite({}) is None
