"""DRAW: its bound against a loop by hand, its divergence, what its parts see, its pictures."""

from math import log, pi

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from lightning_gen import losses
from lightning_gen.capabilities import Decoder, Encoder, ImportanceLikelihood, Likelihood, Sampler
from lightning_gen.models.autoencoders import VAE
from lightning_gen.models.autoencoders.draw import DRAW
from lightning_gen.models.base import Batch
from lightning_gen.models.distributions import Gaussian
from lightning_gen.networks.draw import DRAWNetwork
from lightning_gen.nn.attention import gaussian_window
from lightning_gen.nn.roles import Decoder as CodeDecoder
from lightning_gen.nn.roles import Encoder as ImageEncoder
from lightning_gen.nn.roles import Posterior
from lightning_gen.randomness import Noise
from tests.latent import SHAPE, binary, noise

T, D, HIDDEN = 3, 2, 5
WAYS = {"whole": {}, "windows": {"read_size": 2, "write_size": 3}}
both = pytest.mark.parametrize("way", WAYS)


def make(way="whole", steps=T, scale=0.7, **kwargs):
    torch.manual_seed(0)
    network = DRAWNetwork(SHAPE, steps, D, HIDDEN, **WAYS[way])
    model = DRAW(network, **kwargs).double()
    for parameter in network.parameters():
        parameter.data.uniform_(-scale, scale)
    return model


def by_hand(network, x, eps):
    """-ln p(x|z), and means, log-variances and codes, of one image (H, W) with white at 1."""
    canvas, h, c, u, v = network.start[0, 0], *torch.zeros(4, HIDDEN).double()
    said = []
    for t in range(network.steps):
        error = x - (2 * canvas.sigmoid() - 1)
        if network.read_size:
            window = gaussian_window(network.reads_at(u[None]), 4, 4, 2)
            rows, columns, strength = window.rows[0], window.columns[0], window.strength.squeeze()
            seen = [strength * rows @ image @ columns.T for image in (x, error)]
        else:
            seen = [x, error]
        h, c = network.encoder(
            torch.cat([*(s.flatten() for s in seen), u])[None], (h[None], c[None])
        )
        h, c = h[0], c[0]
        mean, log_var = network.posterior(h)[:D], network.posterior(h)[D:]
        z = mean + (log_var / 2).exp() * eps[t]
        u, v = network.decoder(z[None], (u[None], v[None]))
        u, v = u[0], v[0]
        stroke = network.write(u)
        if network.write_size:
            window = gaussian_window(network.writes_at(u[None]), 4, 4, 3)
            rows, columns, strength = window.rows[0], window.columns[0], window.strength.squeeze()
            stroke = rows.T @ stroke.view(3, 3) @ columns / strength
        canvas = canvas + stroke.view(4, 4)
        said.append((mean, log_var, z))
    p = canvas.sigmoid()
    return -torch.where(x > 0, p, 1 - p).log().sum(), said


@both
def test_the_bound_and_the_weights_of_draws_by_hand(way):
    model, x = make(way), binary(3)
    eps = noise(3).normal(T, D)
    given = noise(3)
    many = torch.stack([given.normal(T, D) for _ in range(2)], 1)
    bound, draws = model.bound(x, None, noise(3)), model.draws(x, 2, None, noise(3))
    assert bound.divergence.shape == (3, T) and draws.divergence.shape == (3, 2, T)
    for i in range(3):
        nats, said = by_hand(model.network, x[i, 0], eps[i])
        torch.testing.assert_close(bound.reconstruction[i], nats)
        for t, (mean, log_var, _) in enumerate(said):
            kl = kl_divergence(Normal(mean, (log_var / 2).exp()), Normal(0 * mean, 1.0)).sum()
            torch.testing.assert_close(bound.divergence[i, t], kl)
        for k in range(2):
            nats, said = by_hand(model.network, x[i, 0], many[i, k])
            torch.testing.assert_close(draws.reconstruction[i, k], nats)
            for t, (mean, log_var, z) in enumerate(said):
                q = Normal(mean, (log_var / 2).exp()).log_prob(z).sum()
                expected = q - Normal(0.0, 1.0).log_prob(z).sum()
                torch.testing.assert_close(draws.divergence[i, k, t], expected)


