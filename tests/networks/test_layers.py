"""Layers that only GANs have, against their definitions."""

import copy
from math import exp, sqrt

import pytest
import torch
from torch import nn

from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lightning_gen.networks.resnet import ResidualBlock, ResNetDiscriminator, ResNetGenerator
from lightning_gen.nn.activation import activation_of, gates
from lightning_gen.nn.init import he_, he_uniform_, initialise_
from lightning_gen.nn.labels import LabelledSequential, one_hot, with_labels
from lightning_gen.nn.minibatch import MinibatchDiscrimination
from lightning_gen.nn.norm import ConditionalNorm2d, norm2d
from lightning_gen.nn.spectral import spectral_
from lightning_gen.nn.virtual_norm import VirtualBatchNorm


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


# Minibatch discrimination


def test_minibatch_discrimination_adds_up_how_close_the_others_are():
    layer = MinibatchDiscrimination(6, kernels=3, kernel_size=4).double()
    x = noise(5, 6)
    out = layer(x)
    assert torch.equal(out[:, :6], x)
    rows = (x @ layer.rows.weight.T).view(5, 3, 4).tolist()
    for i in range(5):
        for k in range(3):
            expected = sum(
                exp(-sum(abs(a - b) for a, b in zip(rows[i][k], rows[j][k])))
                for j in range(5)
                if j != i
            )
            assert out[i, 6 + k].item() == pytest.approx(expected, rel=1e-12)


def test_minibatch_discrimination_sees_a_collapsed_batch():
    layer = MinibatchDiscrimination(6, kernels=3).double()
    nn.init.normal_(layer.rows.weight)
    same = layer(noise(1, 6).expand(5, -1))[:, 6:]
    torch.testing.assert_close(same, torch.full_like(same, 4.0))  # each has 4 others at distance 0
    assert (layer(noise(5, 6))[:, 6:] < 1).all()
    assert not layer(noise(1, 6))[:, 6:].any()  # nobody else


# Virtual batch normalisation


def test_virtual_normalisation_is_by_the_references_and_the_image_itself():
    layer = VirtualBatchNorm(3, references=4).double()
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = noise(4 + 5, 3, 2, 2) * 2 + 1
    out = layer(x)
    batch = nn.BatchNorm2d(3).double()
    with torch.no_grad():
        batch.weight.copy_(layer.weight), batch.bias.copy_(layer.bias)
    torch.testing.assert_close(out[:4], batch(x[:4]))
    for i in range(4, 9):
        # The mean over R references and the image is a batch norm of these R + 1 images.
        together = batch(torch.cat([x[:4], x[i : i + 1]]))
        torch.testing.assert_close(out[i], together[-1])


def test_virtual_normalisation_does_not_cancel_far_from_zero():
    layer = VirtualBatchNorm(1, references=4)
    x = noise(6, 1, 4, 4)
    shifted = layer((x + 1000).float())
    torch.testing.assert_close(shifted.double(), layer.double()(x), atol=2e-3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_virtual_normalisation_takes_moments_in_single_precision(dtype):
    """Squares of 300 are no numbers in half precision."""
    layer = VirtualBatchNorm(2, references=4)
    x = (300 * noise(9, 2, 4, 4) + 20).to(dtype)
    out = layer(x)
    assert out.dtype == dtype
    assert torch.equal(out, layer(x.float()).to(dtype))
    assert out[4:].float().std().item() == pytest.approx(1, abs=0.15)


def test_a_generator_with_virtual_norms_knows_no_neighbours_in_training():
    generator = DCGANGenerator(16, 1, 5, 4, norm="virtual").double().train()
    z = noise(4, 5)
    torch.testing.assert_close(generator(z)[:2], generator(z[:2]))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in generator.modules())
    assert "references" in generator.state_dict()
    other = copy.deepcopy(generator)
    other.references.neg_()
    assert not torch.allclose(other(z), generator(z))


def test_references_take_turns_among_the_classes():
    generator = DCGANGenerator(16, 1, 5, 4, norm="virtual", num_classes=3)
    turns = generator.references[:, 5:].argmax(1)
    assert torch.equal(turns, torch.arange(64) % 3)
    assert torch.equal(generator.references[:, 5:].sum(1), torch.ones(64))


