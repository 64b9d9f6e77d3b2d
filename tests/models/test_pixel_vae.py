"""PixelVAE: its pixels given codes, what it is without either, and its two layers of codes."""

from itertools import product
from math import log

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from lightning_gen import losses
from lightning_gen.capabilities import Decoder, Encoder, ImportanceLikelihood, Likelihood, Sampler
from lightning_gen.models.autoencoders import VAE
from lightning_gen.models.autoencoders.hierarchical_pixel_vae import HierarchicalPixelVAE
from lightning_gen.models.autoencoders.pixel_vae import PixelVAE
from lightning_gen.models.autoregressive import MultiscalePixelCNN, PixelModel
from lightning_gen.models.autoregressive.drawing import inverse_cdf
from lightning_gen.models.base import Batch
from lightning_gen.networks.causal import GatedCausalStack, MaskedStack
from lightning_gen.networks.encoders import MLPDecoder, MLPEncoder
from lightning_gen.networks.pixel_vae import CausalCodePrior, MapDecoder, MapEncoder
from lightning_gen.networks.upsampling import ResidualUpsampling
from lightning_gen.nn.roles import Decoder as CodeDecoder
from tests.latent import noise
from tests.pixels import bars_and_stripes, every_image, order

SHAPE, D, MAPS = (1, 3, 3), 2, 3
SIZES = {"width": 4, "head": 4, "first_kernel": 3, "depth": 1}


def shake(model, scale=0.7):
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data.uniform_(-scale, scale)
    return model


def make(shape=SHAPE, depth=1, scale=0.7, **kwargs):
    channels = shape[0]
    sizes = SIZES | {"width": 4 * channels, "head": 16 * channels, "depth": depth}
    network = GatedCausalStack(channels, 2, context=MAPS * channels, **sizes)
    networks = MLPEncoder(shape, D, (5,)), MLPDecoder(shape, D, (5,), MAPS), network
    return shake(PixelVAE(*networks, **kwargs).double(), scale)


def hierarchical(**kwargs):
    shape, widths = (1, 4, 4), (3,)
    network = GatedCausalStack(1, 2, context=MAPS, **SIZES)
    encoder, upper = MapEncoder(shape, 2, widths), MLPEncoder(shape, D, (5,))
    prior = CausalCodePrior((2, 2, 2), D, 4, 3, 4, 1)
    decoder = MapDecoder(shape, 2, widths, MAPS)
    model = HierarchicalPixelVAE(encoder, upper, prior, decoder, network, **kwargs).double()
    return shake(model, 0.4)


def binary(count, shape=SHAPE):
    torch.manual_seed(2)
    return torch.randn(count, *shape, dtype=torch.double).sign()


# Pixels given codes


@pytest.mark.parametrize("shape", [SHAPE, (3, 2, 1)])
def test_given_codes_the_probabilities_of_all_images_sum_to_one(shape):
    model, x = make(shape), every_image(*shape)
    for z in torch.randn(3, D, dtype=torch.double):
        parameters = model.decoder(z[None]).expand(len(x), -1, -1, -1, -1)
        nats = model.likelihood.nll(parameters, x)
        assert nats.neg().exp().sum().item() == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 2, 2)])
def test_given_codes_pixels_depend_on_those_before_and_on_all_that_codes_say(shape):
    model, x = make(shape, 3), binary(4, shape)
    maps = model.decoder(torch.randn(4, D, dtype=torch.double)).flatten(1, 2)
    numbers = model.network(x, maps)
    places = order(shape)
    for at, (c, i, j) in enumerate(places):
        other = x.clone()
        for k in places[at:]:
            other[(slice(None), *k)] *= -1
        assert torch.equal(model.network(other, maps)[..., c, i, j], numbers[..., c, i, j])
        if j > 0:
            other = x.clone()
            other[:, :, i, j - 1] *= -1
            assert not torch.equal(model.network(other, maps)[..., c, i, j], numbers[..., c, i, j])
    z = torch.randn(4, D, dtype=torch.double, requires_grad=True)
    numbers = model.network(x, model.decoder(z).flatten(1, 2))
    for c, i, j in places:
        slope = torch.autograd.grad(numbers[..., c, i, j].sum(), z, retain_graph=True)[0]
        assert (slope != 0).all()


