"""Autoencoders as discriminators."""

import pytest
import torch
from torch import nn

from lightning_gen.networks.autoencoder import (
    StridedAutoencoder,
    UpsamplingAutoencoder,
    UpsamplingGenerator,
)


def kinds(network, types):
    return [m for m in network.modules() if isinstance(m, types)]


@pytest.mark.parametrize("size", [16, 28, 64])
@pytest.mark.parametrize("make", [StridedAutoencoder, UpsamplingAutoencoder])
def test_codes_become_images_again(make, size):
    options = {"depth": 2} if make is StridedAutoencoder else {}
    network = make(size, 3, 4, **options).double()
    x = torch.randn(3, 3, size, size, dtype=torch.double)
    code = network.encode(x)
    assert code.shape == (3, network.feature_size)
    rebuilt = network.decode(code)
    assert rebuilt.shape == x.shape
    error = (rebuilt - x).square().mean((1, 2, 3))
    torch.testing.assert_close(network(x), -error)
    assert torch.equal(network.features(x), network.encode(x))


def test_ebgan_layer_by_layer():
    """64 x 64: 64, 128, 256 channels down, 128, 64, 3 up; the images are not normalised."""
    network = StridedAutoencoder()
    assert [m.out_channels for m in kinds(network, nn.Conv2d)] == [64, 128, 256]
    assert [m.out_channels for m in kinds(network, nn.ConvTranspose2d)] == [128, 64, 3]
    assert [m.num_features for m in kinds(network, nn.BatchNorm2d)] == [128, 256, 128, 64]
    assert not isinstance(network.encoder[1], nn.BatchNorm2d)
    assert isinstance(network.decoder[-1], nn.ConvTranspose2d)
    assert network.feature_size == 256 * 8 * 8
    assert not kinds(StridedAutoencoder(norm="none"), nn.BatchNorm2d)


def test_began_layer_by_layer():
    """64 x 64: n, 2n, 3n, 4n channels down to 8 x 8, a code of 64, n channels all the way up."""
    network = UpsamplingAutoencoder()
    down = [(m.out_channels, m.stride[0]) for m in network.encoder if isinstance(m, nn.Conv2d)]
    assert down == [
        *[(64, 1), (64, 1), (64, 1), (64, 2)],
        *[(128, 1), (128, 1), (128, 2)],
        *[(192, 1), (192, 1), (192, 2)],
        *[(256, 1), (256, 1)],
    ]
    up = [m.out_channels for m in network.decoder if isinstance(m, nn.Conv2d)]
    assert up == [64] * 8 + [3]
    linear = [(m.in_features, m.out_features) for m in kinds(network, nn.Linear)]
    assert linear == [(256 * 64, 64), (64, 64 * 64)]
    assert [m.mode for m in kinds(network, nn.Upsample)] == ["nearest"] * 3
    assert len(kinds(network, nn.ELU)) == 12 + 8
    assert not kinds(network, (nn.BatchNorm2d, nn.GroupNorm, nn.ReLU, nn.LeakyReLU, nn.Tanh))
    assert all(m.kernel_size == (3, 3) for m in kinds(network, nn.Conv2d))
    assert network.feature_size == 64


def test_the_generator_of_began_is_its_decoder():
    network, generator = UpsamplingAutoencoder(28, 1, 4, 5), UpsamplingGenerator(28, 1, 5, 4)
    generator.layers.load_state_dict(network.decoder.state_dict())
    z = torch.randn(3, 5)
    torch.testing.assert_close(generator(z), network.decode(z))
    torch.nn.init.constant_(generator.layers[-1].bias, 5)
    assert generator(z).min() > 1 and generator.eval()(z).eq(1).all()
    assert generator.shape == (1, 28, 28) and generator.latent_size == 5


@pytest.mark.parametrize("size", [28, 64])
def test_what_began_rebuilds_depends_on_the_image_before_training(size):
    torch.manual_seed(0)
    network = UpsamplingAutoencoder(size, 1, 16)
    images = torch.rand(32, 1, size, size) * 2 - 1
    rebuilt = network.decode(network.encode(images))
    assert rebuilt.std(0).mean() > 0.01  # 1e-5 with PyTorch's weights


@pytest.mark.parametrize("background", [-1.0, 0.5])
def test_images_of_began_start_about_the_background_and_differ(background):
    torch.manual_seed(0)
    generator = UpsamplingGenerator(28, 1, width=16, background=background)
    images = generator(torch.rand(64, 64) * 2 - 1)
    assert images.mean().item() == pytest.approx(background, abs=0.05)
    assert images.std(0).mean() > 0.05  # 4e-3 with PyTorch's weights


def test_began_goes_on_learning_from_black_images():
    """A tanh divides the gradient by hundreds where images are about as black as they can be."""
    torch.manual_seed(0)
    generator = UpsamplingGenerator(28, 1, width=4)
    gradients = []
    for level in (0.0, -3.0):
        torch.nn.init.constant_(generator.layers[-1].bias, level)
        generator.zero_grad()
        generator(torch.zeros(2, 64)).sum().backward()
        gradients.append(generator.layers[-1].bias.grad.item())
    assert gradients[0] == gradients[1] != 0


def test_a_background_that_no_image_has_is_refused():
    with pytest.raises(ValueError, match="background must be in \\[-1, 1\\], got -2"):
        UpsamplingGenerator(28, background=-2)


def test_sizes_that_do_not_halve_are_refused():
    with pytest.raises(ValueError, match="divisible by 2 \\*\\* 3, got 28"):
        StridedAutoencoder(28)
    for make in (UpsamplingAutoencoder, UpsamplingGenerator):
        for size in (4, 18, 100):
            with pytest.raises(ValueError, match="5 to 8 times a power of two"):
                make(size)
