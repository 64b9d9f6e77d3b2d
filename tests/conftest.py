"""What all tests share: one thread, one seed, real data where it stands."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, which are not in the repository for their licences."""
    root = os.environ.get("LIGHTNING_GEN_DATA")
    if root is None or not Path(root).is_dir():
        pytest.skip(
            "needs real data: set LIGHTNING_GEN_DATA to a folder that holds MNIST and others"
        )
    return Path(root)
