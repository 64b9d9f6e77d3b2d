"""The ResNet VAE: its bound by hand, with flows and without, free bits by map, what it begins with."""

from math import log

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from lightning_gen import losses
from lightning_gen.capabilities import Decoder, Encoder, ImportanceLikelihood, Likelihood, Sampler
from lightning_gen.levels import from_levels
from lightning_gen.models.autoencoders.resnet_vae import ResNetVAE
from lightning_gen.models.base import Batch
from lightning_gen.models.distributions import Bernoulli, DiscretizedLogistic
from lightning_gen.networks.top_down import TopDownResNet
from tests.latent import noise

SHAPE = (2, 4, 4)
CODES = [(2, 1, 1), (2, 1, 1), (2, 2, 2), (2, 2, 2)]  # from the top down
D = 2 + 2 + 8 + 8


def make(steps=0, scale=0.25, outputs=2, **kwargs):
    torch.manual_seed(0)
    network = TopDownResNet(SHAPE, 2, 3, 2, 2, steps, outputs=outputs)
    likelihood = DiscretizedLogistic() if outputs == 2 else Bernoulli()
    model = ResNetVAE(network, likelihood, **kwargs).double()
    for parameter in network.parameters():
        parameter.data.uniform_(-scale, scale)
    for down in network.downs:
        for step in down.flow.steps if down.flow else ():  # whose numbers are made small
            step.out.weight.data *= 10
            step.out.bias.data *= 10
    return model


def images(count):
    torch.manual_seed(3)
    return from_levels(torch.randint(256, (count, *SHAPE)), dtype=torch.double)


def by_hand(model, x, eps):
    """Parameters, and for each block q before its flow, p, z before and after, and the context."""
    network = model.network
    h, seen = network.first(x), []
    for up in network.ups:
        numbers = up.first(torch.nn.functional.elu(h))
        context = 3 if network.downs[0].flow else 0
        inner = numbers[:, 4 + context :]
        seen.append((numbers[:, :2], numbers[:, 2:4], numbers[:, 4 : 4 + context]))
        h = h[..., ::2, ::2] if inner.shape[-1] < h.shape[-1] else h
        h = h + 0.1 * up.last(torch.nn.functional.elu(inner)) if up.last else None
    h, at, blocks = network.top.expand(len(x), 3, 1, 1), 0, []
    for down, (mean, log_var, context), shape in zip(network.downs, seen[::-1], CODES, strict=True):
        parts = down.first(torch.nn.functional.elu(h)).split([2, 2, 2, 2, context.shape[1], 3], 1)
        q = Normal(mean + parts[2], ((log_var + parts[3]) / 2).exp())
        p = Normal(parts[0], (parts[1] / 2).exp())
        size = torch.Size(shape).numel()
        z0 = q.mean + q.stddev * eps[:, at : at + size].view(-1, *shape)
        at += size
        z, context = z0, context + parts[4]
        if down.flow is not None:
            z = down.flow(z0, context)[0]
        blocks.append((q, p, z0, z, context, down.flow))
        added = 0.1 * down.last(torch.nn.functional.elu(torch.cat([z, parts[5]], 1)))
        if added.shape[-1] > h.shape[-1]:
            h = h.repeat_interleave(2, 2).repeat_interleave(2, 3)
        h = h + added
    location = network.last(torch.nn.functional.elu(h))
    return location, blocks


def log_slope(flow, z, context):
    """ln |det| of a flow's slope at one image's codes, by all its derivatives."""

    def flat(numbers):
        return flow(numbers.view_as(z), context)[0].flatten()

    return torch.linalg.slogdet(torch.autograd.functional.jacobian(flat, z.flatten()))[1]


def test_codes_are_finest_at_the_bottom():
    assert [block.code_shape for block in make().network.blocks] == CODES
    network = TopDownResNet((3, 32, 32), 4, 8, 2, 3)
    sides = [block.code_shape[1] for block in network.blocks]
    assert sides == [8, 8, 8, 16, 16, 16]
    assert [seen.mean.shape[2] for seen in network.rise(torch.zeros(1, 3, 32, 32))] == sides


