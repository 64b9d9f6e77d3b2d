"""Divergences, flows of codes, layers of codes and unit variances, against sums by hand."""

from itertools import product
from math import exp, log

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from lightning_gen import losses
from lightning_gen.models.autoencoders import IWAE, VAE
from lightning_gen.models.base import Batch
from lightning_gen.models.distributions import Gaussian
from lightning_gen.networks.encoders import MLPDecoder, MLPEncoder, MLPUpperCodes
from lightning_gen.nn.flows import IAF
from lightning_gen.nn.roles import Decoder, Encoder, Posterior, UpperCodes
from tests.latent import (
    FLOWS,
    SHAPE,
    C,
    D,
    Density,
    Given,
    binary,
    make,
    noise,
    shaken,
    sigma_points,
)

# Divergences


def test_divergences_are_those_of_gaussians():
    torch.manual_seed(0)
    m, s, n, t = torch.randn(4, 6, 3, dtype=torch.double).unbind()
    q, p = Normal(m, (s / 2).exp()), Normal(n, (t / 2).exp())
    close = torch.testing.assert_close
    close(losses.gaussian_divergences(m, s, n, t), kl_divergence(q, p))
    close(losses.gaussian_kl(m, s, n, t), kl_divergence(q, p).sum(1))
    close(losses.gaussian_divergences(m, s), kl_divergence(q, Normal(0 * n, 1.0)))
    close(losses.gaussian_costs(m, s, n), -q.log_prob(n))
    zero = losses.gaussian_divergences(m, s, m, s)
    close(zero, torch.zeros_like(zero), rtol=0, atol=1e-15)


@pytest.mark.parametrize("flow", [None, *FLOWS])
@pytest.mark.parametrize("upper", [False, True])
def test_a_divergence_is_never_negative_on_average(flow, upper):
    more = {"flow": FLOWS[flow](), "context": C} if flow else {}
    scale = 0.5 if flow == "affine" else 1.0  # whose steps scale by exponentials of numbers
    model = shaken(make(upper=MLPUpperCodes(D, 2, (8,)) if upper else None, **more), scale)
    with torch.no_grad():
        kl = model.draws(binary(4), 4000, None, noise(4)).divergence.sum(2)
    assert (kl.mean(1) > -4 * kl.std(1) / 4000**0.5).all()
    assert kl.mean() > 0.1


@pytest.mark.parametrize("flow", [None, *FLOWS])
@pytest.mark.parametrize("upper", [False, True])
def test_what_codes_are_drawn_from_is_a_density(flow, upper):
    """So the mean of p(z) / q(z|x) is 1; it is not if a log-determinant has the wrong sign."""
    more = {"flow": FLOWS[flow](), "context": C} if flow else {}
    model = shaken(make(upper=MLPUpperCodes(D, 2, (8,)) if upper else None, **more), 0.3)
    model.encoder.out.weight.data /= 8  # or the ratio would have few large values
    with torch.no_grad():
        ratio = (-model.draws(binary(4), 20_000, None, noise(4)).divergence.sum(2)).exp()
    error = ratio.std(1) / 20_000**0.5
    assert (error < 0.1).all()
    assert ((ratio.mean(1) - 1).abs() < 5 * error).all()


# The flow after the encoder


