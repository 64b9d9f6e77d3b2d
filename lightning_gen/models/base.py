"""What both families of models share: batches, noise, averaged weights, counting and logging."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.core.mixins.hparams_mixin import _given_hyperparameters
from torch import Tensor, nn

from ..levels import from_levels
from ..nn import Average
from ..randomness import Noise, seed_of
from ..tracking import publish
from .hardware import check_precision
from .processes import leave_averaging_to, statistics

Terms = dict[str, Tensor]  # scalars to log; "loss" is the one to minimise
OptimizerCallable = Callable[[Iterable], torch.optim.Optimizer]
Network = TypeVar("Network", bound=nn.Module)
SchedulerCallable = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]


@dataclass(frozen=True)
class Batch:
    """What a loss is given.

    Arguments:
        images: Floats (B, C, H, W) in [-1, 1].
        labels: int64 (B,), or attributes (B, A), or None.
        noise: Noise that belongs to these images, whatever the number of processes.
        fakes: Generated images that the players of a round share, if they do.
    """

    images: Tensor
    labels: Tensor | None
    noise: Noise
    fakes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def split(self, parts: int) -> list["Batch"]:
        """Cuts the batch into parts, whose images keep their noise."""
        if parts == 1:
            return [self]
        size = -(-len(self) // parts)
        return [
            self._slice(start, min(start + size, len(self))) for start in range(0, len(self), size)
        ]

    def _slice(self, start: int, stop: int) -> "Batch":
        noise = self.noise
        own = Noise(
            noise.key, stop - start, noise.total, noise.start + start, noise.device, noise.dtype
        )
        labels = None if self.labels is None else self.labels[start:stop]
        return replace(self, images=self.images[start:stop], labels=labels, noise=own)


@contextmanager
def evaluating(network: Network) -> Iterator[Network]:
    """A network in evaluation mode, put back as it was afterwards."""
    training = network.training
    network.eval()
    try:
        yield network
    finally:
        network.train(training)


class GenerativeModel(LightningModule, ABC):
    """A model of images (C, H, W) that knows how far its training has come.

    Arguments:
        ema_half_life: Average the weights that `sample` uses, with this half-life in images.
        ema_ramp: The half-life is at most this share of the images seen, so that the average
            forgets the first weights soon. StyleGAN2 has 0.05.
        channels_last: Keep convolutions in the memory format that their kernels like best.
        compile_networks: Compile the networks. It costs up to a minute and pays on GPUs only.
    """

    compilable = True  # whether it calls its networks as a whole, as compiling needs

    def __init__(
        self,
        ema_half_life: float | None = None,
        ema_ramp: float = 0.05,
        channels_last: bool = True,
        compile_networks: bool = False,
    ) -> None:
        super().__init__()
        if _given_hyperparameters.get() is not None:  # built from a config: plain values only
            self.save_hyperparameters()
        if ema_half_life is not None and not ema_half_life > 0:
            raise ValueError(f"ema_half_life must be positive images, got {ema_half_life}")
        if compile_networks and not self.compilable:
            raise ValueError(
                f"compile_networks is not for {type(self).__name__}, which does not call its networks "
                "as a whole; leave it out"
            )
        if not ema_ramp > 0:
            raise ValueError(f"ema_ramp must be a positive share of the images, got {ema_ramp}")
        self.ema_half_life, self.ema_ramp = ema_half_life, ema_ramp
        self.channels_last, self.compile_networks = channels_last, compile_networks
        self.averages = nn.ModuleDict()
        self.images_seen = 0
        self.last_batch = 0  # images of the last step, over all processes
        self.latest: dict[str, float] = {}  # the values last logged, for progress bars
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        self._averaged_at = 0
        self._averages_gradients = False  # over several processes
        self._statistics: list[Tensor] = []  # that training keeps, beside the weights

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""

    @property
    def num_classes(self) -> int | None:
        """How many classes the images are conditioned on, if they are."""
        return None

    @property
    def images_before(self) -> int:
        """Images seen before the last step, by which it is known what that step fitted; -1 before any."""
        return self.images_seen - max(self.last_batch, 1)

    # Averaged weights

    def average(self, *names: str) -> None:
        """Keeps averages of the networks with these names, if the model averages at all.

        To be called at the end of a constructor. Names of networks that it does not have are no error.
        """
        if self.ema_half_life is not None:
            networks = {name: getattr(self, name) for name in names}
            kept = {name: Average(part) for name, part in networks.items() if part is not None}
            self.averages.update(kept)

    def averaged(self, name: str) -> nn.Module:
        """The average of a network, or the network itself where none is kept or none made yet."""
        if name in self.averages:
            return cast(Average, self.averages[name]).network
        return getattr(self, name)

    def update_averages(self) -> None:
        """Moves the averages towards the weights, by the images seen since the last time."""
        if self.ema_half_life is None:
            return
        half_life = min(self.ema_half_life, max(self.ema_ramp * self.images_seen, 1e-8))
        decay = 0.5 ** ((self.images_seen - self._averaged_at) / half_life)
        for name, average in self.averages.items():
            cast(Average, average).update(getattr(self, name), decay)
        self._averaged_at = self.images_seen

    # Lightning's hooks

    # Lightning leaves hooks that are None out of a step; an empty one takes it 15 Python calls.
    on_train_batch_start = None  # type: ignore[assignment]

    def setup(self, stage: str) -> None:
        check_precision(str(self.trainer.precision), self.trainer.strategy.root_device)
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        shape = getattr(getattr(self.trainer, "datamodule", None), "shape", None)
        if shape is not None and tuple(shape) != tuple(self.shape):
            raise ValueError(
                f"the model makes images of shape {tuple(self.shape)} but the data has "
                f"{tuple(shape)}; set the networks' size and channels, or the data's, to agree"
            )
        classes = self.num_classes
        data = getattr(self.trainer, "datamodule", None)
        found = getattr(data, "num_classes", classes)
        attributes = getattr(data, "num_attributes", None)
        if classes is not None and attributes != classes and (found is None or found > classes):
            known = f"{attributes} attributes" if attributes else found or "none"
            raise ValueError(
                f"the model is conditioned on {classes} classes but the data has {known}; "
                "set num_classes of its network to agree"
            )
        told = (getattr(part, "takes_attributes", True) for part in self.modules())
        if attributes is not None and attributes == classes and not all(told):
            raise ValueError(
                f"{type(self).__name__} is told one class of an image but the data has {attributes} "
                "attributes, of which many hold; take data with classes, or a model of attributes"
            )
        if self.channels_last:
            # Before optimizers lay out their moments like the parameters.
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._averages_gradients = leave_averaging_to(self, self.trainer.strategy)

    def on_fit_start(self) -> None:
        parts = [part for name, part in self.named_children() if name != "averages"]
        self._statistics = statistics(parts) if self._averages_gradients else []
        if self.compile_networks:
            for network in self.children():
                # With the default dynamic=None, torch 2.13 fails on the second shape it meets.
                network.compile(dynamic=False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["images_seen"], checkpoint["last_batch"] = self.images_seen, self.last_batch
        checkpoint["averaged_at"] = self._averaged_at

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.images_seen = checkpoint.get("images_seen", 0)
        self.last_batch = checkpoint.get("last_batch", 0)
        self._averaged_at = checkpoint.get("averaged_at", 0)

    # For the bases of the families

    @property
    def precision(self) -> torch.dtype:
        """The type of the parameters."""
        return cast(torch.dtype, self.dtype)

    def noise_for(self, n: int, noise: Noise | None) -> Noise:
        """The noise that was given, or noise for `n` images from torch's own generator."""
        if noise is None:
            noise = Noise.fresh(n, self.device, self.precision)
        elif len(noise) != n:
            raise ValueError(f"noise for {len(noise)} images does not fit {n}")
        return noise

    def labels_for(self, n: int, labels: Tensor | None, noise: Noise) -> Tensor | None:
        """The labels that were given, or classes (n,), drawn uniformly; none without classes.

        Attributes are not made up: which of them go together is for images to say.
        """
        if self.num_classes is None:
            return None
        if labels is None and self.of_attributes:
            raise ValueError(
                f"{type(self).__name__} draws images of given attributes, so give it labels "
                f"(n, {self.num_classes}), such as those of training images"
            )
        return noise.spawn("labels").integers(self.num_classes) if labels is None else labels

    @property
    def of_attributes(self) -> bool:
        """Whether networks of it say that their classes are attributes, of which many hold."""
        told = any(getattr(network, "of_attributes", False) for network in self.children())
        return told and self.num_classes is not None

    def to_batch(self, raw: tuple[Tensor, Tensor] | list[Tensor]) -> Batch:
        """A training batch from what the loader gave: uint8 images and labels of this process.

        Also reseeds torch's own generator, which dropout uses.
        """
        trainer, (images, labels) = self.trainer, raw
        count, world, rank = len(images), trainer.world_size, trainer.global_rank
        key = (self.seed, self.images_seen)
        torch.random.default_generator.manual_seed(seed_of(*key, "torch", rank))
        if images.is_cuda:
            torch.cuda.manual_seed(seed_of(*key, "torch", rank))
        noise = Noise(key, count, count * world, count * rank, images.device, self.precision)
        return Batch(self.to_floats(images), labels, noise)

    def to_floats(self, images: Tensor) -> Tensor:
        """uint8 images as floats in [-1, 1], in the model's precision and memory format."""
        points = images.is_floating_point()  # are floats as they come
        images = images.to(self.precision) if points else from_levels(images, dtype=self.precision)
        return (
            images.contiguous(memory_format=torch.channels_last) if self.channels_last else images
        )

    def count_images(self, batch: Batch) -> None:
        """To be called once a training batch is done."""
        count = batch.noise.total
        if count != self.last_batch:  # as a module's attributes take long to set
            self.last_batch = count
        self.images_seen += count

    def report(self, terms: Mapping[str, Tensor | float], step: int | None = None) -> None:
        """Logs values under a step, by default the trainer's, in one transfer, on the first process.

        Lightning's own `log` costs more than a small step, on every step; this costs nothing
        between two calls.
        """
        tensors = {name: value for name, value in terms.items() if isinstance(value, Tensor)}
        plain = {name: float(value) for name, value in terms.items() if name not in tensors}
        moved = [value.detach().float() for value in tensors.values()]
        stacked = torch.stack(moved) if moved else torch.zeros(0)
        if self.trainer.world_size > 1:  # the mean over the global batch
            stacked = self.trainer.strategy.reduce(stacked, reduce_op="mean")
        values = stacked.tolist()
        self.latest = {**plain, **dict(zip(tensors, values, strict=True))}
        publish(self.trainer, self.latest, step)
