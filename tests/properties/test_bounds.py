"""Bounds are above the likelihood, and meet it where the posterior is exact."""

from itertools import product
from math import exp, log

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_gen import losses
from lightning_gen.models.autoencoders import VAE
from lightning_gen.models.autoencoders.codes import GaussianCodes
from lightning_gen.networks.encoders import MLPDecoder, MLPEncoder
from lightning_gen.nn.roles import Decoder, Encoder, Posterior
from lightning_gen.randomness import Noise

EVERY_3X3 = torch.tensor(list(product([-1.0, 1.0], repeat=9)), dtype=torch.double).view(-1, 1, 3, 3)


def noise(count, *key):
    return Noise(("test", *key), count, dtype=torch.double)


# The linear-Gaussian oracle, whose likelihood and posterior are known


VARIANCE = 0.3


def density():
    """N(x; mean, VARIANCE), which is no likelihood of levels but has a closed form."""
    return GaussianCodes(log_var=log(VARIANCE))


class LinearDecoder(Decoder):
    shape, latent_size, outputs = (1, 2, 3), 2, 1

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(6, 2, dtype=torch.double))

    def forward(self, z, labels=None):
        return (z @ self.matrix.T).view(-1, 1, *self.shape)


class ExactEncoder(Encoder):
    """The posterior if the columns of A are orthogonal, so that it is diagonal."""

    shape, latent_size, shift = (1, 2, 3), 2, 0.0

    def __init__(self, matrix):
        super().__init__()
        self.matrix = matrix

    def forward(self, x, labels=None):
        variance = 1 / (1 + self.matrix.square().sum(0) / VARIANCE)
        mean = variance * (x.flatten(1) @ self.matrix) / VARIANCE
        return Posterior(mean + self.shift, variance.log().expand_as(mean), mean[:, :0])


@pytest.fixture
def oracle():
    """A model, images and their exact negative log-likelihoods."""
    decoder = LinearDecoder()
    q, _ = torch.linalg.qr(decoder.matrix.detach())
    decoder.matrix.data = q * torch.tensor([1.3, 0.6]).double()
    model = VAE(ExactEncoder(decoder.matrix), decoder, density()).double().eval()
    x = torch.randn(5, 1, 2, 3, dtype=torch.double)
    a = decoder.matrix.detach()
    covariance = a @ a.T + VARIANCE * torch.eye(6, dtype=torch.double)
    flat = torch.distributions.MultivariateNormal(torch.zeros(6).double(), covariance)
    return model, x, -flat.log_prob(x.flatten(1)).detach()


def test_all_importance_weights_of_the_exact_posterior_are_the_likelihood(oracle):
    model, x, exact = oracle
    for k in (1, 7):
        torch.testing.assert_close(model.importance_nll(x, k, noise=noise(5)), exact)
    weights = model.log_weights(x, 9, noise=noise(5)).detach()
    torch.testing.assert_close(weights, -exact[:, None].expand(5, 9), rtol=0, atol=1e-10)


def test_the_bound_of_the_exact_posterior_is_the_likelihood_on_average(oracle):
    model, x, exact = oracle
    n = 40_000
    many = x[:1].expand(n, -1, -1, -1)
    nll = model.nll(many, noise=noise(n)).detach()
    assert abs((nll.mean() - exact[0]).item()) < 4 * nll.std().item() / n**0.5


def test_the_closed_form_bound_of_the_exact_posterior_is_the_likelihood(oracle):
    """E_q[-ln p(x|z)] is known too: that of the mean plus the variance through the decoder."""
    model, x, exact = oracle
    mean, log_var, _ = model.encoder(x)
    at_mean = model.likelihood.nll(model.decoder(mean), x)
    spread = (log_var.exp() * model.decoder.matrix.square().sum(0)).sum(1) / VARIANCE / 2
    bound = at_mean + spread + losses.gaussian_kl(mean, log_var)
    torch.testing.assert_close(bound.detach(), exact, rtol=0, atol=1e-10)


def test_more_importance_samples_tighten_the_bound_towards_the_likelihood(oracle):
    model, x, exact = oracle
    model.encoder.shift = 0.7
    many, n = x[:1].expand(2000, -1, -1, -1), 2000
    bounds = [model.importance_nll(many, k, noise=noise(n)).mean().item() for k in (1, 5, 50, 500)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] - exact[0].item() > 0.5
    assert -0.02 < bounds[-1] - exact[0].item() < 0.2


def test_importance_samples_in_chunks_are_those_at_once(oracle):
    model, x, _ = oracle
    model.encoder.shift = 0.7
    once, chunks = (model.importance_nll(x, 10, noise=noise(5), chunk=c) for c in (10, 3))
    torch.testing.assert_close(once, chunks, rtol=0, atol=1e-12)