# Conditional normalisation


@pytest.mark.parametrize("kind", ["batch", "layer", "none"])
def test_conditional_normalisation_is_one_norm_for_each_class(kind):
    layer = norm2d(kind, 4, num_classes=3).double().train()
    for p in layer.parameters():
        nn.init.normal_(p)
    x, labels = noise(6, 4, 2, 2), torch.tensor([0, 2, 1, 1, 0, 2])
    out = layer(x, labels)
    for k in range(3):
        one = norm2d(kind, 4).double().train()
        gain, bias = 1 + layer.gain.weight[:, k], layer.bias.weight[:, k]
        if kind == "none":
            expected = x * gain.view(1, 4, 1, 1) + bias.view(1, 4, 1, 1)
        else:
            with torch.no_grad():
                one.weight.copy_(gain), one.bias.copy_(bias)
            expected = one(x)  # whose statistics are of all images, whatever their class
        torch.testing.assert_close(out[labels == k], expected[labels == k])


def test_conditional_normalisation_begins_as_the_plain_one():
    x = noise(6, 4, 2, 2)
    layer, plain = norm2d("batch", 4, num_classes=3).double(), norm2d("batch", 4).double()
    torch.testing.assert_close(layer(x, torch.arange(6) % 3), plain(x))
    attributes = torch.ones(6, 3)
    torch.testing.assert_close(layer.eval()(x, attributes), plain.eval()(x))


def test_labels_reach_the_norms_within_residual_blocks():
    block = ResidualBlock(4, 4, "up", "batch", num_classes=3).double()
    layers = LabelledSequential(nn.ReLU(), LabelledSequential(block), nn.ReLU())
    x, labels = noise(3, 4, 2, 2), torch.tensor([0, 1, 2])
    nn.init.normal_(block.before[0].bias.weight)
    assert not torch.allclose(layers(x, labels), layers(x, labels.flip(0)))
    torch.testing.assert_close(layers(x, labels), block(x.relu(), labels).relu())


def test_every_norm_of_a_conditional_generator_is_conditional():
    generator = ResNetGenerator(3, 5, (8, 6, 4), num_classes=3)
    norms = [m for m in generator.modules() if isinstance(m, ConditionalNorm2d)]
    assert [m.gain.out_features for m in norms] == [8, 6, 6, 4, 4]
    assert not any(m.affine for m in generator.modules() if isinstance(m, nn.BatchNorm2d))


def test_the_projection_adds_the_features_product_with_the_labels_row():
    discriminator = ResNetDiscriminator(3, (4, 6), 1, num_classes=3).double()
    x, labels = noise(4, 3, 8, 8), torch.tensor([2, 0, 1, 2])
    h, last = discriminator.features(x), discriminator.layers[-2]
    rows = discriminator.embed.weight.T
    expected = [last(h[i]) + h[i] @ rows[labels[i]] for i in range(4)]
    torch.testing.assert_close(discriminator(x, labels), torch.cat(expected))


# Labels


def test_labels_become_channels():
    labels = torch.tensor([1, 0])
    rows = one_hot(labels, 3, torch.double)
    assert rows.tolist() == [[0, 1, 0], [1, 0, 0]] and rows.dtype == torch.double
    assert with_labels(noise(2, 5), labels, 3)[:, 5:].tolist() == rows.tolist()
    maps = with_labels(noise(2, 5, 2, 3), labels, 3)
    assert maps.shape == (2, 8, 2, 3)
    assert torch.equal(maps[:, 5:], rows[..., None, None].expand(2, 3, 2, 3))
    x = noise(2, 5)
    assert with_labels(x, None, None) is x


# Activations


def test_activations_do_what_their_names_say():
    x = noise(2, 4, 3, 3)
    assert torch.equal(activation_of("relu")(x), x.relu())
    assert torch.equal(activation_of("relu", 0.2)(x), nn.functional.leaky_relu(x, 0.2))
    assert torch.equal(activation_of("tanh", 0.2)(x), x.tanh())
    gated = activation_of("gated", 0.2)(x)
    torch.testing.assert_close(gated, x[:, :2].tanh() * x[:, 2:].sigmoid())
    assert [gates(kind) for kind in ("relu", "tanh", "gated")] == [1, 1, 2]
    with pytest.raises(ValueError, match="activation must be relu, tanh or gated, got elu"):
        activation_of("elu")