def test_maps_are_seen_at_their_own_pixel_and_by_those_after_it():
    """Whole maps are known before any pixel, so both stacks see them, and the last of them too."""
    model, x = make((1, 3, 4), 0), binary(2, (1, 3, 4))
    maps = torch.randn(2, MAPS, 3, 4, dtype=torch.double)
    numbers = model.network(x, maps)
    for i, j in product(range(3), range(4)):
        moved = maps.clone()
        moved[:, :, i, j] += 1
        changed = (model.network(x, moved) != numbers).any(2).any(1).any(0)
        expected = torch.zeros(3, 4, dtype=torch.bool)
        expected[i, j] = True
        expected[i + 1 : i + 2, j] = True  # through the link from the vertical stack
        assert torch.equal(changed, expected)


def test_a_network_that_hears_nothing_of_codes_is_a_gated_pixelcnn():
    model, x = make(), binary(6)
    layers = (model.network.first, *model.network.layers)
    alone = GatedCausalStack(1, 2, **SIZES | {"head": 16}).double()
    alone.load_state_dict({k: v for k, v in model.network.state_dict().items() if "look" not in k})
    for layer in layers:
        for parameter in layer.look.parameters():
            parameter.data.zero_()
    expected = PixelModel(alone, SHAPE).nll(x)
    torch.testing.assert_close(model.bound(x, None, noise(6)).reconstruction, expected)


def test_a_network_that_sees_no_pixels_is_a_vae():
    model, x = make(), binary(6)
    for layer in (model.network.first, *model.network.layers):
        layer.vertical.weight.data.zero_()
        layer.horizontal.weight.data.zero_()
        layer.link.weight.data.zero_()

    class Logits(CodeDecoder):
        shape, latent_size, outputs = SHAPE, D, 1

        def forward(self, z, labels=None):
            numbers = model.network(z.new_zeros(len(z), *SHAPE), model.decoder(z).flatten(1, 2))
            return numbers[:, 1:] - numbers[:, :1]

    vae = VAE(model.encoder, Logits()).double()
    for k in (1, 5):
        weights, expected = (m.log_weights(x, k, noise=noise(6)) for m in (model, vae))
        torch.testing.assert_close(weights, expected)
    bound, expected = (m.bound(x, None, noise(6)) for m in (model, vae))
    torch.testing.assert_close(bound.total, expected.total)


def test_the_bound_is_above_the_likelihood_which_sums_to_one():
    """Codes are summed out on a grid."""
    model, x = make(scale=1.0), every_image(*SHAPE)
    line = torch.linspace(-6, 6, 31, dtype=torch.double)
    z = torch.cartesian_prod(line, line)
    log_p = Normal(0, 1).log_prob(z).sum(1) + 2 * (line[1] - line[0]).log()
    maps = model.decoder(z)
    every = []
    with torch.no_grad():
        for image in x[::150]:
            nats = model.likelihood.nll(maps, image.expand(len(z), -1, -1, -1))
            every.append((log_p - nats).logsumexp(0))
        exact = -torch.stack(every)
        n = 200
        bound = model.draws(x[::150], n, None, noise(len(exact))).total
        for parameter in model.encoder.out.parameters():
            parameter.data.zero_()  # the prior, whose draws are all over
        tight = model.importance_nll(x[::150], 4000, noise=noise(len(exact)), chunk=1000)
    assert (bound.mean(1) > exact - 4 * bound.std(1) / n**0.5).all()
    assert bound.mean() > exact.mean() + 0.01
    torch.testing.assert_close(tight, exact, rtol=0, atol=0.05)


