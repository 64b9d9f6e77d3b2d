"""The networks of the GANs: what their papers say of their structure."""

import copy
from math import sqrt

import pytest
import torch
from torch import nn

from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lightning_gen.networks.mlp import MLPDiscriminator, MLPGenerator
from lightning_gen.networks.resnet import ResidualBlock, ResNetDiscriminator, ResNetGenerator
from lightning_gen.nn.init import normal_
from lightning_gen.nn.norm import norm2d

torch.manual_seed(0)  # or the order of the tests would choose the weights
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


WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
NORMS = (nn.BatchNorm2d, nn.GroupNorm)


def weighted(network):
    return [m for m in network.modules() if isinstance(m, WEIGHTED)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_images_are_a_function_of_latents(pair, training):
    """Nothing is drawn within a network, so previews from fixed latents do not flicker."""
    generator = copy.deepcopy(pair[0]).train(training)
    for p in generator.parameters():
        nn.init.normal_(p, std=0.5)
    z = torch.randn(4, generator.latent_size)
    assert torch.equal(generator(z), generator(z))
    assert not torch.allclose(generator(z), generator(z.flip(0)))


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_logits_are_linear_in_the_last_layer_and_images_its_tanh(pair):
    """No sigmoid stands at the end of a discriminator, and nothing but tanh at a generator's."""
    generator, discriminator = (copy.deepcopy(network).double().train() for network in pair)
    z = torch.randn(3, generator.latent_size, dtype=torch.double)
    x = generator(z).detach()
    for network, inputs, before in (
        (generator, z, torch.atanh),
        (discriminator, x, torch.clone),
    ):
        once = before(network(inputs))
        last = weighted(network)[-1]
        with torch.no_grad():
            for p in last.parameters():
                p.mul_(-0.5)
        torch.testing.assert_close(before(network(inputs)), -0.5 * once)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_the_last_map_of_a_generator_has_the_size_of_its_images(pair):
    """No image is stretched to a size that the network was not made for."""
    generator, discriminator = pair
    sizes = []
    last, first = weighted(generator)[-1], weighted(discriminator)[0]
    hooks = [
        last.register_forward_hook(lambda m, i, o: sizes.append(o[0].numel())),
        first.register_forward_hook(lambda m, i, o: sizes.append(i[0][0].numel())),
    ]
    x = generator(torch.randn(2, generator.latent_size))
    discriminator(x)
    for hook in hooks:
        hook.remove()
    of_images = x[0].numel()
    assert sizes[0] == of_images
    assert sizes[1] in (of_images, of_images // 4)  # the shortcut of a residual block pools first


@pytest.mark.parametrize(
    ("size", "base", "widths"),
    [(64, 4, [32, 16, 8, 4]), (28, 7, [8, 4]), (56, 7, [16, 8, 4]), (16, 4, [8, 4])],
)
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_dcgan_layer_by_layer(size, base, widths, norm):
    kind = {"batch": nn.BatchNorm2d, "layer": nn.GroupNorm, "none": nn.Identity}[norm]
    generator = DCGANGenerator(size, 3, 10, 4, norm).layers
    rest = [nn.ConvTranspose2d, kind, nn.ReLU] * len(widths) + [nn.ConvTranspose2d, nn.Tanh]
    assert [type(m) for m in generator] == [nn.Unflatten, *rest]
    discriminator = DCGANDiscriminator(size, 3, 4, norm).layers
    inner = [nn.Conv2d, kind, nn.LeakyReLU] * (len(widths) - 1)
    assert [type(m) for m in discriminator] == [
        nn.Conv2d,
        nn.LeakyReLU,
        *inner,
        nn.Conv2d,
        nn.Flatten,
    ]
    assert all(m.negative_slope == 0.2 for m in discriminator if isinstance(m, nn.LeakyReLU))
    for network, first, channels in (
        (generator, 0, [10, *widths, 3]),
        (discriminator, -1, [3, *widths[::-1], 1]),
    ):
        layers = weighted(network)
        assert [(m.in_channels, m.out_channels) for m in layers] == [*zip(channels, channels[1:])]
        coarsest = layers.pop(first)
        assert (*coarsest.kernel_size, *coarsest.stride, *coarsest.padding) == (
            *(base, base),
            *(1, 1),
            *(0, 0),
        )
        assert all((*m.kernel_size, *m.stride, *m.padding) == (4, 4, 2, 2, 1, 1) for m in layers)
    for network, last in ((generator, weighted(generator)[-1]), (discriminator, coarsest)):
        for m in weighted(network):
            assert (m.bias is not None) == (norm == "none" and m is not last)


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_all_of_dcgan_begins_near_its_initial_values(norm):
    for network in (DCGANGenerator(32, norm=norm), DCGANDiscriminator(32, norm=norm)):
        for m in weighted(network):
            assert m.weight.mean().item() == pytest.approx(0, abs=2e-3)
            assert m.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert m.bias is None or not m.bias.any()
        for m in network.modules():
            if isinstance(m, NORMS):
                assert m.weight.mean().item() == pytest.approx(1, abs=0.01)
                assert m.weight.std().item() == pytest.approx(0.02, rel=0.4)
                assert not m.bias.any()


def test_initial_values_reach_every_kind_of_layer():
    layers = [nn.Linear(200, 100), nn.Conv2d(50, 50, 3), nn.ConvTranspose2d(50, 50, 3)]
    norms = [nn.BatchNorm2d(2000), nn.GroupNorm(1, 2000)]
    for m in [*layers, *norms]:
        nn.init.constant_(m.bias, 7.0)
        nn.init.constant_(m.weight, 7.0)
    normal_(nn.Sequential(nn.ModuleList(layers), nn.ModuleList(norms)))
    for m in layers:
        assert m.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert m.weight.mean().item() == pytest.approx(0, abs=1e-3)
    for m in norms:
        assert m.weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert m.weight.mean().item() == pytest.approx(1, abs=5e-3)
    assert not any(m.bias.any() for m in [*layers, *norms])


def test_norms_do_what_their_names_say():
    x = torch.randn(5, 6, 4, 4, dtype=torch.double) * torch.arange(1, 7).view(1, 6, 1, 1) + 3
    for kind, over in (("batch", (0, 2, 3)), ("layer", (1, 2, 3))):
        y = norm2d(kind, 6).double()(x)
        ones = torch.ones_like(y.mean(over))
        torch.testing.assert_close(y.mean(over), 0 * ones, atol=1e-9, rtol=0)
        torch.testing.assert_close(y.square().mean(over), ones, atol=1e-4, rtol=0)
    assert not torch.allclose(norm2d("layer", 6).double()(x).mean((2, 3)), x.new_zeros(5, 6))
    assert norm2d("none", 6)(x) is x
    batch = norm2d("batch", 6)
    assert (batch.momentum, batch.eps, batch.affine) == (0.1, 1e-5, True)
    assert all(norm2d(kind, 6).weight.shape == (6,) for kind in ("batch", "layer"))
    with pytest.raises(ValueError, match="norm must be batch, layer or none"):
        norm2d("instance", 6)


def double(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def half(x):
    return nn.functional.avg_pool2d(x, 2)


@pytest.mark.parametrize(
    ("resample", "first", "middle"),
    [("up", False, 5), ("down", False, 3), ("none", False, 3), ("down", True, 5)],
)
def test_a_residual_block_is_what_the_appendix_says(resample, first, middle):
    block = ResidualBlock(3, 5, resample, "none", first).double()
    for p in block.parameters():
        nn.init.normal_(p)
    one, two, shortcut = block.convolution1, block.convolution2, block.shortcut
    assert one.out_channels == two.in_channels == middle
    x = torch.randn(2, 3, 4, 4, dtype=torch.double)
    before, after = {"up": (double, torch.clone), "down": (torch.clone, half)}.get(
        resample, (torch.clone, torch.clone)
    )
    residual = after(two(one(before(x if first else x.relu())).relu()))
    torch.testing.assert_close(block(x), residual + after(shortcut(before(x))))


@pytest.mark.parametrize("kind", ["batch", "layer"])
def test_residual_networks_normalise_before_each_relu_but_not_the_images(kind):
    generator = ResNetGenerator(3, 8, (8, 6, 4), norm=kind)
    discriminator = ResNetDiscriminator(3, (4, 6), plain=1, norm=kind)

    def channels(network):
        norms = [m for m in network.modules() if isinstance(m, NORMS)]
        return [m.num_features if kind == "batch" else m.num_channels for m in norms]

    assert channels(generator) == [8, 6, 6, 4, 4]
    assert channels(discriminator) == [4, 4, 6, 6]
    assert not any(isinstance(m, NORMS) for m in ResNetDiscriminator(3, (4, 6)).modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in ResNetGenerator().modules())
    assert [type(m) for m in generator.layers[-3:]] == [nn.ReLU, nn.Conv2d, nn.Tanh]


@pytest.mark.parametrize(("pool", "taken"), [("mean", torch.mean), ("sum", torch.sum)])
def test_a_residual_discriminator_judges_the_mean_or_the_sum_over_places(pool, taken):
    discriminator = ResNetDiscriminator(3, (4, 6), plain=1, pool=pool)
    blocks = [m for m in discriminator.layers if isinstance(m, ResidualBlock)]
    seen = []
    blocks[-1].register_forward_hook(lambda m, i, o: seen.append(o))
    x = torch.randn(2, 3, 16, 16)
    last = weighted(discriminator)[-1]
    logits = discriminator(x)
    torch.testing.assert_close(logits, last(taken(seen[0].relu(), (2, 3))).squeeze(1))
    assert discriminator.features(x).shape == (2, discriminator.feature_size)


def test_places_become_a_mean_by_default_and_what_they_may_become_is_said():
    torch.manual_seed(0)
    default = ResNetDiscriminator(3, (4, 6))
    torch.manual_seed(0)
    mean, x = ResNetDiscriminator(3, (4, 6), pool="mean"), torch.randn(2, 3, 16, 16)
    assert torch.equal(default(x), mean(x))
    with pytest.raises(ValueError, match="pool must be mean or sum, got max"):
        ResNetDiscriminator(3, (4, 6), pool="max")


def test_residual_networks_of_cifar_have_the_papers_sizes():
    """3x3 convolutions of 128 channels with biases: 9 * 128 * 128 + 128 = 147 584."""
    plain, shortcut, norm = 2 * 147_584, 128 * 128 + 128, 2 * 128
    block = plain + shortcut + 2 * norm
    generator = 129 * 128 * 16 + 3 * block + norm + (9 * 128 * 3 + 3)
    assert sum(p.numel() for p in ResNetGenerator().parameters()) == generator
    first = (9 * 3 * 128 + 128) + 147_584 + (3 * 128 + 128)
    discriminator = first + (plain + shortcut) + 2 * plain + 129
    assert sum(p.numel() for p in ResNetDiscriminator().parameters()) == discriminator


@pytest.mark.parametrize("network", [ResNetGenerator(), ResNetDiscriminator()])
def test_residual_networks_begin_with_the_variances_of_the_authors_code(network):
    inner = {
        c
        for m in network.modules()
        if isinstance(m, ResidualBlock)
        for c in (m.convolution1, m.convolution2)
    }
    for m in weighted(network):
        places = m.weight[0, 0].numel() if isinstance(m, nn.Conv2d) else 1
        fans = places * (m.weight.shape[0] + m.weight.shape[1])
        std = sqrt((4 if m in inner else 2) / fans)
        bound = m.weight.abs().max().item()
        assert bound <= std * sqrt(3) * (1 + 1e-6)
        assert bound == pytest.approx(std * sqrt(3), rel=0.05)
        assert m.weight.std().item() == pytest.approx(std, rel=0.15)
        assert not m.bias.any()


def test_fully_connected_networks_layer_by_layer():
    generator = MLPGenerator((3, 8, 8), 5, (16, 24)).layers
    kinds = [nn.Linear, nn.ReLU] * 2 + [nn.Linear, nn.Tanh, nn.Unflatten]
    assert [type(m) for m in generator] == kinds
    discriminator = MLPDiscriminator((3, 8, 8), (24, 16)).layers
    kinds = [nn.Flatten] + [nn.Linear, nn.LeakyReLU] * 2 + [nn.Linear, nn.Flatten]
    assert [type(m) for m in discriminator] == kinds
    assert all(m.negative_slope == 0.2 for m in discriminator if isinstance(m, nn.LeakyReLU))
    for network, sizes in ((generator, [5, 16, 24, 192]), (discriminator, [192, 24, 16, 1])):
        assert [m.in_features for m in weighted(network)] == sizes[:-1]
        assert [m.out_features for m in weighted(network)] == sizes[1:]
