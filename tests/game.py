"""Tiny players and a way to let them play."""

from typing import Any

import torch
import torch.nn.functional as F
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_gen.nn.roles import AutoencodingDiscriminator, Discriminator, Generator


class TinyGenerator(Generator):
    shape, latent_size = (1, 4, 4), 3

    def __init__(self, norm: bool = False, classes: int | None = None) -> None:
        super().__init__()
        self.num_classes = classes
        self.layers = nn.Sequential(
            nn.Linear(3 + (classes or 0), 16),
            nn.BatchNorm1d(16) if norm else nn.Identity(),
            nn.Tanh(),
            nn.Linear(16, 16),
            nn.Tanh(),
            nn.Unflatten(1, self.shape),
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.num_classes:
            z = torch.cat([z, F.one_hot(labels, self.num_classes).to(z)], 1)
        return self.layers(z)


class TinyCritic(Discriminator):
    feature_size = 16

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

    def features(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is None, "it knows no classes"
        return self.layers[:-2](x)

    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is None, "it knows no classes"
        return self.layers[-2:](features)


class TinyAutoencoder(AutoencodingDiscriminator):
    feature_size = 5

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Tanh())
        self.decoder = nn.Sequential(nn.Linear(5, 16), nn.Unflatten(1, (1, 4, 4)))

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def decode(self, code: Tensor) -> Tensor:
        return self.decoder(code)


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

    shape, num_classes = (1, 4, 4), 10

    def __init__(self, count: int = 64, batch_size: int = 8) -> None:
        super().__init__()
        self.count, self.batch_size = count, batch_size

    def train_dataloader(self) -> DataLoader:
        world, rank = self.trainer.world_size, self.trainer.global_rank
        rows = torch.arange(self.count).view(-1, world, self.batch_size // world)[:, rank]
        return DataLoader(Numbered(self.count), batch_sampler=rows.tolist())

    def labelled(self, count: int) -> tuple[Tensor, Tensor]:
        return Numbered(count).images, torch.arange(count) % 10


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