@pytest.mark.parametrize("kind", ["planar", "radial", "affine"])
def test_a_flow_that_begins_as_the_identity_changes_nothing(kind):
    """Neither the weights of draws nor what the encoder and the decoder learn."""
    x, plain, bent = binary(6), make(context=0), make(context=C, flow=FLOWS[kind]())
    for name in ("weight", "bias"):  # the same but for the rows of the context
        rows = getattr(plain.encoder.out, name).data
        getattr(bent.encoder.out, name).data[: len(rows)] = rows
    bent.encoder.layers.load_state_dict(plain.encoder.layers.state_dict())
    bent.decoder.load_state_dict(plain.decoder.state_dict())
    grads = []
    for model in (plain, bent):
        parts = [model.encoder.layers[1].weight, *model.decoder.parameters()]
        for nats in (model.log_weights(x, 4, noise=noise(6)), model.nll(x, noise=noise(6))):
            grads.append((nats, *torch.autograd.grad(nats.sum(), parts)))
    for of_plain, of_bent in ((grads[0], grads[2]), (grads[1], grads[3])):
        for a, b in zip(of_plain, of_bent, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", FLOWS)
def test_the_bound_through_a_flow_has_the_gaussians_divergence_in_closed_form(kind):
    """Draw by draw it is the weight's, but for what the draw says of that divergence."""
    model, x = shaken(make(context=C, flow=FLOWS[kind]())), binary(5)
    mean, log_var, _ = model.encoder(x)
    z = mean + (log_var / 2).exp() * noise(5).normal(D)
    by_sample = Normal(mean, (log_var / 2).exp()).log_prob(z) - Normal(0.0, 1.0).log_prob(z)
    expected = -model.log_weights(x, 1, noise=noise(5))[:, 0]
    expected = expected + (losses.gaussian_divergences(mean, log_var) - by_sample).sum(1)
    torch.testing.assert_close(model.nll(x, noise=noise(5)), expected)
    assert model.bound(x, None, noise(5)).divergence.shape == (5, 1)


def test_a_gate_that_begins_alike_for_all_is_a_narrower_gaussian():
    """N(g mean, g^2 variance): the sign of the log-determinant, with nothing left to chance."""
    flow = IAF(D, C, 3, (8,), gate_bias=1.0)
    x, bent = binary(6), make(context=C, flow=flow)
    gate = (1 / (1 + exp(-1))) ** 3

    class Narrow(Encoder):
        shape, latent_size = SHAPE, D

        def forward(self, x, labels=None):
            mean, log_var, _ = bent.encoder(x)
            return Posterior(gate * mean, log_var + 2 * log(gate), mean[:, :0])

    plain = VAE(Narrow(), bent.decoder).double()
    for k in (1, 4):
        a, b = (m.draws(x, k, None, noise(6)) for m in (plain, bent))
        torch.testing.assert_close(a.reconstruction, b.reconstruction)
        torch.testing.assert_close(a.divergence.sum(2), b.divergence.sum(2))


@pytest.mark.parametrize("kind", FLOWS)
def test_weights_of_draws_through_a_flow_by_hand(kind):
    model, x = shaken(make(context=C, flow=FLOWS[kind]())), binary(4)
    given = noise(4)
    eps = torch.stack([given.normal(D) for _ in range(3)], 1)
    mean, log_var, context = model.encoder(x)
    for i, k in product(range(4), range(3)):
        z0 = mean[i] + (log_var[i] / 2).exp() * eps[i, k]
        z, log_det = model.flow(z0[None, None], context[i : i + 1])
        log_q = Normal(mean[i], (log_var[i] / 2).exp()).log_prob(z0).sum() - log_det
        log_p = Normal(0.0, 1.0).log_prob(z).sum()
        log_p = log_p - losses.bernoulli_nll(model.decoder(z[0])[:, 0], (x[i : i + 1] + 1) / 2)
        found = model.log_weights(x, 3, noise=noise(4))[i, k]
        torch.testing.assert_close(found, (log_p - log_q)[0, 0])
    with_mean = model.flow(mean[:, None], context)[0][:, 0]
    torch.testing.assert_close(model.encode(x), with_mean)


# A second layer of codes


def test_the_weight_of_two_layers_is_the_sum_of_five_terms():
    model, x = shaken(make(upper=MLPUpperCodes(D, 2, (8,)))), binary(4)
    given = noise(4)
    eps = torch.stack([given.normal(D + 2) for _ in range(3)], 1)

    def normal(mean, log_var):
        return Normal(mean, (log_var / 2).exp())

    q1 = normal(*(t[:, None] for t in model.encoder(x)[:2]))
    z1 = q1.mean + q1.stddev * eps[..., :D]
    q2 = normal(*model.upper.recognise(z1.flatten(0, 1)))
    z2 = q2.mean + q2.stddev * eps[..., D:].flatten(0, 1)
    p1 = normal(*model.upper(z2))
    targets = (x + 1).repeat_interleave(3, 0) / 2
    log_p = -losses.bernoulli_nll(model.decoder(z1.flatten(0, 1))[:, 0], targets)
    log_p = log_p + p1.log_prob(z1.flatten(0, 1)).sum(1) + Normal(0, 1).log_prob(z2).sum(1)
    log_q = q1.log_prob(z1).sum(2) + q2.log_prob(z2).sum(1).view(4, 3)
    expected = log_p.view(4, 3) - log_q
    torch.testing.assert_close(model.log_weights(x, 3, noise=noise(4)), expected)
    torch.testing.assert_close(model.nll(x, noise=noise(4)), -expected[:, 0])


class LinearLayers:
    """z2 ~ N(0, 1), z1 ~ N(b z2, v), x ~ N(a z1, w), one number each, with exact posteriors."""

    a, b, v, w = 1.5, 1.4, 0.4, 0.3

    class Upper(UpperCodes):
        below_size = latent_size = 1

        def forward(self, z):
            return LinearLayers.b * z, torch.full_like(z, log(LinearLayers.v))

        def recognise(self, below):
            b, v = LinearLayers.b, LinearLayers.v
            spread = 1 / (1 + b * b / v)
            return spread * b / v * below, torch.full_like(below, log(spread))

    class Bottom(Encoder):
        shape, latent_size = (1, 1, 1), 1

        def forward(self, x, labels=None):
            a, b, v, w = LinearLayers.a, LinearLayers.b, LinearLayers.v, LinearLayers.w
            spread = 1 / (1 / (b * b + v) + a * a / w)
            mean = spread * a / w * x.flatten(1)
            return Posterior(mean, torch.full_like(mean, log(spread)), mean[:, :0])

    class Top(Decoder):
        shape, latent_size, outputs = (1, 1, 1), 1, 1

        def forward(self, z, labels=None):
            return LinearLayers.a * z.view(-1, 1, 1, 1, 1)


@pytest.mark.parametrize("cls", [VAE, IWAE])
def test_all_weights_of_exact_posteriors_of_two_layers_are_the_likelihood(cls):
    a, b, v, w = LinearLayers.a, LinearLayers.b, LinearLayers.v, LinearLayers.w
    networks = LinearLayers.Bottom(), LinearLayers.Top()
    model = cls(*networks, Density(w), upper=LinearLayers.Upper()).double()
    x = torch.randn(5, 1, 1, 1, dtype=torch.double)
    exact = Normal(0.0, (a * a * (b * b + v) + w) ** 0.5).log_prob(x.flatten())
    torch.testing.assert_close(model.log_weights(x, 6, noise=noise(5)), exact[:, None].expand(5, 6))
    torch.testing.assert_close(model.importance_nll(x, 6, noise=noise(5)), -exact)
    z = model.latent(40_000, noise(40_000))
    assert abs(z.var().item() / (b * b + v) - 1) < 0.03


def test_averages_are_kept_of_all_networks():
    model = make(context=C, flow=FLOWS["gated"](), upper=MLPUpperCodes(D, 2, (4,)), ema_half_life=9)
    assert set(model.averages) == {"encoder", "decoder", "flow", "upper"}

    def scores():  # while it is trained, too
        x = binary(3)
        nll = model.eval().nll(x, noise=noise(3))
        bound = model.train().importance_nll(x, 3, noise=noise(3))
        assert all(module.training for module in model.encoder.modules())
        return nll, bound, model.sample(3, noise=noise(3)), model.encode(x)

    before = scores()
    for name in model.averages:
        for parameter in getattr(model, name).parameters():
            parameter.data += 1
    assert all(map(torch.equal, before, scores()))


# The slides' VAE: unit variances


def linear():
    torch.manual_seed(0)
    shape = (1, 2, 4)
    encoder = MLPEncoder(shape, 8, (), unit_variance=True)
    return VAE(encoder, MLPDecoder(shape, 8, ()), Gaussian(log_var=0.0)).double()


def test_the_linear_unit_variance_vae_reaches_its_closed_form_optimum():
    """The sum of sqrt(l) - 1/2 over eigenvalues l > 1 of the data, and l/2 over the others."""
    eigenvalues = torch.tensor([9, 4, 2, 1.5, 0.8, 0.5, 0.2, 0.1]).double()
    points = sigma_points(8)
    x = (points * eigenvalues.sqrt()).repeat_interleave(16, 0).view(-1, 1, 2, 4)
    model, given = linear(), Given(points.repeat(16, 1))
    constant = 8 * (0.5 * log(2 * torch.pi) - log(2 / 255))
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=200, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def loss():
        optimizer.zero_grad()
        terms = model.terms(Batch(x, None, given))
        terms["loss"].backward()
        return terms["loss"]

    optimizer.step(loss)
    optimum = torch.where(eigenvalues > 1, eigenvalues.sqrt() - 0.5, eigenvalues / 2).sum()
    assert optimum.item() == pytest.approx(6.438958, abs=1e-6)
    assert loss().item() - constant == pytest.approx(optimum.item(), abs=1e-6)
    strengths = torch.linalg.svdvals(model.decoder.out.weight.detach()).square()
    expected = (eigenvalues.sqrt() - 1).clamp(min=0)
    torch.testing.assert_close(strengths, expected, rtol=0, atol=1e-3)


def test_an_encoder_of_unit_variance_has_no_numbers_for_it():
    model = linear()
    assert model.encoder.out.out_features == 8
    x = torch.randn(3, 1, 2, 4, dtype=torch.double)
    mean, log_var, context = model.encoder(x)
    assert (log_var == 0).all() and context.shape == (3, 0)
    divergence = model.bound(x, None, noise(3)).divergence
    torch.testing.assert_close(divergence, 0.5 * mean.square())
    a, b = (model.draws(x, 1, None, noise(3, i)).reconstruction for i in range(2))
    assert not torch.isclose(a, b).any()


def test_a_fixed_variance_leaves_the_mean_alone():
    likelihood = Gaussian(log_var=log(4.0))
    assert (likelihood.parameters, Gaussian().parameters) == (1, 2)
    parameters = torch.randn(5, 1, *SHAPE, dtype=torch.double)
    x = torch.randn(5, *SHAPE, dtype=torch.double)
    density = Normal(parameters[:, 0], 2.0).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(likelihood.nll(parameters, x), -density - 16 * log(2 / 255))
    assert likelihood.sample(parameters, noise(5)).shape == (5, *SHAPE)
    assert torch.equal(likelihood.mean(parameters), parameters[:, 0].clamp(-1, 1))
    with pytest.raises(ValueError, match="log_var must be finite"):
        Gaussian(log_var=float("nan"))