def test_importance_sampling_is_per_image_and_subtracts_ln_k(oracle):
    model, x, _ = oracle
    model.encoder.shift = 0.7
    log_w = model.log_weights(x, 6, noise=noise(5)).detach()
    by_hand = -log_w.exp().mean(1).log()
    torch.testing.assert_close(model.importance_nll(x, 6, noise=noise(5)), by_hand)


def test_importance_weights_far_below_one_stay_finite(oracle):
    model, x, _ = oracle
    assert model.importance_nll(100 + x, 4).isfinite().all()


# The bound of a trained network's form


def vae(**kwargs):
    torch.manual_seed(1)
    shape = (1, 3, 3)
    model = VAE(MLPEncoder(shape, 2, (8,)), MLPDecoder(shape, 2, (8,)), **kwargs).double()
    model.encoder.out.weight.data *= 3
    return model.eval()


def test_the_bound_is_above_the_likelihood_of_every_image():
    """The likelihood by quadrature over the two codes; it sums to one over all 512 images."""
    model = vae()
    t = torch.linspace(-7, 7, 141, dtype=torch.double)
    z = torch.cartesian_prod(t, t)
    log_prior = -losses.standard_normal_nll(z) + 2 * log(t[1] - t[0])
    logits = model.decoder(z).detach()[:, 0].flatten(1)
    x = (EVERY_3X3.flatten(1) + 1) / 2
    log_p = (x @ logits.T - F.softplus(logits).sum(1) + log_prior).logsumexp(1)
    assert abs(log_p.exp().sum().item() - 1) < 1e-10
    n = 2000
    images = EVERY_3X3[::51]
    many = images.repeat_interleave(n, 0)
    bound = model.nll(many, noise=noise(len(many))).detach().view(-1, n)
    iw = model.importance_nll(many, 10, noise=noise(len(many), "iw")).view(-1, n)
    error = 4 * bound.std(1) / n**0.5
    exact = -log_p[::51]
    assert (bound.mean(1) > exact - error).all()
    assert (iw.mean(1) <= bound.mean(1) + error).all()
    assert (iw.mean(1) > exact - error).all()
    assert (bound.mean(1) - iw.mean(1)).max() > 0.01


def test_gradients_flow_through_the_reparameterised_code():
    """d E[z^2] / d mean = 2 mean and d / d log-variance = e^s, with z as the model draws it."""

    class Square(GaussianCodes):
        def nll(self, parameters, targets):
            return parameters[:, 0].flatten(1).square().sum(1)

    class Identity(LinearDecoder):
        shape, latent_size = (1, 1, 1), 1

        def forward(self, z, labels=None):
            return z.view(-1, 1, 1, 1, 1)

    class Fixed(Encoder):
        shape, latent_size = (1, 1, 1), 1

        def __init__(self):
            super().__init__()
            self.mean = nn.Parameter(torch.tensor(0.8).double())
            self.log_var = nn.Parameter(torch.tensor(-0.5).double())

        def forward(self, x, labels=None):
            mean, log_var = self.mean.expand(len(x), 1), self.log_var.expand(len(x), 1)
            return Posterior(mean, log_var, mean[:, :0])

    model, n = VAE(Fixed(), Identity(), Square(log_var=0.0)).double(), 100_000
    reconstruction, _ = model.bound(torch.zeros(n, 1, 1, 1).double(), None, noise(n))
    encoder = model.encoder
    gradients = torch.autograd.grad(reconstruction.mean(), (encoder.mean, encoder.log_var))
    assert abs(gradients[0].item() - 1.6) < 0.02
    assert abs(gradients[1].item() - exp(-0.5)) < 0.02


def test_each_image_has_noise_of_its_own():
    model = vae()
    same = EVERY_3X3[100:101].expand(50, -1, -1, -1)
    assert len(model.nll(same, noise=noise(50)).unique()) == 50


def test_a_duplicated_batch_has_the_same_loss():
    class Twice(Noise):
        def normal(self, *size):
            return super().normal(*size).repeat(2, *[1] * len(size))

    model, x = vae(), EVERY_3X3[:7]
    once = model.nll(x, noise=noise(7)).mean()
    twice = model.nll(x.repeat(2, 1, 1, 1), noise=_doubled(Twice, 7)).mean()
    torch.testing.assert_close(once, twice)


def _doubled(cls, count):
    drawn = cls(("test",), count, dtype=torch.double)
    drawn.__class__ = type("Doubled", (cls,), {"__len__": lambda self: 2 * count})
    return drawn
