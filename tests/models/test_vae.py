"""The variational autoencoder: its weights of the divergence, its capabilities, what it refuses."""

import pytest
import torch

from lightning_gen.capabilities import (
    Decoder,
    Encoder,
    ImportanceLikelihood,
    Likelihood,
    Sampler,
)
from lightning_gen.models.autoencoders import VAE
from lightning_gen.models.base import Batch
from lightning_gen.models.distributions import Bernoulli, DiscretizedLogistic, Gaussian
from lightning_gen.networks.encoders import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from lightning_gen.randomness import Noise
from tests.game import TinyData, fit, trainer

SHAPE = (1, 4, 4)


def make(outputs=1, **kwargs):
    torch.manual_seed(0)
    return VAE(MLPEncoder(SHAPE, 3, (8,)), MLPDecoder(SHAPE, 3, (8,), outputs), **kwargs).double()


def noise(count, *key):
    return Noise(("test", *key), count, dtype=torch.double)


def binary(count):
    return torch.randn(count, *SHAPE, dtype=torch.double).sign()


def test_it_can_do_what_the_catalogue_says():
    for capability in (Sampler, Likelihood, ImportanceLikelihood, Encoder, Decoder):
        assert isinstance(make(), capability)
    assert make().nll_kind == "bound"


@pytest.mark.parametrize("seen", [0, 25, 100, 1000])
def test_the_weight_of_the_divergence_warms_up_in_images(seen):
    model = make(kl_weight=4.0, kl_warmup=100)
    model.images_seen = seen
    terms = model.terms(Batch(binary(5), None, noise(5)))
    weight = 4 * min(1, seen / 100)
    expected = terms["reconstruction"] + weight * terms["kl"]
    torch.testing.assert_close(terms["loss"], expected)


def test_what_is_reported_has_weight_one_whatever_the_warm_up():
    plain, weighted = make(), make(kl_weight=4.0, kl_warmup=100)
    x = binary(5)
    expected = plain.nll(x, noise=noise(5))
    torch.testing.assert_close(weighted.nll(x, noise=noise(5)), expected)
    torch.testing.assert_close(weighted.terms(Batch(x, None, noise(5)))["nll"], expected.mean())
    torch.testing.assert_close(
        weighted.importance_nll(x, 3, noise=noise(5)), plain.importance_nll(x, 3, noise=noise(5))
    )


def test_the_loss_without_weights_is_the_bound():
    terms = make().terms(Batch(binary(5), None, noise(5)))
    torch.testing.assert_close(terms["loss"], terms["nll"])


def test_many_importance_samples_are_below_the_bound():
    model = make().eval()
    model.encoder.out.weight.data *= 5
    x = binary(1).expand(400, -1, -1, -1)
    bound, iw = model.nll(x, noise=noise(400)), model.importance_nll(x, 128, noise=noise(400))
    assert iw.mean() < bound.mean() - 4 * bound.std() / 20


def test_samples_are_means_of_codes_from_the_prior_by_default():
    model = make()
    expected = model.decode(model.latent(6, noise(6)))
    torch.testing.assert_close(model.sample(6, noise=noise(6)), expected)
    assert (expected.abs() < 1).all()
    z = model.latent(20_000, noise(20_000))
    assert abs(z.mean()) < 0.02
    assert abs(z.var() - 1) < 0.02


def test_samples_are_drawn_pixels_if_asked():
    model = make(sample_pixels=True)
    assert set(model.sample(50, noise=noise(50)).unique().tolist()) == {-1, 1}
    n = 20_000
    z = model.latent(1, noise(1))
    parameters = model.decoder(z).expand(n, -1, -1, -1, -1)
    drawn = model.likelihood.sample(parameters, noise(n))
    torch.testing.assert_close(drawn.mean(0), model.decode(z)[0], rtol=0, atol=5 / n**0.5)


def test_codes_are_posterior_means_and_carry_gradients_to_images():
    model = make(ema_half_life=10)
    x = binary(4).requires_grad_()
    z = model.encode(x)
    torch.testing.assert_close(z, model.encoder(x)[0])
    assert torch.autograd.grad(model.decode(z).sum(), x)[0].abs().sum() > 0


def test_gray_images_have_no_bernoulli_likelihood():
    with pytest.raises(ValueError, match="needs binary images but the data has grays"):
        fit(make())
    Bernoulli().check(binary(3))
    with pytest.raises(ValueError, match="binary"):
        Bernoulli().check(torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("likelihood", [DiscretizedLogistic(), Gaussian()])
def test_gray_images_train_with_other_distributions(likelihood):
    model = make(outputs=2, likelihood=likelihood)
    assert model.dequantisation == ("uniform" if isinstance(likelihood, Gaussian) else "none")
    fit(model, max_steps=2)
    assert all(term.isfinite() for term in model.last_terms.values())


def test_networks_that_do_not_fit_are_refused():
    encoder = MLPEncoder(SHAPE, 3)
    for decoder, sentence in (
        (MLPDecoder(SHAPE, 4), "latent_size is 3 but the decoder's is 4"),
        (MLPDecoder((1, 2, 4), 3), "must be equal"),
        (MLPDecoder(SHAPE, 3, outputs=2), "outputs must be 1, got 2"),
    ):
        with pytest.raises(ValueError, match=sentence):
            VAE(encoder, decoder)
    with pytest.raises(ValueError, match="must not be negative"):
        make(kl_weight=-1.0)


def test_data_of_another_shape_is_refused():
    class Wide(TinyData):
        shape = (1, 4, 8)

    with pytest.raises(ValueError, match="shape"):
        trainer(max_steps=1).fit(make(outputs=2, likelihood=Gaussian()), Wide())


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 16, 8)])
def test_convolutional_networks_mirror_each_other(shape):
    encoder, decoder = ConvEncoder(shape, 5, (4, 8), 16), ConvDecoder(shape, 5, (4, 8), 16, 2)
    mean, log_var, _ = encoder(torch.randn(2, *shape))
    assert mean.shape == log_var.shape == (2, 5)
    assert decoder(mean).shape == (2, 2, *shape)
    with pytest.raises(ValueError, match="divisible by 8, got 28 x 28"):
        ConvEncoder((1, 28, 28), widths=(4, 4, 4))


@pytest.mark.slow
def test_a_decoder_that_cannot_use_codes_gets_none():
    """All divergence goes, and what is left is the entropy of independent pixels."""
    torch.manual_seed(0)
    model = make()
    model.decoder.layers[0].weight.data.zero_()
    model.decoder.layers[0].weight.requires_grad = False
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    x = binary(64)
    for step in range(400):
        optimizer.zero_grad()
        terms = model.terms(Batch(x, None, noise(64, step)))
        terms["loss"].backward()
        optimizer.step()
    assert terms["kl"] < 0.01