def test_a_posterior_that_is_the_prior_costs_nothing_in_every_step():
    """With a constant of half a nat a step, not for each number, it would be T (D - 1) / 2."""
    model = make()
    for parameter in model.network.posterior.parameters():
        parameter.data.zero_()
    assert (model.bound(binary(3), None, noise(3)).divergence == 0).all()
    assert (model.draws(binary(3), 4, None, noise(3)).divergence == 0).all()


@both
def test_the_divergence_of_draws_is_that_in_closed_form_on_average(way):
    model, x = make(way), binary(1)
    with torch.no_grad():
        draws = model.draws(x, 4000, None, noise(1)).divergence[0].sum(1)
        closed = model.bound(x.expand(4000, -1, -1, -1), None, noise(4000)).divergence.sum(1)
    error = (draws.var() + closed.var()).sqrt() / 4000**0.5
    assert abs(draws.mean() - closed.mean()) < 4 * error
    assert closed.mean() > 0.1


def test_one_step_without_windows_is_a_vae():
    model, x = make(steps=1), binary(5)
    network = model.network

    class Up(ImageEncoder):
        shape, latent_size = SHAPE, D

        def forward(self, x, labels=None):
            shown = [x, x - (2 * network.start.sigmoid() - 1)]
            seen = torch.cat([*(s.flatten(1) for s in shown), x.new_zeros(len(x), HIDDEN)], 1)
            said = network.posterior(network.encoder(seen)[0])
            return Posterior(said[:, :D], said[:, D:], said[:, :0])

    class Down(CodeDecoder):
        shape, latent_size, outputs = SHAPE, D, 1

        def forward(self, z, labels=None):
            return network.start + network.write(network.decoder(z)[0]).view(-1, 1, *SHAPE)

    vae = VAE(Up(), Down()).double()
    bound, expected = (m.bound(x, None, noise(5)) for m in (model, vae))
    torch.testing.assert_close(bound.reconstruction, expected.reconstruction)
    torch.testing.assert_close(bound.divergence[:, 0], expected.divergence.sum(1))
    weights, expected = (m.log_weights(x, 4, noise=noise(5)) for m in (model, vae))
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(model.encode(x), vae.encode(x))


@both
def test_an_image_costs_the_same_whatever_was_scored_before(way):
    """Memories begin anew with each batch, and in it with each image."""
    model, x = make(way), binary(6)
    first = model.nll(x, noise=noise(6))
    assert torch.equal(model.nll(x, noise=noise(6)), first)
    alone = [
        model.nll(x[i : i + 1], noise=Noise(("test",), 1, 6, i, dtype=torch.double))
        for i in range(6)
    ]
    torch.testing.assert_close(torch.cat(alone), first)


@both
def test_gradients_reach_the_first_code_and_all_weights(way):
    model, x = make(way), binary(4)
    z = model.latent(4, noise(4)).requires_grad_()
    slopes = torch.autograd.grad(model.decode(z).square().sum(), z)[0].view(4, T, D)
    assert (slopes.abs() > 1e-9).all()
    model.terms(Batch(x, None, noise(4)))["loss"].backward()
    for name, parameter in model.network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-9, name


def test_windows_begin_over_the_whole_image():
    """In the corners there is nothing to see, so that codes would never come into use."""
    torch.manual_seed(0)
    network = DRAWNetwork((1, 28, 28), 2, D, 16, read_size=2, write_size=5).double()
    x = -torch.ones(2, 1, 28, 28).double()
    x[1, :, 10:18, 10:18] = 1
    mean, _, state = network.look(x, x, network.begin(2))
    assert (mean[0] - mean[1]).abs().max() > 1e-3
    for parameter in network.write.parameters():
        parameter.data.fill_(0)
    network.write.bias.data.fill_(1)  # a stroke that is the same everywhere
    canvas = network.step(mean, state).canvas
    assert canvas.min() > 0.15 and canvas.max() < 2