def test_the_bound_without_flows_by_hand():
    model, x = make(), images(3)
    location, blocks = by_hand(model, x, noise(3).normal(D))
    bound = model.bound(x, None, noise(3))
    scale = model.network.log_scale.expand_as(location)
    nats = losses.discretized_logistic_nll(location, scale, x)
    torch.testing.assert_close(bound.reconstruction, nats)
    closed = torch.cat([kl_divergence(q, p).sum((2, 3)) for q, p, *_ in blocks], 1)
    assert bound.divergence.shape == (3, 8)
    torch.testing.assert_close(bound.divergence, closed)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_the_weights_of_draws_by_hand(steps):
    model, x = make(steps), images(2)
    given = noise(2)
    eps = torch.stack([given.normal(D) for _ in range(2)], 1)
    found = model.draws(x, 2, None, noise(2))
    for i, k in ((0, 0), (0, 1), (1, 0), (1, 1)):
        location, blocks = by_hand(model, x[i : i + 1], eps[i, k : k + 1])
        scale = model.network.log_scale.expand_as(location)
        nats = losses.discretized_logistic_nll(location, scale, x[i : i + 1])[0]
        torch.testing.assert_close(found.reconstruction[i, k], nats)
        for at, (q, p, z0, z, context, flow) in enumerate(blocks):
            log_q = q.log_prob(z0).sum() - (log_slope(flow, z0, context) if flow else 0)
            kl = found.divergence[i, k, 2 * at : 2 * at + 2].sum()
            torch.testing.assert_close(kl, log_q - p.log_prob(z).sum())


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_divergences_of_draws_are_not_negative_on_average(steps):
    model, n = make(steps), 2000
    with torch.no_grad():
        kl = model.draws(images(2), n, None, noise(2)).divergence.sum(2)
    assert (kl.mean(1) > -4 * kl.std(1) / n**0.5).all()
    assert kl.mean() > 0.1


def test_the_divergence_by_draws_is_that_in_closed_form_on_average():
    model, n, x = make(), 2000, images(1)
    with torch.no_grad():
        draws = model.draws(x, n, None, noise(1)).divergence[0]
        closed = model.bound(x.expand(n, -1, -1, -1), None, noise(n)).divergence
    error = (draws.var(0) + closed.var(0)).sqrt() / n**0.5
    assert ((draws.mean(0) - closed.mean(0)).abs() < 4 * error).all()


def test_flows_that_begin_as_the_identity_change_nothing():
    """Neither the weights of draws nor what all other layers learn."""
    plain, bent, x = make(), make(2), images(3)
    for down in bent.network.downs:
        for step in down.flow.steps:
            step.out.weight.data.zero_()
            step.out.bias.data.zero_()

    def shared(name, tensor):
        """Without the rows of contexts, which plain layers have not."""
        at = 4 if ".ups." in name else 8
        if not name.endswith(("first.weight", "first.bias")) or name.startswith("network.first"):
            return tensor
        return torch.cat([tensor[:at], tensor[at + 3 :]])

    others = dict(bent.named_parameters())
    for name, parameter in plain.named_parameters():
        parameter.data = shared(name, others[name].data)
    found = []
    for model in (plain, bent):
        log_w = model.log_weights(x, 3, noise=noise(3))
        own = dict(model.named_parameters())
        names = [name for name, _ in plain.named_parameters()]
        grads = torch.autograd.grad(log_w.sum(), [own[name] for name in names])
        if model is bent:
            grads = [shared(*pair) for pair in zip(names, grads, strict=True)]
        found.append((log_w, *grads))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("steps", [0, 1])
def test_free_bits_are_of_each_map_of_each_block(steps):
    model, x = make(steps), images(4)
    divergence = model.bound(x, None, noise(4)).divergence.mean(0).detach()
    assert divergence.shape == (8,)
    least = divergence.sort().values[3:5].mean().item()
    for free_bits in (0.0, divergence.min().clamp(min=0).item() / 2, least):
        model.free_bits = free_bits
        terms = model.terms(Batch(x, None, noise(4)))
        charged = divergence.clamp(min=free_bits).sum() if free_bits else divergence.sum()
        torch.testing.assert_close(terms["loss"], terms["reconstruction"] + charged)
        torch.testing.assert_close(terms["kl"], divergence.sum())
        torch.testing.assert_close(terms["nll"], terms["reconstruction"] + divergence.sum())
        assert terms["loss"] >= terms["nll"] - 1e-12
    assert terms["loss"] > terms["nll"] + 1e-4