@pytest.mark.slow
def test_codes_tell_a_network_what_it_does_not_see():
    """Bars and stripes are seen to be such by whole rows; this network sees a pixel around it."""
    x = bars_and_stripes().double().repeat(2, 1, 1, 1)
    sizes = {"width": 8, "head": 8, "first_kernel": 3, "depth": 0}
    shape = (1, 4, 4)
    torch.manual_seed(0)
    alone = PixelModel(GatedCausalStack(1, 2, **sizes), shape).double()
    networks = MLPEncoder(shape, 4, (32,)), MLPDecoder(shape, 4, (32,), MAPS)
    coded = PixelVAE(*networks, GatedCausalStack(1, 2, context=MAPS, **sizes)).double()
    for model in (alone, coded):
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for step in range(500):
            optimizer.zero_grad()
            model.terms(Batch(x, None, noise(60, step)))["loss"].backward()
            optimizer.step()
    tight = coded.eval().importance_nll(x[:30], 256, noise=noise(30)).mean()
    assert log(30) < tight < alone.nll(x[:30]).mean() - 0.3  # which is 3.84, its optimum
    assert coded.bound(x, None, noise(60)).divergence.sum(1).mean() > 0.5  # codes are used


# Samples


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 2, 3)])
def test_samples_are_those_of_whole_forward_passes_bit_for_bit(shape):
    model = make(shape, 2, 1.0)
    drawn = model.sample(5, noise=noise(5))
    given = noise(5)
    maps = model.decoder(model.latent(5, given)).flatten(1, 2)
    u, x = given.spawn("pixels").uniform(*shape), torch.zeros(5, *shape, dtype=torch.double)
    for c, i, j in order(shape):
        numbers = model.network(x, maps)[:, :, c, i, j]
        x[:, c, i, j] = inverse_cdf(numbers, u[:, c, i, j]) * 2.0 - 1
    assert torch.equal(drawn, x)
    assert set(drawn.unique().tolist()) == {-1, 1}


@pytest.mark.parametrize("seed", range(2))
def test_walks_with_maps_say_what_a_whole_pass_says_wherever_they_are_asked(seed):
    shape = (3, 4, 3)
    network, x = make(shape, 2).network, torch.rand(2, *shape).double() * 2 - 1
    maps, filled = torch.randn(2, 3 * MAPS, *shape[1:]).double(), torch.full_like(x, 7.0)
    expected, walk = network(x, maps), network.walk(filled, maps)
    asked = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.4
    for c, i, j in order(shape):
        if asked[c, i, j]:
            torch.testing.assert_close(walk.outputs(i, j, c), expected[:, :, c, i, j])
        filled[:, c, i, j] = x[:, c, i, j]


def test_draws_have_the_probabilities_that_images_are_scored_with():
    model, n = make((1, 2, 2), scale=1.0), 4000
    z = torch.randn(1, D, dtype=torch.double)
    drawn = model.likelihood.sample(model.decoder(z).expand(n, -1, -1, -1, -1), noise(n))
    for x in every_image(1, 2, 2):
        p = model.likelihood.nll(model.decoder(z), x[None]).neg().exp().item()
        share = (drawn == x).flatten(1).all(1).double().mean().item()
        assert abs(share - p) < 4 * (p * (1 - p) / n) ** 0.5 + 1e-9


def test_decoded_images_are_medians_and_averages_are_used():
    model = make(ema_half_life=10)
    z = model.latent(4, noise(4))
    before = model.decode(z), model.sample(4, noise=noise(4))
    maps, network = model.averaged("decoder")(z).flatten(1, 2), model.averaged("network")
    x = torch.zeros(4, *SHAPE, dtype=torch.double)
    for c, i, j in order(SHAPE):
        x[:, c, i, j] = network(x, maps)[:, :, c, i, j].argmax(1) * 2.0 - 1
    assert torch.equal(model.decode(z), x)
    nll = model.eval().nll(binary(4), noise=noise(4))
    assert set(model.averages) == {"encoder", "decoder", "network"}
    for name in model.averages:
        for parameter in getattr(model, name).parameters():
            parameter.data += 1
    assert torch.equal(model.nll(binary(4), noise=noise(4)), nll)
    model.train()
    assert all(map(torch.equal, before, (model.decode(z), model.sample(4, noise=noise(4)))))
    for capability in (Sampler, Likelihood, ImportanceLikelihood, Encoder, Decoder):
        assert isinstance(model, capability) and isinstance(hierarchical(), capability)


# Two layers of codes


