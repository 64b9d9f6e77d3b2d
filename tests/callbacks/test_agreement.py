"""Processes that drift apart are noticed before a checkpoint is written."""

import pytest
import torch
from pytorch_lightning import Callback

from callbacks import Agreement, LastCheckpoint
from callbacks.agreement import fingerprint
from tests.game import TinyData, trainer, two_processes
from tests.models.test_likelihood import vae


class Drift(Callback):
    """Changes one bit of one weight on the second process after some steps."""

    def __init__(self, after):
        self.after = after

    def on_train_batch_end(self, trainer, model, *_):
        if trainer.global_step == self.after and trainer.global_rank == 1:
            weight = next(model.decoder.parameters()).data.view(-1)
            weight[0] = torch.nextafter(weight[0], torch.tensor(1e9, dtype=weight.dtype))


def run(folder, *callbacks):
    parts = [*callbacks, Agreement(), LastCheckpoint(folder, every=2)]
    trainer(max_epochs=1, enable_checkpointing=True, callbacks=parts, **two_processes()).fit(
        vae(), TinyData(64)
    )


def test_processes_that_agree_save(tmp_path):
    run(tmp_path)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 8


def test_a_single_bit_of_difference_is_found_at_the_next_checkpoint(tmp_path):
    with pytest.raises(Exception, match=r"disagree on decoder\..* at step 4, so nothing is saved"):
        run(tmp_path, Drift(3))
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 2


def test_a_fingerprint_changes_with_values_places_and_types():
    x = torch.tensor([1.0, 2.0, float("nan")])
    assert fingerprint(x) == fingerprint(x.clone())
    others = [
        torch.tensor([2.0, 1.0, float("nan")]),
        torch.tensor([1.0, 2.0, -float("nan")]),
        x.double(),
    ]
    assert all(fingerprint(other) != fingerprint(x) for other in others)
    assert fingerprint(torch.tensor([True, False])) != fingerprint(torch.tensor([False, True]))
    image = torch.randn(2, 3, 4, 4)
    assert fingerprint(image) == fingerprint(image.to(memory_format=torch.channels_last))