def test_samples_are_of_the_prior_and_know_no_image():
    model = make(1)
    z = model.latent(4, noise(4))
    assert torch.equal(z, noise(4).normal(D))
    expected = model.decode(z)
    for part in (model.network.first, model.network.ups, *(d.flow for d in model.network.downs)):
        for parameter in part.parameters():
            parameter.data.fill_(torch.nan)
    for down in model.network.downs:  # what is said of posteriors
        down.first.weight.data[4:11].fill_(torch.nan)
        down.first.bias.data[4:11].fill_(torch.nan)
    assert torch.equal(model.sample(4, noise=noise(4)), expected)
    assert expected.isfinite().all()


@pytest.mark.parametrize("steps", [0, 2])
def test_codes_of_images_are_those_of_which_the_prior_makes_the_posteriors_codes(steps):
    model, x = make(steps), images(3)
    location, _ = by_hand(model, x, torch.zeros(3, D, dtype=torch.double))
    torch.testing.assert_close(model.decode(model.encode(x)), location.clamp(-1, 1))
    x.requires_grad_()
    before = torch.get_rng_state()
    assert torch.autograd.grad(model.encode(x).sum(), x)[0].abs().sum() > 0
    assert torch.equal(torch.get_rng_state(), before)  # nothing is drawn


def test_every_layer_learns():
    model, x = make(1), images(4)
    model.terms(Batch(x, None, noise(4)))["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_it_begins_at_ten_bits_per_dimension():
    """A logistic density of scale 1 has 1/4 at its centre: 8 bits and two more."""
    torch.manual_seed(0)
    shape = (3, 16, 16)
    model = ResNetVAE(TopDownResNet(shape, 4, 16, 2, 2, 1))
    x = from_levels(torch.randint(256, (16, *shape)))
    bound = model.bound(x, None, model.noise_for(16, None))
    bits = bound.reconstruction.mean().item() / (3 * 256 * log(2))
    assert 9.8 < bits < 10.1
    kl = bound.divergence.sum(1).mean().item() / (3 * 256 * log(2))
    assert 0 <= kl < 0.2


def test_the_scale_is_one_for_all_pixels():
    model = make()
    z = torch.randn(2, D, dtype=torch.double)
    parameters = model._prior(z)
    assert parameters.shape == (2, 2, *SHAPE)
    assert (parameters[:, 1] == model.network.log_scale).all()
    black = make(outputs=1)
    assert black._prior(z).shape == (2, 1, *SHAPE)
    assert black.nll(images(2).sign(), noise=noise(2)).isfinite().all()


def test_chunks_averages_and_capabilities():
    model, x = make(1, ema_half_life=10).eval(), images(3)
    bounds = [model.importance_nll(x, 12, noise=noise(3), chunk=c) for c in (12, 5)]
    torch.testing.assert_close(*bounds)
    for capability in (Sampler, Likelihood, ImportanceLikelihood, Encoder, Decoder):
        assert isinstance(model, capability)
    before = model.nll(x, noise=noise(3)), model.encode(x), model.sample(3, noise=noise(3))
    for parameter in model.network.parameters():
        parameter.data += 1
    after = model.nll(x, noise=noise(3)), model.encode(x), model.sample(3, noise=noise(3))
    assert all(map(torch.equal, before, after))


def test_what_does_not_fit_is_refused():
    for sentence, wrong in {
        "divisible by 4, got 6 x 8": {"shape": (3, 6, 8)},
        "flow_steps must be 0": {"flow_steps": -1},
        "outputs must be 1 or 2, got 3": {"outputs": 3},
        "blocks must be at least 1": {"blocks": 0},
    }.items():
        with pytest.raises(ValueError, match=sentence):
            TopDownResNet(**wrong)
    with pytest.raises(ValueError, match="network's outputs must be 1, got 2"):
        ResNetVAE(TopDownResNet(SHAPE, 2, 3, 1, 1), Bernoulli())
