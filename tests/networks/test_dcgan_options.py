"""The options of DCGAN's networks: the rows of WGAN-GP's table of architectures, and InfoGAN's."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lightning_gen.networks.mlp import MLPGenerator
from lightning_gen.nn.causal import GatedActivation
from lightning_gen.nn.minibatch import MinibatchDiscrimination
from lightning_gen.nn.virtual_norm import VirtualBatchNorm

WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
RELUS = (nn.ReLU, nn.LeakyReLU)
NORMS = (nn.BatchNorm2d, nn.GroupNorm, VirtualBatchNorm)


def kinds(network, types):
    return [m for m in network.modules() if isinstance(m, types)]


def size(network):
    return sum(p.numel() for p in network.parameters())


def pair(**options):
    return DCGANGenerator(64, width=4, **options), DCGANDiscriminator(64, width=4, **options)


def test_the_row_without_norms_has_equal_widths_and_none_anywhere():
    generator = DCGANGenerator(64, 3, 128, 64, norm="none", constant_width=True, initial="he")
    layers = kinds(generator, WEIGHTED)
    assert [m.out_channels for m in layers] == [64, 64, 64, 64, 3]
    assert not kinds(generator, NORMS)
    assert [m.bias is not None for m in layers] == [True] * 4 + [False]


def test_the_fully_connected_row_has_four_hidden_layers_of_512():
    generator = MLPGenerator((3, 64, 64), 128, (512, 512, 512, 512))
    assert [m.out_features for m in kinds(generator, nn.Linear)] == [512] * 4 + [12288]
    assert len(kinds(generator, nn.ReLU)) == 4 and not kinds(generator, NORMS)


def test_points_are_not_bounded():
    z = 100 * torch.randn(50, 5)
    generator = MLPGenerator((2, 1, 1), 5, (16,), output="linear")
    assert generator(z).shape == (50, 2, 1, 1) and generator(z).abs().max() > 1
    assert isinstance(generator.layers[-2], nn.Linear)
    assert MLPGenerator((2, 1, 1), 5, (16,))(z).abs().max() <= 1


def test_the_gated_row_has_no_relu_and_gates_after_each_norm():
    for network, gated in zip(pair(activation="gated"), (4, 4)):
        assert not kinds(network, RELUS)
        assert len(kinds(network, GatedActivation)) == gated
        layers = [m for m in network.layers if isinstance(m, (*WEIGHTED, *NORMS, GatedActivation))]
        hidden = layers[:-1]
        for a, b in pairwise(hidden):
            if isinstance(a, WEIGHTED):  # twice the channels, into a norm or the first gate of D
                assert isinstance(b, (*NORMS, GatedActivation))
                wide = a.out_channels
            elif isinstance(a, NORMS):
                assert isinstance(b, GatedActivation)
            else:
                assert b.in_channels == wide // 2
    first = DCGANDiscriminator(64, width=4, activation="gated").layers
    assert isinstance(first[1], GatedActivation) and first[0].out_channels == 8


def test_the_tanh_row_is_the_baseline_with_tanh():
    for network, baseline in zip(pair(activation="tanh"), pair()):
        assert not kinds(network, RELUS)
        assert len(network.layers) == len(baseline.layers)
        for a, b in zip(network.layers, baseline.layers):
            assert isinstance(a, nn.Tanh) if isinstance(b, RELUS) else type(a) is type(b)
        assert network.state_dict().keys() == baseline.state_dict().keys()


@pytest.mark.parametrize("norm", ["batch", "layer", "virtual"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gated"])
@pytest.mark.parametrize("hidden", [0, 12])
def test_images_are_not_normalised_and_no_bias_stands_before_a_norm(norm, activation, hidden):
    options = {"activation": activation, "hidden": hidden}
    generator = DCGANGenerator(32, width=4, norm=norm, **options)
    networks = [generator]
    if norm != "virtual":
        networks += [DCGANDiscriminator(32, width=4, norm=norm, **options)]
    for network in networks:
        layers = list(network.layers)
        for a, b in pairwise(layers):
            if isinstance(b, NORMS):
                assert isinstance(a, WEIGHTED) and a.bias is None
        stages = 3 + bool(hidden)
        assert len(kinds(network, NORMS)) == (stages if network is generator else stages - 1)
    assert isinstance(generator.layers[-3], type(generator.layers[3]))
    assert not isinstance(networks[-1].layers[1], NORMS)


def test_sizes_with_labels_are_those_without_and_one_input_for_each():
    generator, discriminator = pair()
    labelled = pair(num_classes=10)
    assert size(labelled[0]) == size(generator) + 10 * 32 * 16
    assert size(labelled[1]) == size(discriminator) + 10 * 4 * 16


def test_infogan_layer_by_layer():
    """Appendix C.1: of 74 numbers FC 1024, FC 7 x 7 x 128, 4 x 4 64, 4 x 4 1, and the mirror."""
    generator = DCGANGenerator(28, 1, 74, 64, hidden=1024)
    layers = kinds(generator, nn.ConvTranspose2d)
    found = [(m.in_channels, m.out_channels, *m.kernel_size, *m.stride) for m in layers]
    assert found == [
        (74, 1024, 1, 1, 1, 1),
        (1024, 128, 7, 7, 1, 1),
        (128, 64, 4, 4, 2, 2),
        (64, 1, 4, 4, 2, 2),
    ]
    norms = 2 * (1024 + 128 + 64)
    assert size(generator) == 74 * 1024 + 1024 * 6272 + 16 * (128 * 64 + 64) + norms
    discriminator = DCGANDiscriminator(28, 1, 64, hidden=1024)
    layers = kinds(discriminator, nn.Conv2d)
    found = [(m.in_channels, m.out_channels, *m.kernel_size, *m.stride) for m in layers]
    assert found == [
        (1, 64, 4, 4, 2, 2),
        (64, 128, 4, 4, 2, 2),
        (128, 1024, 7, 7, 1, 1),
        (1024, 1, 1, 1, 1, 1),
    ]
    assert [m.num_features for m in kinds(discriminator, nn.BatchNorm2d)] == [128, 1024]
    assert discriminator.feature_size == 1024


def test_features_are_the_last_map_and_what_minibatch_discrimination_adds():
    assert DCGANDiscriminator(64, width=4).feature_size == 32 * 16
    assert DCGANDiscriminator(28, width=4).feature_size == 8 * 49
    network = DCGANDiscriminator(28, 1, 4, hidden=12, minibatch_discrimination=7).double()
    assert network.feature_size == 12 + 7
    assert [type(m) for m in network.layers[-4:]] == [
        nn.Flatten,
        MinibatchDiscrimination,
        nn.Linear,
        nn.Flatten,
    ]
    x = torch.randn(5, 1, 28, 28, dtype=torch.double)
    nn.init.normal_(network.layers[-3].rows.weight)
    network.eval()
    assert not torch.allclose(network(x)[:2], network(x[:2]))  # it compares the images of a batch


def test_every_layer_of_a_spectral_discriminator_is_normalised():
    network = DCGANDiscriminator(32, width=4, norm="none", spectral=True, num_classes=3)
    layers = kinds(network, WEIGHTED)
    assert len(layers) == 4 and all(hasattr(m, "parametrizations") for m in layers)
    assert all(m.bias is not None for m in layers[:-1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DCGANGenerator(16, hidden=-1), "hidden must be at least 1, got -1"),
        (lambda: DCGANGenerator(16, num_classes=0), "num_classes must be at least 1, got 0"),
        (lambda: DCGANGenerator(16, activation="elu"), "activation must be relu, tanh or gated"),
        (lambda: DCGANGenerator(16, norm="instance"), "norm must be batch, layer or none"),
        (lambda: DCGANGenerator(16, initial="xavier"), "initial must be normal or he"),
        (lambda: DCGANDiscriminator(16, minibatch_discrimination=-2), "minibatch_discrimination"),
        (lambda: DCGANDiscriminator(16, norm="virtual"), "norm must be batch, layer or none"),
        (lambda: MLPGenerator(output="sigmoid"), "output must be tanh or linear"),
    ],
)
def test_wrong_options_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
