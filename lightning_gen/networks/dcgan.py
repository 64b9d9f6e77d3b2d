"""The convolutional networks of DCGAN.

Strided convolutions and no pooling, ReLU in the generator and leaky ReLU in the discriminator,
batch normalisation everywhere but at the images: as in the authors' Torch code, which has 4 x 4
kernels and no biases where the paper's Theano code has 5 x 5.

With labels, they are a conditional DCGAN: the label is joined to the latent, and to the images as
constant planes, there only, where the authors' code for MNIST joins it to every layer.

With `hidden` 1024, size 28 and width 64, they are InfoGAN's networks of MNIST, but that each map of
7 x 7 is normalised as one channel, and that leaky ReLUs have a slope of 0.2 where the paper has 0.1
and its authors' code 0.01. `activation`, `constant_width`, `norm` and `initial` are what the
table of architectures of WGAN-GP varies; its code has 5 x 5 kernels too.

References:
    | Unsupervised Representation Learning with Deep Convolutional GANs (Radford et al., 2015)
    | https://arxiv.org/abs/1511.06434
    | Conditional Generative Adversarial Nets (Mirza and Osindero, 2014)
    | https://arxiv.org/abs/1411.1784
    | InfoGAN (Chen et al., 2016), Appendix C.1, https://arxiv.org/abs/1606.03657
    | Improved Training of Wasserstein GANs (Gulrajani et al., 2017), Section 5.2
    | https://arxiv.org/abs/1704.00028
"""

from itertools import pairwise
from math import prod
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ..nn.activation import Activation, activation_of, gates
from ..nn.init import Initial, he_uniform_, initialise_
from ..nn.labels import with_labels
from ..nn.minibatch import MinibatchDiscrimination
from ..nn.norm import Norm, norm2d
from ..nn.roles import Discriminator, Generator
from ..nn.sizes import check_sizes
from ..nn.spectral import spectral_
from ..nn.virtual_norm import VirtualBatchNorm

REFERENCES = 64  # images of the batch that "virtual" normalisation refers to


class DCGANGenerator(Generator):
    """Maps latents (B, latent_size) to images (B, channels, size, size) in [-1, 1].

    Arguments:
        size: Height and width: 4 or 7 times a power of two, such as 64 or 28.
        channels: Colours.
        latent_size: Length of the latents.
        width: Channels of the finest hidden layer; each coarser one has twice as many.
        norm: Normalisation of the hidden layers. "virtual" is by 64 fixed latents, N(0, 1), which
            are kept as `references`, with labels that take turns.
        num_classes: Classes, or attributes, of which each image is given some.
        activation: What follows the hidden layers.
        constant_width: All hidden layers have `width` channels.
        hidden: Units of a fully connected layer before the first map; 0 for none.
        initial: Initial weights: "normal" N(0, 0.02), or "he" by the sizes of the layers.
    """

    references: Tensor | None  # (R, latent_size + num_classes)

    def __init__(
        self,
        size: int = 64,
        channels: int = 3,
        latent_size: int = 100,
        width: int = 64,
        norm: Literal["batch", "layer", "virtual", "none"] = "batch",
        num_classes: int | None = None,
        activation: Activation = "relu",
        constant_width: bool = False,
        hidden: int = 0,
        initial: Initial = "normal",
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, latent_size=latent_size, width=width)
        check_sizes(num_classes=num_classes, hidden=hidden or None)
        self.shape, self.latent_size = (channels, size, size), latent_size
        self.num_classes = num_classes
        base, stages = coarsest(size)
        widths = [width if constant_width else width * 2**i for i in reversed(range(stages))]

        def stage(a: int, b: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
            wide = b * gates(activation)
            convolution = nn.ConvTranspose2d(a, wide, kernel, stride, padding, bias=norm == "none")
            normalise = (
                norm2d(norm, wide) if norm != "virtual" else VirtualBatchNorm(wide, REFERENCES)
            )
            return [convolution, normalise, activation_of(activation)]

        inputs = latent_size + (num_classes or 0)
        layers: list[nn.Module] = [nn.Unflatten(1, (inputs, 1, 1))]
        layers += stage(inputs, hidden, 1, 1, 0) if hidden else []
        layers += (first := stage(hidden or inputs, widths[0], base, 1, 0))
        for a, b in pairwise(widths):
            layers += stage(a, b, 4, 2, 1)
        last = nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1, bias=False)
        self.layers = nn.Sequential(*layers, last, nn.Tanh())
        initialise_(self, initial)
        if initial == "he":  # a single place meets each weight once, as if it strode by the kernel
            he_uniform_(cast(nn.ConvTranspose2d, first[0]), stride=base)
        self.register_buffer("references", self._references() if norm == "virtual" else None)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        z = with_labels(z.flatten(1), labels, self.num_classes)
        if self.references is None:
            return self.layers(z)
        return self.layers(torch.cat([self.references, z]))[len(self.references) :]

    def _references(self) -> Tensor:
        classes = self.num_classes
        labels = torch.arange(REFERENCES) % classes if classes else None
        return with_labels(torch.randn(REFERENCES, self.latent_size), labels, classes)


