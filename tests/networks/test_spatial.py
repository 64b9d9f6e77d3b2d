"""The networks of spatial GANs."""

import pytest
import torch
from torch import nn

from lightning_gen.networks.spatial import PatchDiscriminator, SpatialGenerator


def test_a_larger_field_makes_a_larger_image():
    generator = SpatialGenerator(3, 4, (2, 3), 4).eval()
    assert generator.shape == (3, 64, 96) and generator.latent_size == 4 * 2 * 3
    for height, width in ((1, 1), (2, 3), (4, 2)):
        assert generator.generate(torch.randn(2, 4, height, width)).shape == (
            *(2, 3),
            *(32 * height, 32 * width),
        )


def test_latents_are_fields_by_rows():
    generator = SpatialGenerator(3, 4, (2, 3), 4, depth=2).eval()
    field = torch.randn(2, 4, 2, 3)
    assert torch.equal(generator(field.flatten(1)), generator.generate(field))


def test_a_pixel_depends_on_the_places_next_to_its_own_only():
    generator = SpatialGenerator(1, 2, (5, 5), 2).double().eval()
    for p in generator.parameters():
        nn.init.uniform_(p)  # with positive numbers no ReLU shuts
    for y, x in ((0, 0), (80, 80), (70, 159)):
        field = torch.rand(1, 2, 5, 5, dtype=torch.double, requires_grad=True)
        raw = generator.layers[:-1](field)  # the tanh would round slopes to 0
        raw[0, 0, y, x].backward()
        touched = field.grad.abs().sum((0, 1)) > 0
        rows, columns = torch.arange(5)[:, None], torch.arange(5)
        near = ((rows - y // 32).abs() <= 1) & ((columns - x // 32).abs() <= 1)
        assert touched[y // 32, x // 32]
        assert not (touched & ~near).any()


def test_shifted_fields_make_shifted_images():
    generator = SpatialGenerator(1, 2, (3, 6), 2, depth=3).double().eval()
    field = torch.randn(1, 2, 3, 6, dtype=torch.double)
    image = generator.generate(field)
    moved = generator.generate(field.roll(1, 3))
    torch.testing.assert_close(moved[..., 24:-8], image[..., 16:-16])


def test_each_logit_judges_a_patch():
    discriminator = PatchDiscriminator(3, 4, depth=3, norm="none").double()
    x = torch.randn(2, 3, 64, 96, dtype=torch.double, requires_grad=True)
    logits = discriminator(x)
    assert logits.shape == (2, 8, 12)
    logits[0, 4, 4].backward()
    rows = x.grad[0].abs().sum((0, 2)).nonzero().flatten()
    assert not x.grad[1].any()
    reach = 22  # 4 pixels, then 4 places of 2 pixels, then of 4: 4 + 3 * 2 + 3 * 4
    assert rows[-1] - rows[0] + 1 == reach
    assert rows[0] <= 4 * 8 and rows[-1] >= 4 * 8 + 7


def test_layers_are_those_of_dcgan():
    generator = SpatialGenerator(3, 50, width=64).layers
    layers = [m for m in generator if isinstance(m, nn.ConvTranspose2d)]
    assert [m.out_channels for m in layers] == [512, 256, 128, 64, 3]
    assert isinstance(generator[-2], nn.ConvTranspose2d) and isinstance(generator[-1], nn.Tanh)
    discriminator = PatchDiscriminator(3, width=64).layers
    layers = [m for m in discriminator if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in layers] == [64, 128, 256, 512, 1]
    assert isinstance(discriminator[1], nn.LeakyReLU)  # the images are not normalised
    assert all(m.bias is None for m in layers)


def test_spectral_norms_leave_no_layer_out():
    layers = PatchDiscriminator(3, 4, norm="none", spectral=True).layers
    assert all(hasattr(m, "parametrizations") for m in layers if isinstance(m, nn.Conv2d))


def test_depths_below_two_are_refused():
    for make in (SpatialGenerator, PatchDiscriminator):
        with pytest.raises(ValueError, match="depth must be at least 2, got 1"):
            make(depth=1)
