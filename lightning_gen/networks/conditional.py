"""Encoders and decoders of images with attributes, as those of Attribute2Image.

References:
    | Attribute2Image: Conditional Image Generation from Visual Attributes (Yan et al., 2016)
    | https://arxiv.org/abs/1512.00570
"""

from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from ..nn.labels import one_hot, refuse_labels
from ..nn.norm import Norm, norm2d
from ..nn.roles import Decoder, Encoder, Posterior
from ..nn.sizes import check_sizes, inner_shape

LARGE = 2  # how many of the first convolutions are 5 x 5; the others are 3 x 3


class AttributeEncoder(Encoder):
    """Maps images and their attributes to codes: attributes move the mean, never the variance.

    Each convolution halves the size, the last by its stride and the others by the maximum of two by
    two. The variance begins at 1. Attributes may be any numbers, so that codes of something else
    can stand among them, with gradients.

    Arguments:
        shape: (C, H, W) of the images; H and W divisible by 2 for each convolution.
        latent_size: Length of the codes.
        num_classes: Classes, or attributes, of which each image is said to be.
        widths: Channels of the convolutions.
        hidden: Units of two fully connected layers.
        attribute_units: Units that attributes get; by default as many as the codes have.
        norm: Normalisation of all convolutions but the first.
        dropout: Share of the last hidden units that are left out in training.
    """

    of_attributes = True  # a single class is not what an image has
    num_classes: int

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 64, 64),
        latent_size: int = 256,
        num_classes: int = 40,
        widths: tuple[int, ...] = (64, 128, 256, 256),
        hidden: int = 1024,
        attribute_units: int | None = None,
        norm: Norm = "batch",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, latent_size=latent_size, widths=widths, hidden=hidden)
        check_sizes(num_classes=num_classes, attribute_units=attribute_units)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be a share of the units below 1, got {dropout}")
        self.shape, self.latent_size, self.num_classes = shape, latent_size, num_classes
        inner, units = inner_shape(shape, widths), attribute_units or latent_size
        layers: list[nn.Module] = []
        for k, (a, b) in enumerate(pairwise((shape[0], *widths))):
            size, last = 5 if k < LARGE else 3, k == len(widths) - 1
            stride, bias = 2 if last else 1, k == 0 or norm == "none"  # a norm takes it off again
            layers.append(nn.Conv2d(a, b, size, stride, size // 2, bias=bias))
            layers += [norm2d(norm, b)] if k else []
            layers += [nn.ReLU()] if last else [nn.ReLU(), nn.MaxPool2d(2)]
        for a, b in pairwise((prod(inner), hidden, hidden)):
            layers += [nn.Flatten(), nn.Linear(a, b), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Dropout(dropout))
        self.attributes = nn.Sequential(nn.Linear(num_classes, units), nn.ReLU())
        self.mean = nn.Linear(hidden + units, latent_size)
        self.log_var = nn.Linear(hidden, latent_size)
        nn.init.zeros_(self.log_var.weight)
        nn.init.zeros_(self.log_var.bias)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Posterior:
        seen = self.layers(x)
        said = self.attributes(one_hot(labels, self.num_classes, x.dtype))
        log_var = self.log_var(seen)
        return Posterior(self.mean(torch.cat([seen, said], 1)), log_var, log_var[:, :0])


class AttributeDecoder(Decoder):
    """Maps codes and attributes to parameters (B, outputs, C, H, W), the first of them in (-1, 1).

    Each doubling of the size repeats pixels and convolves.

    Arguments:
        shape: (C, H, W) of the images; H and W divisible by 2 for each of the widths.
        latent_size: Length of the codes.
        num_classes: Classes, or attributes, of which each image is to be, if it is given any.
        widths: Channels of the convolutions after the doublings, from the image inwards.
        hidden: Units of the fully connected layer.
        outputs: Numbers per sub-pixel: 2 for Gaussian and DiscretizedLogistic, of which the first
            is the mean, 1 for a mean alone.
        norm: Normalisation of the convolutions.
    """

    of_attributes = True

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 64, 64),
        latent_size: int = 256,
        num_classes: int | None = 40,
        widths: tuple[int, ...] = (64, 128, 256),
        hidden: int = 256,
        outputs: int = 2,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, latent_size=latent_size, widths=widths, hidden=hidden)
        check_sizes(outputs=outputs, num_classes=num_classes)
        self.shape, self.latent_size, self.outputs = shape, latent_size, outputs
        self.num_classes, inner, units = num_classes, inner_shape(shape, widths), 0
        if num_classes is not None:
            units = 2 * latent_size
            self.attributes = nn.Sequential(nn.Linear(num_classes, units), nn.ReLU())
        layers: list[nn.Module] = []
        for a, b in pairwise((latent_size + units, hidden, prod(inner))):
            layers += [nn.Linear(a, b), nn.ReLU()]
        layers += [nn.Unflatten(1, inner), *_convolved(inner[0], inner[0], 3, norm)]
        for a, b in pairwise((widths[-1], *reversed(widths))):
            layers += [nn.Upsample(scale_factor=2), *_convolved(a, b, 5, norm)]
        self.layers = nn.Sequential(*layers)
        self.out = nn.Conv2d(widths[0], outputs * shape[0], 5, padding=2)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.num_classes is None:
            refuse_labels(labels)
        else:
            said = self.attributes(one_hot(labels, self.num_classes, z.dtype))
            z = torch.cat([z, said], 1)
        numbers = self.out(self.layers(z)).unflatten(1, (self.outputs, self.shape[0]))
        return torch.cat([numbers[:, :1].tanh(), numbers[:, 1:]], 1)


def _convolved(inputs: int, outputs: int, size: int, norm: Norm) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=norm == "none")
    return [convolution, norm2d(norm, outputs), nn.ReLU()]
