"""The importance weighted autoencoder: its objective, its gradient, and what it reports."""

from math import exp, log

import pytest
import torch

from lightning_gen.capabilities import Decoder, Encoder, ImportanceLikelihood, Likelihood, Sampler
from lightning_gen.models.autoencoders import IWAE, VAE
from lightning_gen.models.base import Batch
from lightning_gen.networks.encoders import MLPDecoder, MLPEncoder, MLPUpperCodes
from tests.latent import Density, Given, binary, make, noise, sigma_points


def oracle(cls, shift=0.0, **kwargs):
    """A linear model of x ~ N(0, A A' + v) with its exact posterior, moved by `shift`."""
    variance, shape = 0.3, (1, 2, 3)
    torch.manual_seed(0)
    networks = MLPEncoder(shape, 2, ()), MLPDecoder(shape, 2, ())
    model = cls(*networks, Density(variance), **kwargs).double()
    q, _ = torch.linalg.qr(torch.randn(6, 2, dtype=torch.double))
    a = q * torch.tensor([1.3, 0.6]).double()  # orthogonal columns, so the posterior is diagonal
    spread = 1 / (1 + a.square().sum(0) / variance)
    model.decoder.out.weight.data, model.decoder.out.bias.data = a, torch.zeros(6).double()
    mean = spread[:, None] * a.T / variance
    model.encoder.out.weight.data = torch.cat([mean, torch.zeros_like(mean)])
    model.encoder.out.bias.data = torch.cat([torch.full_like(spread, shift), spread.log()])
    covariance = a @ a.T + variance * torch.eye(6).double()
    flat = torch.distributions.MultivariateNormal(torch.zeros(6).double(), covariance)
    return model, lambda x: -flat.log_prob(x.flatten(1))


def gradients(model, loss):
    return torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)


def test_it_can_do_what_the_catalogue_says():
    for capability in (Sampler, Likelihood, ImportanceLikelihood, Encoder, Decoder):
        assert isinstance(make(IWAE), capability)
    assert make(IWAE).nll_kind == "bound"


def test_one_sample_is_the_bound_in_value_and_gradient():
    """The divergence is by the sample here; sigma points make its mean exact."""
    points = sigma_points(2)
    x = torch.randn(1, 1, 2, 3, dtype=torch.double).expand(4, -1, -1, -1)
    losses, slopes = [], []
    for cls, more in ((VAE, {}), (IWAE, {"k": 1})):
        model, _ = oracle(cls, shift=0.7, kl_weight=0.6, **more)
        terms = model.terms(Batch(x, None, Given(points)))
        losses.append(
            torch.stack([terms[name] for name in ("loss", "nll", "reconstruction", "kl")])
        )
        slopes.append(gradients(model, terms["loss"]))
    torch.testing.assert_close(*losses, rtol=0, atol=1e-12)
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
        assert a.abs().max() > 1e-3


def test_one_sample_is_the_sampled_bound_of_any_networks():
    model, x = make(IWAE, k=1), binary(6)
    loss = model.terms(Batch(x, None, noise(6)))["loss"]
    bound = model.draws(x, 1, None, noise(6)).total.mean()
    torch.testing.assert_close(loss, bound)
    for a, b in zip(gradients(model, loss), gradients(model, bound), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("upper", [False, True])
def test_the_gradient_weighs_samples_by_their_share(upper):
    model, x = make(IWAE, k=7, upper=MLPUpperCodes(3, 2, (4,)) if upper else None), binary(6)
    terms = model.terms(Batch(x, None, noise(6)))
    log_w = model.log_weights(x, 7, noise=noise(6))
    shares = log_w.softmax(1).detach()
    by_hand = gradients(model, -(shares * log_w).sum(1).mean())
    for a, b in zip(gradients(model, terms["loss"]), by_hand, strict=True):
        torch.testing.assert_close(a, b)


def test_it_averages_over_samples_inside_the_logarithm_and_over_images_outside():
    model, x = make(IWAE, k=7), binary(6)
    log_w = model.log_weights(x, 7, noise=noise(6)).tolist()
    by_hand = [-log(sum(exp(w) for w in row) / 7) for row in log_w]
    loss = model.terms(Batch(x, None, noise(6)))["loss"].item()
    assert loss == pytest.approx(sum(by_hand) / 6, rel=1e-12)


def test_the_weights_of_the_exact_posterior_are_the_likelihood_for_every_k():
    x = torch.randn(5, 1, 2, 3, dtype=torch.double)
    for k in (1, 2, 9):
        model, exact = oracle(IWAE, k=k)
        terms = model.terms(Batch(x, None, noise(5)))
        torch.testing.assert_close(terms["loss"], exact(x).mean(), rtol=0, atol=1e-10)


def test_more_samples_never_loosen_the_bound_of_the_linear_model():
    x = torch.randn(1, 1, 2, 3, dtype=torch.double)
    many, bounds = x.expand(4000, -1, -1, -1), []
    for k in (1, 5, 50):
        model, exact = oracle(IWAE, shift=0.7, k=k)
        with torch.no_grad():
            bounds.append(model.terms(Batch(many, None, noise(4000)))["nll"].item())
    assert bounds[0] > bounds[1] + 0.3 > bounds[2] + 0.5
    assert bounds[2] > exact(x).item() - 0.02


def test_it_is_finite_where_all_weights_vanish():
    model, _ = oracle(IWAE)
    terms = model.terms(Batch(torch.full((3, 1, 2, 3), 100.0).double(), None, noise(3)))
    assert terms["loss"].item() > 1e4
    assert all(slope.isfinite().all() for slope in gradients(model, terms["loss"]))


def test_it_reports_what_a_vae_of_the_same_networks_reports():
    x = binary(6)
    for more in ({}, {"upper": MLPUpperCodes(3, 2, (4,))}):
        a, b = make(VAE, **more), make(IWAE, k=9, **more)
        assert torch.equal(a.nll(x, noise=noise(6)), b.nll(x, noise=noise(6)))
        found = [m.importance_nll(x, 5, noise=noise(6)) for m in (a, b)]
        assert torch.equal(*found)
        assert torch.equal(a.sample(3, noise=noise(3)), b.sample(3, noise=noise(3)))
