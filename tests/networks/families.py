"""Small ones of all networks of GANs, and labels for those that are given any."""

import torch

from lightning_gen.networks.autoencoder import (
    StridedAutoencoder,
    UpsamplingAutoencoder,
    UpsamplingGenerator,
)
from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lightning_gen.networks.deep_resnet import DeepResNetDiscriminator, DeepResNetGenerator
from lightning_gen.networks.mlp import MLPDiscriminator, MLPGenerator
from lightning_gen.networks.resnet import ResNetDiscriminator, ResNetGenerator
from lightning_gen.networks.spatial import PatchDiscriminator, SpatialGenerator

GENERATORS = {
    "dcgan": lambda **k: DCGANGenerator(16, 3, 5, 4, **k),
    "dcgan virtual": lambda **k: DCGANGenerator(16, 3, 5, 4, norm="virtual", **k),
    "dcgan gated": lambda **k: DCGANGenerator(16, 3, 5, 4, activation="gated", **k),
    "dcgan hidden": lambda **k: DCGANGenerator(28, 1, 5, 4, hidden=12, **k),
    "dcgan constant": lambda **k: DCGANGenerator(
        16, 3, 5, 4, norm="none", constant_width=True, initial="he", **k
    ),
    "mlp": lambda **k: MLPGenerator((3, 4, 4), 5, (16,), **k),
    "mlp linear": lambda **k: MLPGenerator((2, 1, 1), 5, (16,), output="linear", **k),
    "resnet": lambda **k: ResNetGenerator(3, 5, (8, 6), **k),
    "deep resnet": lambda: DeepResNetGenerator(16, 3, 5, 4, blocks=1),
    "spatial": lambda: SpatialGenerator(3, 5, (1, 2), 4, depth=3),
    "upsampling": lambda: UpsamplingGenerator(16, 3, 5, 4),
}
DISCRIMINATORS = {
    "dcgan": lambda **k: DCGANDiscriminator(16, 3, 4, **k),
    "dcgan spectral": lambda **k: DCGANDiscriminator(16, 3, 4, "none", spectral=True, **k),
    "dcgan gated": lambda **k: DCGANDiscriminator(16, 3, 4, activation="gated", **k),
    "dcgan hidden": lambda **k: DCGANDiscriminator(28, 1, 4, hidden=12, **k),
    "dcgan minibatch": lambda **k: DCGANDiscriminator(
        16, 3, 4, minibatch_discrimination=6, hidden=12, **k
    ),
    "mlp": lambda **k: MLPDiscriminator((3, 4, 4), (16, 8), **k),
    "resnet": lambda **k: ResNetDiscriminator(3, (4, 6), 1, **k),
    "resnet spectral": lambda **k: ResNetDiscriminator(3, (4, 6), 1, spectral=True, **k),
    "deep resnet": lambda: DeepResNetDiscriminator(16, 3, 4, blocks=1),
    "patches": lambda: PatchDiscriminator(3, 4, depth=3),
    "strided": lambda: StridedAutoencoder(16, 3, 4, depth=2),
    "upsampling": lambda: UpsamplingAutoencoder(16, 3, 4, 5),
}
UNCONDITIONAL = {"deep resnet", "spatial", "upsampling", "patches", "strided"}
WITHOUT_HEAD = {"patches", "strided", "upsampling"}
CLASSES = 3


def cases(networks, without=frozenset()):
    """A network, and one with classes where it can have any, of each name."""
    plain = {name: (make, {}) for name, make in networks.items() if name not in without}
    labelled = {
        f"{name}, conditional": (make, {"num_classes": CLASSES})
        for name, (make, _) in plain.items()
        if name not in UNCONDITIONAL
    }
    return plain | labelled


def built(case):
    """A network in float64 whose weights are large enough for every one to matter."""
    make, options = case
    torch.manual_seed(1)
    network = make(**options).double()
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return network


def inputs_of(network, n=4, seed=2):
    """Latents or images in float64, and labels if it is given any."""
    generator = torch.Generator().manual_seed(seed)
    size = getattr(network, "latent_size", None)
    shape = (size,) if size else [s or 16 for s in network.shape]
    x = torch.randn(n, *shape, generator=generator, dtype=torch.double)
    return (x,) if network.num_classes is None else (x, torch.arange(n) % CLASSES)
