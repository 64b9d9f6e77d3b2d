"""The networks of the GANs: what their papers say of their structure."""

import pytest
import torch
from torch import nn

from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lightning_gen.networks.mlp import MLPDiscriminator, MLPGenerator
from lightning_gen.networks.resnet import ResidualBlock, ResNetDiscriminator, ResNetGenerator

PAIRS = {
    "dcgan 64": (DCGANGenerator(64, width=4), DCGANDiscriminator(64, width=4)),
    "dcgan 128": (DCGANGenerator(128, width=2), DCGANDiscriminator(128, width=2)),
    "dcgan 28": (DCGANGenerator(28, 1, width=4), DCGANDiscriminator(28, 1, width=4)),
    "dcgan 16": (DCGANGenerator(16, 1, width=4), DCGANDiscriminator(16, 1, width=4)),
    "dcgan layer": (
        DCGANGenerator(32, width=4, norm="layer"),
        DCGANDiscriminator(32, width=4, norm="layer"),
    ),
    "dcgan none": (
        DCGANGenerator(32, width=4, norm="none"),
        DCGANDiscriminator(32, width=4, norm="none"),
    ),
    "mlp": (MLPGenerator((3, 8, 8), 5, (16, 16)), MLPDiscriminator((3, 8, 8), (16, 16))),
    "resnet 32": (ResNetGenerator(widths=(8, 8, 4, 4)), ResNetDiscriminator(widths=(4, 8))),
    "resnet 28": (
        ResNetGenerator(1, widths=(8, 4, 4), base=7),
        ResNetDiscriminator(1, (4, 8), norm="layer"),
    ),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_latents_become_images_and_images_logits(pair):
    generator, discriminator = pair
    x = generator(torch.randn(3, generator.latent_size))
    assert x.shape == (3, *generator.shape)
    assert x.abs().max() < 1
    assert discriminator(x).shape == (3,)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_every_parameter_has_a_gradient(pair):
    generator, discriminator = pair
    discriminator(generator(torch.randn(4, generator.latent_size))).square().sum().backward()
    for network in pair:
        assert all(
            p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters()
        )


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_in_evaluation_an_image_does_not_depend_on_its_neighbours(pair):
    generator, discriminator = (network.eval() for network in pair)
    z = torch.randn(4, generator.latent_size)
    torch.testing.assert_close(generator(z)[:2], generator(z[:2]))
    x = generator(z)
    torch.testing.assert_close(discriminator(x)[:2], discriminator(x[:2]))


def test_dcgan_has_the_papers_sizes():
    assert sum(p.numel() for p in DCGANGenerator(64).parameters()) == 3_576_704
    assert sum(p.numel() for p in DCGANDiscriminator(64).parameters()) == 2_765_568


def test_dcgan_normalises_neither_images_nor_logits_and_has_no_bias_before_a_norm():
    for network in (DCGANGenerator(64, width=4), DCGANDiscriminator(64, width=4)):
        layers = list(network.layers)
        convolutions = [m for m in layers if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        assert all(m.bias is None for m in convolutions)
        assert not any(isinstance(m, nn.Linear) for m in layers)
    assert not isinstance(DCGANDiscriminator(64, width=4).layers[1], nn.BatchNorm2d)
    generator = DCGANGenerator(64, width=4).layers
    assert isinstance(generator[-2], nn.ConvTranspose2d)
    assert isinstance(generator[-1], nn.Tanh)


def test_dcgan_begins_with_small_weights():
    for network in (DCGANGenerator(64), DCGANDiscriminator(64)):
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_dcgan_takes_latents_as_vectors_or_maps():
    generator = DCGANGenerator(16, width=4).eval()
    z = torch.randn(2, 100)
    assert torch.equal(generator(z), generator(z.view(2, 100, 1, 1)))


@pytest.mark.parametrize("size", [4, 7, 30, 48, 100])
def test_sizes_that_do_not_halve_to_4_or_7_are_refused(size):
    with pytest.raises(ValueError, match="4 or 7 times a power of two"):
        DCGANGenerator(size)


def test_a_residual_block_that_adds_nothing_is_its_shortcut():
    x = torch.randn(2, 4, 8, 8)
    for resample, expected in (
        ("none", x),
        ("up", x.repeat_interleave(2, 2).repeat_interleave(2, 3)),
        ("down", nn.functional.avg_pool2d(x, 2)),
    ):
        block = ResidualBlock(4, 4, resample, "none")
        nn.init.zeros_(block.convolution2.weight)
        if isinstance(block.shortcut, nn.Conv2d):
            nn.init.dirac_(block.shortcut.weight)
        torch.testing.assert_close(block(x), expected)
