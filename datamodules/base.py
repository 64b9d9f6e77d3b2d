"""What all data sets share: splits, the order of training, position, loaders, fingerprints."""

import atexit
import hashlib
import multiprocessing
import os
import signal
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from lightning_gen.randomness import Noise

from .batches import EvaluationBatches, GlobalBatches, stratified
from .errors import DataError
from .files import cores, default_root, say
from .images import Encoded, Images, Splits

__all__ = ["DataError", "ImageData", "flip"]

NAMED = 10  # of corrupt images, how many are named at the end
Pairs = tuple[Tensor, Tensor]  # images uint8 (B, C, H, W), labels (B,) or attributes (B, A)


class ImageData(LightningDataModule, ABC):
    """A data set of images, served as uint8 (B, C, H, W) with labels int64 (B,) or (B, A).

    Without labels, zeros are served. Training data comes in an order that depends on the seed and
    the position alone, so training that was stopped goes on exactly, on any number of processes.

    Arguments:
        root: The folder that contains MNIST/, CIFAR10/ and so on; by default
            `$LIGHTNING_GEN_DATA`, else `./data`. It is written to only to download.
        batch_size: Images per step over all devices.
        eval_batch_size: The same for validation and test; by default 500 where the images are in
            memory, else `batch_size`.
        num_workers: Processes that decode images, per device; by default up to 8, one per core.
            Images that are in memory need none.
        seed: Of the order and of the augmentation; by default the run's.
        download: Whether to download what is missing.
        on_corrupt: Where images are decoded: "fail" stops at one that cannot be; "skip" serves the
            next one of its split in its place, each time, says so once, and lists it in `corrupt`.
    """

    name: str
    shape: tuple[int, int, int]  # (C, H, W)
    num_classes: int | None = None
    num_attributes: int | None = None
    label_names: list[str] | None = None  # of the classes or attributes
    source = ""  # which of several originals, and how it was made
    decode_limit = 64 * 2**20  # bytes; smaller splits are decoded once, into memory

    def __init__(
        self,
        root: str | Path | None = None,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int | None = None,
        seed: int | None = None,
        download: bool = True,
        on_corrupt: Literal["fail", "skip"] = "fail",
    ) -> None:
        super().__init__()
        for name, size in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if size is not None and size < 1:
                raise ValueError(f"{name} must be at least 1 image over all devices, got {size}")
        if num_workers is not None and num_workers < 0:
            raise ValueError(f"num_workers must not be negative, got {num_workers}")
        if on_corrupt not in ("fail", "skip"):
            raise ValueError(f"on_corrupt must be fail or skip, got {on_corrupt}")
        self.root = default_root() if root is None else Path(root)
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.num_workers, self.download = num_workers, download
        self.on_corrupt = on_corrupt
        self.images_consumed = 0  # by training, over all processes
        self._seed = seed
        self._splits: Splits | None = None
        self._served: dict[str, Images] = {}
        self._digests: dict[str, str] = {}

    # For each data set to say

    @abstractmethod
    def read(self) -> Splits:
        """Reads what there is under `root`."""

    def augment(self, images: Tensor, noise: Noise) -> Tensor:
        """Changes training images (B, C, H, W), on their device."""
        return images

    # What others ask

    @property
    def seed(self) -> int:
        return int(os.environ.get("PL_GLOBAL_SEED", "0")) if self._seed is None else self._seed

    @property
    def splits(self) -> Splits:
        """The parts of the data set, read when first needed."""
        if self._splits is None:
            self._splits = self.read()
            if self.on_corrupt == "skip":
                for images in self._encoded():
                    images.skip_corrupt()
        return self._splits

    def corrupt(self, split: str) -> list[str]:
        """The images of a split that others took the place of so far; after `fit`, in any process."""
        images = self._split(split)
        return images.corrupt if isinstance(images, Encoded) else []

    def fingerprint(self, split: str = "test") -> str:
        """Twelve hex digits that change when anything about the served images of a split does."""
        if split not in self._digests:
            self._digests[split] = self._split(split).digest()
        served = (self.name, self.source, split, self.shape, self._digests[split])
        return hashlib.sha256(repr(served).encode()).hexdigest()[:12]

    def loader(self, split: str) -> DataLoader:
        """This process's share of a split, in order and as it is: nothing is shuffled or flipped."""
        images = self.images(split)
        size = self.eval_batch_size or (self.batch_size if isinstance(images, Encoded) else 500)
        rank, world = self._place()
        if 0 < len(images) < world:
            # Lightning leaves the evaluation out on a process that has no image, and the others hang.
            raise ValueError(
                f"the {split} split has {len(images)} images, too few for {world} processes"
            )
        return self._loader(images, EvaluationBatches(len(images), max(size, world), rank, world))

    def images(self, split: str) -> Images:
        """The images of a split, in memory if they fit."""
        if split not in self._served:
            images = self._split(split)
            small = isinstance(images, Encoded) and images.bytes_decoded <= self.decode_limit
            self._served[split] = images.decode_all() if small else images  # type: ignore[attr-defined]
        return self._served[split]

    def labelled(self, count: int) -> Pairs:
        """`count` training images with their labels, in equal shares of the classes.

        Which ones depends on the labels alone, so that all seeds of a semi-supervised run have the same.
        """
        images = self.images("train" if self.splits.fit is None else "fit")
        if not self.num_classes or not self.num_classes <= count <= len(images):
            raise ValueError(
                f"{count} labelled images are asked for, but {self.name} has "
                f"{len(images):,} training images of {self.num_classes or 'no'} classes"
            )
        return images[stratified(images.labels, count)[0]]

    # Lightning's hooks

    def setup(self, stage: str) -> None:
        trainer = self.trainer
        if trainer is None:
            return
        world = trainer.world_size
        if self.batch_size % world:
            raise ValueError(
                f"batch_size {self.batch_size} is over all devices and must be divisible by the "
                f"{world} processes"
            )
        if getattr(trainer, "overfit_batches", 0):
            raise ValueError(
                "overfit_batches would replace the order of the data; use limit_train_batches"
            )
        # Lightning would put its own sampler in the place of ours, and shuffle the images twice.
        trainer._accelerator_connector.use_distributed_sampler = False
        # Both are about loaders of another kind.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*your dataloader is not resumable.*")
        count = len(self.splits.train)
        if stage == "fit" and count < self.batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} is more than the {count} training images"
            )
        if stage == "fit" and trainer.global_step == 0:
            self.images_consumed = 0  # a new run; one that goes on loads its position after this

    def teardown(self, stage: str) -> None:
        if stage != "fit" or self.on_corrupt == "fail":
            return
        for images in self._encoded():
            images.gather_corrupt()
        names = [name for images in self._encoded() for name in images.corrupt]
        if names:
            more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
            shown = ", ".join(names[:NAMED]).encode(errors="backslashreplace").decode()
            say(f"{self.name}: {len(names):,} corrupt, replaced by their neighbours: {shown}{more}")

    def train_dataloader(self) -> DataLoader:
        images = self.images("train" if self.splits.fit is None else "fit")
        rank, world = self._place()
        batches = GlobalBatches(
            len(images), self.batch_size, self.seed, rank, world, lambda: self.images_consumed
        )
        return self._loader(images, batches, persistent=True)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        return self.loader("val") if len(self.splits.val) else []

    def test_dataloader(self) -> DataLoader:
        return self.loader("test")

    def on_after_batch_transfer(self, batch: Pairs, dataloader_idx: int) -> Pairs:
        """Augments and counts what training consumes; what is only fetched ahead does not count."""
        if self.trainer is None or not self.trainer.training:
            return batch
        images, labels = batch
        (rank, world), count = self._place(), len(images)
        key = (self.seed, self.images_consumed, "augment")
        noise = Noise(key, count, count * world, count * rank, images.device)
        self.images_consumed += noise.total
        return self.augment(images, noise), labels

    def state_dict(self) -> dict[str, Any]:
        return {"images_consumed": self.images_consumed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        consumed = state_dict.get("images_consumed") if isinstance(state_dict, dict) else None
        if not isinstance(consumed, int):
            raise ValueError(
                "the checkpoint does not say how many images were consumed: it was changed; take another"
            )
        self.images_consumed = consumed

    def _split(self, split: str) -> Images:
        images = getattr(self.splits, split, None) if split in Splits._fields else None
        if images is None:
            raise ValueError(f"a split is train, val or test, got {split}")
        return images

    def _encoded(self) -> list[Encoded]:
        """The splits that are decoded."""
        return [images for images in self.splits if isinstance(images, Encoded)]

    def _place(self) -> tuple[int, int]:
        """The rank of this process and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, images: Images, batches: Sampler, persistent: bool = False) -> DataLoader:
        workers = self._workers() if isinstance(images, Encoded) else 0
        cuda = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return DataLoader(
            images,
            batch_size=None,
            sampler=batches,
            num_workers=workers,
            persistent_workers=persistent and workers > 0,
            pin_memory=cuda,
            collate_fn=_as_it_is,
            generator=torch.Generator(),  # or each new iterator would draw from torch's own
            worker_init_fn=_undisturbed,
        )

    def _workers(self) -> int:
        if self.num_workers is not None:
            return self.num_workers
        local = self.trainer.num_devices if self.trainer else 1
        return min(8, cores() // local)


def flip(images: Tensor, noise: Noise) -> Tensor:
    """Mirrors each image (B, C, H, W) left to right with probability one half."""
    mirrored = noise.spawn("flip").integers(2).bool()
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def _as_it_is(batch: Any) -> Any:
    return batch


@atexit.register
def _end_workers() -> None:
    """Ends processes that still load data when this one ends, which would ask them in vain and wait."""
    every = [each for each in multiprocessing.active_children() if each.daemon]
    if every and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's would take them for lost
    for process in every:
        process.kill()


def _undisturbed(worker: int) -> None:
    """Has a process that loads data pass over signals that are sent to all processes of a run.

    The run would lose it before it has finished its step. It ends when the run does.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