class DCGANDiscriminator(Discriminator):
    """Maps images (B, channels, size, size) to logits (B,).

    Its features are its last map, which one more convolution turns into a logit.

    Arguments:
        size: Height and width: 4 or 7 times a power of two.
        channels: Colours.
        width: Channels of the finest hidden layer; each coarser one has twice as many.
        norm: Normalisation of the hidden layers but the first. A critic with a gradient penalty
            must not have batch normalisation.
        num_classes: Classes, or attributes, of which each image is said to be.
        activation: What follows the hidden layers; "relu" is leaky.
        hidden: Units of a fully connected layer after the last map; 0 for none.
        minibatch_discrimination: Kernels that compare the images of a batch, whose outcomes are
            joined to the features; 0 for none. Not for a critic with a gradient penalty.
        spectral: Divide each layer's weights by their largest singular value.
        initial: Initial weights: "normal" N(0, 0.02), or "he" by the sizes of the layers.
    """

    def __init__(
        self,
        size: int = 64,
        channels: int = 3,
        width: int = 64,
        norm: Norm = "batch",
        num_classes: int | None = None,
        activation: Activation = "relu",
        hidden: int = 0,
        minibatch_discrimination: int = 0,
        spectral: bool = False,
        initial: Initial = "normal",
    ) -> None:
        super().__init__()
        kernels = minibatch_discrimination
        check_sizes(channels=channels, width=width, num_classes=num_classes)
        check_sizes(hidden=hidden or None, minibatch_discrimination=kernels or None)
        self.shape, self.num_classes = (channels, size, size), num_classes
        base, stages = coarsest(size)
        widths = [width * 2**i for i in range(stages)]

        def stage(a: int, b: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
            wide = b * gates(activation)
            convolution = nn.Conv2d(a, wide, kernel, stride, padding, bias=norm == "none")
            return [convolution, norm2d(norm, wide), activation_of(activation, 0.2)]

        first, _, active = stage(channels + (num_classes or 0), width, 4, 2, 1)
        layers = [first, active]
        for a, b in pairwise(widths):
            layers += stage(a, b, 4, 2, 1)
        layers += stage(widths[-1], hidden, base, 1, 0) if hidden else []
        self.map_shape: tuple[int, ...] = (hidden, 1, 1) if hidden else (widths[-1], base, base)
        self.feature_size = prod(self.map_shape)
        last: nn.Module = nn.Conv2d(self.map_shape[0], 1, 1 if hidden else base, bias=False)
        if kernels:
            layers += [nn.Flatten(), MinibatchDiscrimination(self.feature_size, kernels)]
            self.feature_size += kernels
            self.map_shape = (self.feature_size,)
            last = nn.Linear(self.feature_size, 1, bias=False)
        self.layers = nn.Sequential(*layers, last, nn.Flatten(0))
        initialise_(self, initial)
        if spectral:
            spectral_(self)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(with_labels(x, labels, self.num_classes))

    def features(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers[:-2](with_labels(x, labels, self.num_classes)).flatten(1)

    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers[-2:](features.unflatten(1, self.map_shape))


def coarsest(size: int) -> tuple[int, int]:
    """The size of the coarsest map, 4 or 7, and how many doublings lead from it to `size`."""
    base, stages = size, 0
    while base > 7 and base % 2 == 0:
        base, stages = base // 2, stages + 1
    if base not in (4, 7) or stages == 0:
        raise ValueError(
            f"size must be 4 or 7 times a power of two, such as 28, 32 or 64; got {size}"
        )
    return base, stages
