"""Networks of images with attributes."""

import pytest
import torch

from lightning_gen.models.autoencoders import VAE
from lightning_gen.models.distributions import Gaussian
from lightning_gen.networks.conditional import AttributeDecoder, AttributeEncoder
from tests.latent import noise

SHAPE, A, D = (3, 8, 8), 5, 4


def encoder(**kwargs):
    torch.manual_seed(0)
    return AttributeEncoder(SHAPE, D, A, widths=(4, 4), hidden=8, **kwargs).double()


def decoder(**kwargs):
    torch.manual_seed(0)
    return AttributeDecoder(SHAPE, D, A, widths=(4, 4), hidden=8, **kwargs).double()


def images(count=6):
    torch.manual_seed(1)
    return torch.rand(count, *SHAPE, dtype=torch.double) * 2 - 1, torch.randint(2, (count, A))


def test_attributes_move_the_mean_and_never_the_variance():
    network, (x, y) = encoder(), images()
    torch.nn.init.normal_(network.log_var.weight)
    first, second = network(x, y), network(x, 1 - y)
    assert torch.equal(first.log_var, second.log_var)
    assert not torch.isclose(first.mean, second.mean).any()
    assert first.context.shape == (6, 0)
    assert first.log_var.std() > 0.01


def test_the_variance_begins_at_one():
    x, y = images()
    assert torch.equal(encoder()(x, y).log_var, torch.zeros(6, D).double())


def test_attributes_may_be_any_numbers_with_gradients():
    network, (x, y) = encoder(), images()
    y = y.double().requires_grad_()
    assert torch.autograd.grad(network(x, y).mean.sum(), y)[0].abs().sum() > 0


def test_the_first_number_of_a_sub_pixel_is_bounded_and_attributes_change_it():
    network, (_, y) = decoder(), images()
    network.out.weight.data *= 8
    z = torch.randn(6, D).double()
    numbers = network(z, y)
    assert numbers.shape == (6, 2, *SHAPE)
    assert (numbers[:, 0].abs() < 1).all()
    assert (numbers[:, 1].abs() > 1).any()
    assert not torch.allclose(numbers, network(z, 1 - y))
    assert not torch.allclose(numbers, network(z + 1, y))


def test_a_decoder_may_know_no_attributes():
    network = AttributeDecoder(SHAPE, D, None, (4, 4), 8, outputs=1)
    assert network(torch.randn(2, D)).shape == (2, 1, *SHAPE)
    with pytest.raises(ValueError, match="knows no classes"):
        network(torch.randn(2, D), torch.zeros(2).long())


def vae():
    likelihood = Gaussian(log_var_range=(-6.0, 2.0))
    return VAE(encoder(norm="none"), decoder(norm="none"), likelihood).double()


def test_with_a_gaussian_they_are_the_vanilla_cvae():
    """Against torch's own distributions, with a variance for each sub-pixel, summed over them."""
    model, (x, y) = vae(), images()
    with torch.no_grad():
        model.decoder.out.weight[3:] *= 300  # so that the range matters
    posterior = model.encoder(x, y)
    rows = noise(6)
    z = posterior.mean + (posterior.log_var / 2).exp() * rows.normal(D)
    mean, log_var = model.decoder(z, y).unbind(1)
    assert log_var.min() < -6
    assert log_var.max() > 2
    scale = (log_var.clamp(-6, 2) / 2).exp()
    targets = model.likelihood.targets(x, rows)
    log_p = torch.distributions.Normal(mean, scale).log_prob(targets).flatten(1).sum(1)
    q = torch.distributions.Normal(posterior.mean, (posterior.log_var / 2).exp())
    prior = torch.distributions.Normal(torch.zeros(D).double(), 1)
    kl = torch.distributions.kl_divergence(q, prior).sum(1)
    bits = torch.log(torch.tensor(2 / 255).double()) * x[0].numel()  # of a density to levels
    torch.testing.assert_close(model.nll(x, y, noise(6)), kl - log_p - bits)


def test_samples_are_of_codes_from_the_prior_whatever_the_encoder_says():
    model, (_, y) = vae(), images()
    found = model.sample(6, y, noise(6))
    for parameter in model.encoder.parameters():
        parameter.data.fill_(torch.nan)
    assert torch.equal(model.sample(6, y, noise(6)), found)
    torch.testing.assert_close(found, model.decoder(model.latent(6, noise(6)), y)[:, 0])
    assert not torch.isclose(found, model.sample(6, 1 - y, noise(6))).all()


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="divisible by 8, got 28 x 28"):
        AttributeEncoder((3, 28, 28), widths=(4, 4, 4))
    with pytest.raises(ValueError, match="dropout must be a share"):
        AttributeEncoder(dropout=1.0)
    with pytest.raises(ValueError, match="norm must be"):
        AttributeDecoder(norm="group")


def test_the_paper_s_sizes():
    """64, 128, 256 and 256 channels and 1024 units, and 256 codes of faces with 40 attributes."""
    with torch.device("meta"):
        networks = AttributeEncoder(), AttributeDecoder()
        posterior = networks[0](torch.zeros(2, 3, 64, 64), torch.zeros(2, 40))
        numbers = networks[1](posterior.mean, torch.zeros(2, 40))
    assert posterior.mean.shape == posterior.log_var.shape == (2, 256)
    assert numbers.shape == (2, 2, 3, 64, 64)