@both
def test_samples_are_of_codes_from_the_prior_and_know_no_image(way):
    model = make(way)
    z = model.latent(6, noise(6))
    assert torch.equal(z.view(6, T, D), noise(6).normal(T, D))
    expected = model.decode(z)
    for name, parameter in model.network.named_parameters():
        if name.startswith(("encoder", "posterior", "reads_at")):
            parameter.data.fill_(torch.nan)
    assert torch.equal(model.sample(6, noise=noise(6)), expected)
    stages = model.stages(z)
    assert stages.shape == (6, T, *SHAPE)
    assert torch.equal(stages[:, -1], expected)
    model.sample_pixels = True
    assert set(model.sample(6, noise=noise(6)).unique().tolist()) == {-1, 1}


@both
def test_what_is_painted_are_logits_that_are_summed_before_the_sigmoid(way):
    model = make(way, steps=2, scale=3.0)
    network, z = model.network, model.latent(1, noise(1))
    state = network.begin(1)
    for code in z.view(1, 2, D).unbind(1):
        state = network.step(code, state)
    network.start.data += 2
    moved = network.begin(1)
    for code in z.view(1, 2, D).unbind(1):
        moved = network.step(code, moved)
    torch.testing.assert_close(moved.canvas, state.canvas + 2)
    torch.testing.assert_close(model.decode(z), moved.canvas.sigmoid()[:, 0] * 2 - 1)


def test_chunks_averages_and_capabilities():
    model, x = make("windows", ema_half_life=10).eval(), binary(3)
    bounds = [model.importance_nll(x, 12, noise=noise(3), chunk=c) for c in (12, 5)]
    torch.testing.assert_close(*bounds)
    for capability in (Sampler, Likelihood, ImportanceLikelihood, Encoder, Decoder):
        assert isinstance(model, capability)
    before = model.nll(x, noise=noise(3)), model.encode(x), model.sample(3, noise=noise(3))
    for parameter in model.network.parameters():
        parameter.data += 1
    after = model.nll(x, noise=noise(3)), model.encode(x), model.sample(3, noise=noise(3))
    assert all(map(torch.equal, before, after))


def test_other_distributions_have_canvases_of_their_parameters():
    network = DRAWNetwork((3, 4, 2), 2, D, HIDDEN, 2, 2, outputs=2).double()
    model = DRAW(network, Gaussian())
    x = torch.randn(5, 3, 4, 2).double().clamp(-1, 1)
    assert model.dequantisation == "uniform"
    assert model.nll(x, noise=noise(5)).shape == (5,)
    assert model.decode(model.encode(x)).shape == (5, 3, 4, 2)
    mean, log_var = network.start.detach().zero_()[None].expand(5, -1, -1, -1, -1).unbind(1)
    network.write.weight.data.zero_()
    network.write.bias.data.zero_()
    found = model.bound(x, None, noise(5)).reconstruction
    targets = model.likelihood.targets(x, noise(5))
    density = losses.gaussian_nll(mean, log_var, targets)
    assert torch.allclose(density, 0.5 * (targets.square() + log(2 * pi)).flatten(1).sum(1))
    torch.testing.assert_close(found, density - 24 * log(2 / 255))


@pytest.mark.parametrize("name", ["read_size", "write_size"])
def test_windows_of_one_filter_and_wrong_outputs_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 2, or none for whole images"):
        DRAWNetwork(**{name: 1})
    with pytest.raises(ValueError, match="network's outputs must be 2, got 1"):
        DRAW(DRAWNetwork(SHAPE, 1, 1, 1), Gaussian())


@pytest.mark.slow
def test_more_steps_learn_bars_and_stripes_better_than_none():
    """The entropy is ln 30 = 3.40 nats and independent pixels have 11.09."""
    from tests.pixels import bars_and_stripes

    torch.manual_seed(0)
    model = DRAW(DRAWNetwork(SHAPE, 4, 4, 24)).double()
    x = bars_and_stripes().double().repeat(2, 1, 1, 1)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(700):
        optimizer.zero_grad()
        model.terms(Batch(x, None, noise(60, step)))["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    model.eval()
    bound, tight = (
        model.nll(x, noise=noise(60)).mean(),
        model.importance_nll(x, 256, noise=noise(60)),
    )
    assert log(30) < tight.mean() < bound
    assert tight.mean() < 7
