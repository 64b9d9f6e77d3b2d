"""The residual networks of 101 layers."""

import pytest
import torch
from torch import nn

from lightning_gen.networks.deep_resnet import (
    BottleneckBlock,
    DeepResNetDiscriminator,
    DeepResNetGenerator,
)

WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def main_path(network):
    return [
        m
        for name, m in network.named_modules()
        if isinstance(m, WEIGHTED) and "shortcut" not in name
    ]


@pytest.mark.parametrize("make", [DeepResNetGenerator, DeepResNetDiscriminator])
def test_at_full_size_101_layers_lie_between_the_ends(make):
    with torch.device("meta"):
        network = make()
    layers = main_path(network)
    convolutions = [m for m in layers if not isinstance(m, nn.Linear)]
    assert (len(layers), len(convolutions)) == (101, 100)
    blocks = [m for m in network.modules() if isinstance(m, BottleneckBlock)]
    assert len(blocks) == 33
    widths = [b.residual[-1].num_features for b in blocks]
    up = [512] * 6 + [256] * 7 + [128] * 7 + [64] * 7 + [32] * 6  # each change of size leads on
    down = [32] * 5 + [64] * 7 + [128] * 7 + [256] * 7 + [512] * 7
    assert widths == (up if make is DeepResNetGenerator else down)


def test_maps_have_the_sizes_of_the_table():
    generator = DeepResNetGenerator(64, 3, 5, 4, blocks=2)
    sizes = []
    for block in generator.layers:
        if isinstance(block, BottleneckBlock):
            block.register_forward_hook(lambda m, i, o: sizes.append(o.shape[-1]))
    assert generator(torch.randn(2, 5)).shape == (2, 3, 64, 64)
    assert sizes == [4] * 2 + [8] * 3 + [16] * 3 + [32] * 3 + [64] * 2


@pytest.mark.parametrize("resample", ["none", "up", "down"])
def test_a_block_normalises_its_last_convolution_alone_and_counts_three_tenths(resample):
    block = BottleneckBlock(4, 4 if resample == "none" else 6, resample, "batch").double()
    kinds = [type(m) for m in block.residual]
    middle = nn.ConvTranspose2d if resample == "up" else nn.Conv2d
    assert kinds == [nn.ReLU, nn.Conv2d, nn.ReLU, middle, nn.ReLU, nn.Conv2d, nn.BatchNorm2d]
    assert [m.bias is not None for m in block.residual if isinstance(m, WEIGHTED)] == [
        True,
        True,
        False,
    ]
    assert [m.kernel_size[0] for m in block.residual if isinstance(m, WEIGHTED)] == [1, 3, 1]
    x = torch.randn(3, 4, 8, 8, dtype=torch.double)
    out = block(x)
    assert out.shape[-1] == {"none": 8, "up": 16, "down": 4}[resample]
    torch.testing.assert_close(out, block.shortcut(x) + 0.3 * block.residual(x))
    if resample == "none":
        assert block.shortcut(x) is x


def test_both_ends_are_divided_by_five():
    generator = DeepResNetGenerator(16, 3, 5, 4, blocks=1).double()
    z = torch.randn(3, 5, dtype=torch.double)
    torch.testing.assert_close(generator(z), (generator.layers(z) / 5).tanh())
    discriminator = DeepResNetDiscriminator(16, 3, 4, blocks=1).double()
    x = generator(z)
    logits = discriminator.last(discriminator.layers(x)) / 5
    torch.testing.assert_close(discriminator(x), logits.squeeze(1))


@pytest.mark.parametrize("norm", ["layer", "none"])
def test_critics_of_a_gradient_penalty_can_do_without_batch_norms(norm):
    network = DeepResNetDiscriminator(16, 1, 4, blocks=2, norm=norm)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    last = [m.residual[5] for m in network.modules() if isinstance(m, BottleneckBlock)]
    assert all((m.bias is not None) == (norm == "none") for m in last)


def test_sizes_that_cannot_be_are_refused():
    for options, message in (
        ({"width": 5}, "width must be even"),
        ({"blocks": 0}, "blocks must be at least 1"),
        ({"size": 48}, "4 or 7 times a power of two"),
    ):
        for make in (DeepResNetGenerator, DeepResNetDiscriminator):
            with pytest.raises(ValueError, match=message):
                make(**options)
