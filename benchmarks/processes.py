"""What it costs two processes to stay in step."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.strategies import DDPStrategy

from datamodules import ImageData
from datamodules.images import InMemory, Splits
from lightning_gen.cli.quiet import quieten
from lightning_gen.models.gans.gan import GAN
from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator

from .timing import Ratio, ratio

OURS, ALONE = "two processes in step", "without synchronisation"


class Grey(ImageData):
    """Random images."""

    name, shape = "grey", (1, 32, 32)

    def read(self) -> Splits:
        images = InMemory(torch.randint(256, (256, *self.shape), dtype=torch.uint8))
        return Splits(images, images, images)


class Turns(Callback):
    """Lets blocks of steps with and without synchronisation take turns, and times them.

    Arguments:
        block: Steps in a block.
        rounds: Blocks of each kind; the first round warms up.
        place: The file for the first process to write the seconds to.
    """

    def __init__(self, block: int, rounds: int, place: Path) -> None:
        chance = random.Random(0)  # the same on both
        self.block, self.place, self.done = block, place, 0
        self.order = [kind for _ in range(rounds) for kind in chance.sample((OURS, ALONE), 2)]
        self.seconds: dict[str, list[float]] = {OURS: [], ALONE: []}

    def on_train_start(self, trainer: Trainer, model: LightningModule) -> None:
        self._begin(trainer, model)

    def on_train_batch_end(self, trainer: Trainer, model: LightningModule, *_: Any) -> None:
        self.done += 1
        if self.done % self.block:
            return
        taken = torch.tensor(time.perf_counter() - self.start)
        torch.distributed.all_reduce(taken, torch.distributed.ReduceOp.MAX)
        self.seconds[self.order.pop(0)].append(taken.item())
        if self.order:
            self._begin(trainer, model)
        elif trainer.is_global_zero:
            torch.save(self.seconds, self.place)

    def _begin(self, trainer: Trainer, model: Any) -> None:
        model._averages_gradients = self.order[0] == OURS
        trainer.strategy.barrier()
        self.start = time.perf_counter()


def run(rounds: int = 12) -> list[Ratio]:
    """Ratios for DCGANs, by the clock on the wall: a process may wait, which takes no CPU time."""
    return [
        compare(64, 64, 4, rounds, "<= 1.05"),  # 128 images over both, as in the paper
        compare(32, 16, 12, rounds),
    ]


def compare(width: int, images: int, block: int, rounds: int, goal: str | None = None) -> Ratio:
    """The ratio for a DCGAN of 32x32 grey images, so many of them a process."""
    quieten()
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        turns = Turns(block, rounds + 1, Path(folder) / "seconds.pt")
        trainer = Trainer(
            accelerator="cpu",
            devices=2,
            strategy=DDPStrategy(start_method="fork", process_group_backend="gloo"),
            max_epochs=-1,
            max_steps=2 * block * (rounds + 1),
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[turns],
        )
        generator, critic = (
            DCGANGenerator(32, 1, width=width),
            DCGANDiscriminator(32, 1, width=width),
        )
        trainer.fit(GAN(generator=generator, discriminator=critic), Grey(batch_size=2 * images))
        seconds = torch.load(turns.place, weights_only=True)
    kept = {name: times[1:] for name, times in seconds.items()}
    return ratio(kept, OURS, ALONE, goal, f"DCGAN width {width}, {images} images each, wall time")