def test_the_bound_and_the_weights_of_two_layers_by_hand():
    model, x, k = hierarchical(), binary(3, (1, 4, 4)), 2
    for draws in (1, k):
        given = noise(3)
        eps = torch.stack([given.normal(D + 8) for _ in range(draws)], 1)
        (m1, s1, _), (m2, s2, _) = model.encoder(x), model.upper_encoder(x)
        for i, j in product(range(3), range(draws)):
            z2 = m2[i] + (s2[i] / 2).exp() * eps[i, j, :D]
            z1 = m1[i] + (s1[i] / 2).exp() * eps[i, j, D:]
            q1, q2 = Normal(m1[i], (s1[i] / 2).exp()), Normal(m2[i], (s2[i] / 2).exp())
            mean, log_var = model.code_prior(z2[None], z1[None])
            p1 = Normal(mean[0], (log_var[0] / 2).exp())
            numbers = model.network(x[i : i + 1], model.decoder(z1[None]).flatten(1, 2))
            nats = losses.categorical_nll(numbers, (x[i : i + 1] > 0))[0]
            found = model.draws(x, draws, None, noise(3))
            torch.testing.assert_close(found.reconstruction[i, j], nats)
            below = q1.log_prob(z1).sum() - p1.log_prob(z1).sum()
            above = q2.log_prob(z2).sum() - Normal(0, 1).log_prob(z2).sum()
            torch.testing.assert_close(found.divergence[i, j], torch.stack([below, above]))
            if draws == 1:
                bound = model.bound(x, None, noise(3))
                torch.testing.assert_close(bound.reconstruction[i], nats)
                kls = kl_divergence(q1, p1).sum(), kl_divergence(q2, Normal(0 * m2[i], 1.0)).sum()
                torch.testing.assert_close(bound.divergence[i], torch.stack(kls))


def test_divergences_of_both_layers_are_right_on_average_and_not_negative():
    model, x, n = hierarchical(), binary(1, (1, 4, 4)), 2000
    with torch.no_grad():
        draws = model.draws(x, n, None, noise(1)).divergence[0]
        closed = model.bound(x.expand(n, -1, -1, -1), None, noise(n)).divergence
    error = (draws.var(0) + closed.var(0)).sqrt() / n**0.5
    assert ((draws.mean(0) - closed.mean(0)).abs() < 4 * error).all()
    assert (closed >= 0).all() and (closed.mean(0) > 0.01).all()


def test_lower_codes_are_expected_from_those_before_them_and_from_the_upper_ones():
    prior = hierarchical().code_prior
    z, below = torch.randn(2, D).double().requires_grad_(), torch.randn(2, 8).double()
    below.requires_grad_()
    for said in prior(z, below):
        for at in range(8):
            slopes = torch.autograd.grad(said[:, at].sum(), (z, below), retain_graph=True)
            assert (slopes[0] != 0).all()
            place, places = at % 4, torch.arange(8) % 4  # both maps are known at earlier places
            assert torch.equal((slopes[1] != 0).all(0), places < place)


def test_lower_codes_are_drawn_as_they_are_expected():
    prior, z, eps = (
        hierarchical().code_prior,
        torch.randn(3, D).double(),
        torch.randn(3, 8).double(),
    )
    below = prior.draw(z, eps)
    mean, log_var = prior(z, below)
    torch.testing.assert_close(mean + (log_var / 2).exp() * eps, below)


def test_codes_of_images_are_decoded_to_where_the_posterior_means_are():
    model, x = hierarchical(), binary(3, (1, 4, 4))
    before = torch.get_rng_state()
    z = model.encode(x)
    assert torch.equal(torch.get_rng_state(), before)  # nothing is drawn
    torch.testing.assert_close(z[:, :D], model.upper_encoder(x)[0])
    lower = model.code_prior.draw(z[:, :D], z[:, D:])
    torch.testing.assert_close(lower, model.encoder(x)[0])