# Spectral normalisation


@pytest.mark.parametrize(
    "make",
    [
        lambda: DCGANDiscriminator(16, 1, 4, "none", spectral=True),
        lambda: DCGANDiscriminator(28, 1, 4, hidden=8, minibatch_discrimination=3, spectral=True),
        lambda: ResNetDiscriminator(1, (4, 6), num_classes=3, spectral=True),
    ],
)
def test_every_weight_matrix_has_norm_1_after_enough_iterations(make):
    network = make().double().train()
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer in layers:
        for _ in range(300):
            weight = layer.weight
        norm = torch.linalg.matrix_norm(weight.flatten(1), 2).item()
        assert norm == pytest.approx(1, abs=1e-3)
        original = layer.parametrizations.weight.original
        torch.testing.assert_close(
            weight * torch.linalg.matrix_norm(original.flatten(1), 2),
            original,
            rtol=2e-3,
            atol=1e-6,
        )
    assert len(layers) >= 3


def test_spectral_norms_are_estimated_in_training_and_fixed_in_evaluation():
    network = nn.Sequential(nn.Linear(6, 6)).double()
    nn.init.normal_(network[0].weight)
    spectral_(network)
    x = noise(2, 6)
    vector = network[0].parametrizations.weight[0]._u
    before = vector.clone()
    network.eval()(x)
    assert torch.equal(vector, before)
    network.train()(x)
    assert not torch.equal(vector, before)


def test_a_linear_critic_with_spectral_norm_is_1_lipschitz():
    network = ResNetDiscriminator(1, (4,), 0, spectral=True).double()
    for _ in range(50):
        network(noise(2, 1, 8, 8))
    network.eval()
    last = network.layers[-2]
    a, b = noise(2, 200, 4)
    slopes = (last(a) - last(b)).norm(dim=1) / (a - b).norm(dim=1)
    assert slopes.max() <= 1 + 1e-6


# Initial weights


def test_he_gives_each_layer_the_variance_of_the_authors_code():
    """std = sqrt(4 / (fan in + fan out)), of which strides divide that of the finer map's places."""
    for layer, fans in (
        (nn.Linear(200, 100), 300),
        (nn.Conv2d(40, 60, 4), 16 * 100),
        (nn.Conv2d(40, 60, 4, stride=2), 16 * (40 + 60 / 4)),
        (nn.ConvTranspose2d(40, 60, 4, stride=2), 16 * (40 / 4 + 60)),
    ):
        he_uniform_(layer)
        assert layer.weight.std().item() == pytest.approx(sqrt(4 / fans), rel=0.03)
        assert layer.weight.abs().max().item() == pytest.approx(sqrt(12 / fans), rel=0.01)
        assert not layer.bias.any()


def test_he_keeps_the_size_of_signals_in_a_generator_without_norms():
    torch.manual_seed(0)
    sizes = {}
    for initial in ("he", "normal"):
        generator = DCGANGenerator(
            64, 3, 128, 16, norm="none", constant_width=True, initial=initial
        )
        sizes[initial] = generator.layers[:-1](torch.randn(16, 128)).std().item()
    assert 0.1 < sizes["he"] < 10
    assert sizes["normal"] < 1e-3


def test_he_gives_the_first_layer_the_fans_of_a_linear_one():
    generator = DCGANGenerator(64, 3, 128, 16, norm="none", constant_width=True, initial="he")
    first = generator.layers[1].weight
    assert first.std().item() == pytest.approx(sqrt(4 / (128 + 16 * 16)), rel=0.03)


def test_the_last_layer_has_the_gain_of_a_linear_one():
    layers = nn.Sequential(nn.Linear(300, 300), nn.Linear(300, 300))
    he_(layers)
    stds = [layer.weight.std().item() for layer in layers]
    assert stds[0] / stds[1] == pytest.approx(sqrt(2), rel=0.02)
    with pytest.raises(ValueError, match="initial must be normal or he, got xavier"):
        initialise_(layers, "xavier")
