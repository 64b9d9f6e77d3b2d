"""Precisions that cannot work, or that only cost time, are refused."""

import pytest
import torch

from lightning_gen.models import hardware
from lightning_gen.models.hardware import check_precision


@pytest.mark.parametrize("kind", ["bf16", "16"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_weights_in_half_precision_are_refused(kind, device, monkeypatch):
    monkeypatch.setattr(hardware, "cpu_has_bf16", lambda: True)
    with pytest.raises(ValueError, match=f"stand still; use --trainer.precision {kind}-mixed"):
        check_precision(f"{kind}-true", torch.device(device))
    check_precision(f"{kind}-mixed", torch.device(device))


@pytest.mark.parametrize("precision", ["32-true", "32", "64-true", "64"])
def test_whole_precision_is_taken_everywhere(precision, monkeypatch):
    monkeypatch.setattr(hardware, "cpu_has_bf16", lambda: False)
    for device in ("cpu", "cuda"):
        check_precision(precision, torch.device(device))
