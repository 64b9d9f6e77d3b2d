"""What semi-supervised models know of classes: a few images of each, and of others all classes."""

from collections.abc import Callable
from math import inf
from typing import Any

import torch
from pytorch_lightning import Trainer
from torch import Tensor

from ..nn.roles import Decoder, Encoder
from ..randomness import Noise

Pairs = tuple[Tensor, Tensor]  # uint8 images (N, C, H, W) and their labels (N,)
Augment = Callable[[Tensor, Noise], Tensor]


def labelled_images(trainer: Trainer, classes: int, count: int) -> Pairs:
    """`count` training images with labels, on the device; ValueError for data of other classes.

    Which ones is for the data to say, so that all seeds of a run have the same.
    """
    data: Any = getattr(trainer, "datamodule", None)
    if not hasattr(data, "labelled") or data.num_classes != classes:
        raise ValueError(
            f"the model has {classes} classes, and the data must have as many labels; "
            f"it has {getattr(data, 'num_classes', None) or 'none'}"
        )
    images, labels = data.labelled(count)
    device = trainer.strategy.root_device
    return images.to(device), labels.to(device)


def some_of(examples: Pairs | None, noise: Noise, augment: Augment | None = None) -> Pairs:
    """As many labelled images, with their labels, as there is noise for; drawn with replacement."""
    assert examples is not None, "labelled images come with `fit`"
    images, labels = examples
    chosen = noise.spawn("labelled").integers(len(labels))
    images, labels = images[chosen], labels[chosen]
    return images if augment is None else augment(images, noise.spawn("augment labelled")), labels


def check_classes(
    encoder: Encoder, decoder: Decoder, classifier: Encoder, labelled: int, alpha: float
) -> None:
    """Raises ValueError for networks of unlike classes, and for labels that are too few or weigh less than 0."""
    classes = classifier.latent_size
    if encoder.num_classes != classes or decoder.num_classes != classes:
        raise ValueError(
            f"the classifier has {classes} outputs but the encoder's and the decoder's num_classes "
            f"are {encoder.num_classes} and {decoder.num_classes}; they must be equal"
        )
    if classifier.num_classes is not None or tuple(classifier.shape) != tuple(decoder.shape):
        raise ValueError(
            "the classifier must be given images alone, of the decoder's shape: leave out its "
            f"num_classes and set its shape to {tuple(decoder.shape)}"
        )
    if labelled < classes:
        raise ValueError(f"labelled must be at least the {classes} classes, got {labelled}")
    if not 0 <= alpha < inf:
        raise ValueError(f"alpha must not be negative, got {alpha}")


def in_every_class(x: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Each image once for every class, (B K, C, H, W), the classes, and which image it is."""
    rows = torch.arange(len(x), device=x.device).repeat_interleave(classes)
    return x[rows], torch.arange(classes, device=x.device).repeat(len(x)), rows


class Rows(Noise):
    """The noise of images, of which some stand at several rows and get the same at each.

    So the classes of an image differ by what they say of it, not by luck.

    Arguments:
        noise: Of the images, (B,).
        rows: Which image is at each row.
    """

    def __init__(self, noise: Noise, rows: Tensor) -> None:
        super().__init__(noise.key, len(rows), device=noise.device, dtype=noise.dtype)
        self.noise, self.rows = noise, rows

    def integers(self, high: int, *size: int) -> Tensor:
        return self.noise.integers(high, *size)[self.rows]

    def spawn(self, *purpose: int | str) -> "Rows":
        return Rows(self.noise.spawn(*purpose), self.rows)

    def normal(self, *size: int) -> Tensor:
        return self.noise.normal(*size)[self.rows]

    def uniform(self, *size: int) -> Tensor:
        return self.noise.uniform(*size)[self.rows]
