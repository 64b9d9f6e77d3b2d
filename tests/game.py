"""Tiny players and a way to let them play."""

from typing import Any

import torch
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_gen.nn.roles import Discriminator, Generator


class TinyGenerator(Generator):
    shape, latent_size = (1, 4, 4), 3

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, 16),
            nn.BatchNorm1d(16) if norm else nn.Identity(),
            nn.Tanh(),
            nn.Linear(16, 16),
            nn.Tanh(),
            nn.Unflatten(1, self.shape),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


class TinyCritic(Discriminator):
    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16, 16),
            nn.BatchNorm1d(16) if norm else nn.Identity(),
            nn.Tanh(),
            nn.Linear(16, 1),
            nn.Flatten(0),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Numbered:
    """Images that say which they are: image i has the level i everywhere."""

    def __init__(self, count: int) -> None:
        self.images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], index % 10


class TinyData(LightningDataModule):
    """`count` images in order, in batches that all processes share."""

    shape = (1, 4, 4)

    def __init__(self, count: int = 64, batch_size: int = 8) -> None:
        super().__init__()
        self.count, self.batch_size = count, batch_size

    def train_dataloader(self) -> DataLoader:
        world, rank = self.trainer.world_size, self.trainer.global_rank
        rows = torch.arange(self.count).view(-1, world, self.batch_size // world)[:, rank]
        return DataLoader(Numbered(self.count), batch_sampler=rows.tolist())


def trainer(**kwargs: Any) -> Trainer:
    """A trainer that writes and prints nothing."""
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "log_every_n_steps": 1,
    }
    return Trainer(**{**quiet, **kwargs})


def two_processes() -> dict[str, Any]:
    """Trainer arguments for two processes on this machine."""
    strategy = DDPStrategy(start_method="fork", process_group_backend="gloo")
    return {"devices": 2, "strategy": strategy}


def fit(model: LightningModule, count: int = 64, **kwargs: Any) -> Trainer:
    """Trains on `count` images in batches of 8."""
    player = trainer(**{"max_epochs": 1, **kwargs})
    player.fit(model, TinyData(count))
    return player