def test_upper_codes_lower_codes_and_pixels_are_left_to_chance_one_by_one():
    model = hierarchical()
    z, other = model.latent(40, noise(40)), model.latent(40, noise(40, "other"))
    drawn = model.paint(z, noise(40))
    assert torch.equal(model.paint(z, noise(40)), drawn)
    assert torch.equal(model.sample(40, noise=noise(40)), drawn)
    assert not torch.equal(model.paint(z, noise(40, "other")), drawn)
    upper, lower = torch.cat([other[:, :D], z[:, D:]], 1), torch.cat([z[:, :D], other[:, D:]], 1)
    for changed in (upper, lower):
        assert not torch.equal(model._maps(changed), model._maps(z))
    with torch.no_grad():  # with upper codes as they were, the first place expects what it did
        means = [model.code_prior(c[:, :D], c[:, D:] * 0)[0][:, [0, 4]] for c in (z, upper, lower)]
    assert torch.equal(means[2], means[0]) and not torch.equal(means[1], means[0])


def test_two_layers_chunks_averages_and_gradients():
    model, x = hierarchical(ema_half_life=10), binary(3, (1, 4, 4))
    model.terms(Batch(x, None, noise(3)))["loss"].backward()
    for name, parameter in model.named_parameters():
        if not name.startswith("averages"):
            assert parameter.grad is not None, name
    bounds = [model.importance_nll(x, 12, noise=noise(3), chunk=c) for c in (12, 5)]
    torch.testing.assert_close(*bounds)
    before = model.eval().nll(x, noise=noise(3)), model.sample(3, noise=noise(3)), model.encode(x)
    for name in model.averages:
        for parameter in getattr(model, name).parameters():
            parameter.data += 1
    after = model.nll(x, noise=noise(3)), model.sample(3, noise=noise(3)), model.encode(x)
    assert all(map(torch.equal, before, after))


# What does not fit


def test_networks_that_do_not_fit_are_refused():
    encoder, decoder = MLPEncoder(SHAPE, D), MLPDecoder(SHAPE, D, outputs=MAPS)
    for network, sentence in (
        (MaskedStack(1, 2, 4, 1, 3, 3, 4), "set its context, which is None"),
        (GatedCausalStack(1, 2, **SIZES), "set its context, which is None"),
        (GatedCausalStack(3, 2, context=3, width=6, head=6), "they must be equal"),
        (GatedCausalStack(1, 2, context=4, **SIZES), "decoder's outputs must be 4, got 3"),
    ):
        with pytest.raises(ValueError, match=sentence):
            PixelVAE(encoder, decoder, network)
    network = GatedCausalStack(1, 2, context=MAPS, **SIZES)
    for plain in (
        lambda: PixelModel(network, SHAPE),
        lambda: MultiscalePixelCNN(network, ResidualUpsampling(1, 2, 1, 4, 1), (1, 4, 4)),
    ):
        with pytest.raises(ValueError, match="looks at maps of 3 channels but would be given none"):
            plain()
    with pytest.raises(ValueError, match="on classes or on maps, not on both"):
        GatedCausalStack(num_classes=3, context=4)
    with pytest.raises(ValueError, match="conditioned on maps of 4 channels; give it those"):
        GatedCausalStack(1, 2, context=4, **SIZES)(torch.zeros(1, 1, 3, 3))
    with pytest.raises(ValueError, match="divisible by 4, got 6 x 8"):
        MapEncoder((1, 6, 8))
    parts = hierarchical()
    with pytest.raises(ValueError, match="encoder's latent_size is 2 but the decoder's is 8"):
        HierarchicalPixelVAE(
            MLPEncoder((1, 4, 4), D),
            parts.upper_encoder,
            parts.code_prior,
            parts.decoder,
            parts.network,
        )
    with pytest.raises(ValueError, match="upper_encoder's latent_size is 3 but the other networks"):
        HierarchicalPixelVAE(
            parts.encoder, MLPEncoder((1, 4, 4), 3), parts.code_prior, parts.decoder, parts.network
        )
    with pytest.raises(
        ValueError, match="upper_encoder's context_size is 5 but the other networks"
    ):
        HierarchicalPixelVAE(
            parts.encoder,
            MLPEncoder((1, 4, 4), D, context_size=5),
            parts.code_prior,
            parts.decoder,
            parts.network,
        )
    with pytest.raises(
        ValueError, match="code_prior's below_size is 4 but the other networks need 8"
    ):
        HierarchicalPixelVAE(
            parts.encoder,
            parts.upper_encoder,
            CausalCodePrior((1, 2, 2), D, 4, 3, 4, 1),
            parts.decoder,
            parts.network,
        )
