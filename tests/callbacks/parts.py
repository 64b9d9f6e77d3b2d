"""A model and a data set, as small as the callbacks allow."""

import hashlib
import math
from pathlib import Path

import torch
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from datamodules.batches import EvaluationBatches
from lightning_gen.levels import from_levels
from lightning_gen.randomness import Noise, stream


class TinyData(LightningDataModule):
    """Random images, 41 to test: a number that no two processes share evenly."""

    name, shape = "tiny", (1, 8, 8)

    def __init__(self, test: int = 41, val: int = 10, batch_size: int = 8) -> None:
        super().__init__()
        self.batch_size, self.reads = batch_size, 0
        self.images = {}
        for split, count in (("train", 32), ("val", val), ("test", test)):
            size = (count, *self.shape)
            self.images[split] = torch.randint(
                256, size, generator=stream(split), dtype=torch.uint8
            )

    def fingerprint(self, split: str) -> str:
        return hashlib.sha256(self.images[split].numpy()).hexdigest()[:12]

    def loader(self, split: str) -> DataLoader:
        self.reads += 1
        images = self.images[split]
        data = TensorDataset(images, torch.arange(len(images)) % 3)
        place = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        batches = EvaluationBatches(len(images), self.batch_size, *place)
        return DataLoader(data, batch_size=None, sampler=batches)

    def train_dataloader(self) -> DataLoader:
        return self.loader("train")

    def val_dataloader(self) -> DataLoader:
        return self.loader("val")

    def test_dataloader(self) -> DataLoader:
        return self.loader("test")


class TinyModel(LightningModule):
    """Samples, codes and likelihoods in closed form; training moves one weight by steps of one."""

    nll_kind = "exact"

    def __init__(self, num_classes: int | None = None) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.weight = nn.Parameter(torch.zeros(1))
        self.images_seen, self.latest, self.last_terms = 0, {}, {}

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self.images_seen += 8
        loss = self.weight.sum()
        self.last_terms = {"loss": loss.detach()}
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        pass

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)

    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        assert not self.training
        assert labels is None or len(labels) == n
        x = torch.tanh(noise.normal(1, 8, 8) + self.weight)
        return x if labels is None else 0 * x + from_levels(labels).view(-1, 1, 1, 1)


class TinyAutoencoder(TinyModel):
    """Codes are the pixels, and the decoder darkens by one level."""

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z.view(-1, 1, 8, 8) - 2 / 255

    def latent(self, n: int, noise: Noise | None = None) -> Tensor:
        return noise.normal(64)


class TinyLikelihood(TinyModel):
    """All images are equally likely."""

    def nll(self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        return torch.full((len(x),), x[0].numel() * math.log(256), dtype=torch.float64)


def trainer(folder: Path, *callbacks: object, processes: int = 1, **kwargs: object) -> Trainer:
    """A quiet trainer on one or more processes of this machine."""
    ddp = DDPStrategy(start_method="fork", process_group_backend="gloo")
    settings = {
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        **kwargs,
    }
    return Trainer(
        accelerator="cpu",
        devices=processes,
        strategy=ddp if processes > 1 else "auto",
        default_root_dir=folder,
        callbacks=list(callbacks),
        use_distributed_sampler=False,
        enable_model_summary=False,
        num_sanity_val_steps=2,
        **settings,
    )
