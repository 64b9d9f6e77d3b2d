"""Boltzmann machines as models: what they learn from, what they draw and what they say of images."""

import copy
from math import log

import pytest
import torch
import torch.nn.functional as F
from torch.optim import SGD, Adam

from lightning_gen.capabilities import Completer, Encoder, Likelihood, Sampler, Unnormalised
from lightning_gen.models.base import Batch
from lightning_gen.models.energy import DBM, DBN, RBM
from lightning_gen.models.energy.annealing import exact_log_partition
from lightning_gen.models.energy.gibbs import Chains, draw, gibbs
from lightning_gen.networks.boltzmann import DenseBoltzmannMachine
from lightning_gen.nn.boltzmann import EVEN, ODD, units_of
from tests.boltzmann import EVERY_3X3, bars_and_stripes, joint, machine, noise, stack, states

CLOSE = {"rtol": 0, "atol": 1e-10}


def rbm(hidden=5, chains=20, scale=1.0, shape=(1, 3, 3), **kwargs):
    return RBM(machine(hidden, shape=shape, scale=scale), chains, **kwargs).double()


def dbm(*hidden, chains=20, scale=1.0, shape=(1, 3, 3), **kwargs):
    network = machine(*hidden or (4, 3), shape=shape, scale=scale, sweeps=30)
    return DBM(network, chains, **kwargs).double()


def dbn(*hidden, chains=20, images=100, scale=1.0, shape=(1, 3, 3), at=None, **kwargs):
    model = DBN(stack(*hidden or (4, 3), shape=shape, scale=scale), images, chains, **kwargs)
    model.images_seen = images * (len(model.network.machines) - 1 if at is None else at) + 1
    return model.double()


MODELS = [rbm, dbm, dbn]


def batch(images, *key, **kwargs):
    return Batch(images, None, noise(len(images), *key, **kwargs))


def counted(drawn):
    """How often each of all images was drawn, (2^D,)."""
    bits = (drawn.flatten(1) > 0).long()
    places = 2 ** torch.arange(bits.shape[1] - 1, -1, -1)
    return torch.bincount((bits * places).sum(1), minlength=2 ** bits.shape[1]) / len(drawn)


def belief_log_p(network, v):
    """ln p(v) of a belief network with two levels, by the sum over all hidden units."""
    below, above = network.machines
    h = states(below.sizes[1])
    log_p_h = -above.free_energy(h) - exact_log_partition(above)
    logits = below.logits(EVEN, h)
    log_p_v = v @ F.logsigmoid(logits).T + (1 - v) @ F.logsigmoid(-logits).T
    return (log_p_v + log_p_h).logsumexp(1)


# What they are


@pytest.mark.parametrize("make", MODELS)
def test_they_have_likelihoods_up_to_a_constant_alone(make):
    model = make()
    assert all(isinstance(model, c) for c in (Sampler, Encoder, Unnormalised))
    assert isinstance(model, Completer) == (make is not dbn)
    assert not isinstance(model, Likelihood)
    assert model.shape == (1, 3, 3)


def test_what_cannot_work_is_refused():
    for build, said in (
        (lambda: RBM(machine(4, 3)), "an RBM has one hidden layer, got 2; use DBM"),
        (lambda: DBM(machine(4)), "two hidden layers or more, got one; use RBM"),
        (lambda: RBM(machine(4), -1), "chains must not be negative"),
        (lambda: DBM(machine(4, 3), 0), "needs chains that go on"),
        (lambda: DBN(stack(4), 0), "level_images must be at least 1"),
        (lambda: rbm(gibbs_steps=0), "gibbs_steps and sample_steps must be at least 1"),
        (lambda: machine(), "hidden must be one or more sizes"),
    ):
        with pytest.raises(ValueError, match=said):
            build()
    with pytest.raises(ValueError, match="the units are binary but the data has grays"):
        rbm().check(torch.zeros(1, 1, 3, 3))


def test_the_probabilities_of_all_images_sum_to_one():
    model = rbm()
    log_p = -(model.unnormalised_nll(EVERY_3X3) + model.log_partition())
    assert abs(log_p.exp().sum().item() - 1) < 1e-10
    expected = joint(model.network).logsumexp(1) - model.log_partition()
    torch.testing.assert_close(log_p, expected, **CLOSE)


@pytest.mark.parametrize("make", MODELS)
def test_large_machines_do_not_know_their_constant(make):
    large = {rbm: lambda: rbm(21, shape=(1, 3, 7)), dbm: lambda: dbm(21, 9, shape=(1, 3, 7))}
    assert large.get(make, lambda: dbn(22, 21, shape=(1, 3, 7)))().log_partition() is None
    model = make()
    estimate = model.log_weights(1000, noise(500)).logsumexp(0) - log(500)
    assert estimate.item() == pytest.approx(model.log_partition().item(), abs=0.02)


def test_chains_anneal_from_the_brightness_of_the_data():
    model, images = rbm(), bars_and_stripes()[:5]  # of all of them the mean is even
    model.terms(batch(images))
    on = (units_of(images).sum(0) + 0.5) / (len(images) + 1)
    torch.testing.assert_close(model.chains.brightness().sigmoid(), on)


# What they learn from


def statistics(network, v, weights):
    """Means of v h^T, v and h over states with weights that sum to one, by hand."""
    h = (network.biases[1] + v @ network.weights[0]).sigmoid()
    return [(v * weights[:, None]).T @ h, weights @ v, weights @ h]


def of(network, gradients):
    """Gradients as weights, biases of the image, biases of the hidden layer."""
    named = dict(zip([name for name, _ in network.named_parameters()], gradients))
    return [named["weights.0"], named["biases.0"], named["biases.1"]]


def gradients(model, loss):
    return of(model.network, torch.autograd.grad(loss, list(model.network.parameters())))


@pytest.mark.parametrize("chains", [0, 7])
@pytest.mark.parametrize("steps", [1, 3])
def test_gradients_are_differences_of_the_statistics_of_data_and_of_chains(chains, steps):
    model, images = rbm(chains=chains, gibbs_steps=steps), bars_and_stripes()
    network, v = model.network, units_of(images)
    if chains:
        key = noise(chains, "chains")
        negative = gibbs(network, model.chains.states.clone(), steps, key)
    else:
        negative = gibbs(network, v, steps, noise(len(v)).spawn("chains"))
    found = gradients(model, model.terms(batch(images))["loss"])
    data, dreamt = (
        statistics(network, s, torch.full((len(s),), 1 / len(s), dtype=torch.double))
        for s in (v, negative)
    )
    for gradient, a, b in zip(found, data, dreamt):
        torch.testing.assert_close(gradient, b - a, **CLOSE)


def exact_gradients(model, images):
    nll = model.network.free_energy(units_of(images)).mean()
    every = states(model.network.size(EVEN))
    log_z = (-model.network.free_energy(every)).logsumexp(0)
    return gradients(model, nll + log_z)


def test_the_longer_the_chains_the_closer_to_the_gradient_of_the_likelihood():
    """As their distribution is known, so is the mean of what they teach."""
    model, images = rbm(scale=0.7), bars_and_stripes()
    network, v = model.network, units_of(images)
    odd = network.logits(ODD, states(9))
    down = network.logits(EVEN, states(5))
    to_odd = (states(5) @ F.logsigmoid(odd).T + (1 - states(5)) @ F.logsigmoid(-odd).T).T.exp()
    to_even = (states(9) @ F.logsigmoid(down).T + (1 - states(9)) @ F.logsigmoid(-down).T).T.exp()
    p = torch.zeros(512).double()
    p[(v.long() * 2 ** torch.arange(8, -1, -1)).sum(1)] = 1 / len(v)
    data, exact, biases = statistics(network, states(9), p), exact_gradients(model, images), []
    for _ in range(300):
        p = p @ to_odd @ to_even
        contrast = [b - a for a, b in zip(data, statistics(network, states(9), p))]
        biases.append(max((a - b).abs().max().item() for a, b in zip(contrast, exact)))
    assert biases[0] > 0.01
    assert biases[0] > biases[4] > biases[20]
    assert biases[-1] < 1e-9


@pytest.mark.parametrize("chains", [0, 20_000])
def test_with_long_chains_the_gradient_is_that_of_the_likelihood(chains):
    model = rbm(chains=chains, gibbs_steps=40, shape=(1, 2, 2), hidden=3)
    images = bars_and_stripes(2).repeat(1 if chains else 4000, 1, 1, 1)
    found = gradients(model, model.terms(batch(images))["loss"])
    for a, b in zip(found, exact_gradients(model, images)):
        torch.testing.assert_close(a, b, rtol=0, atol=0.015)


def test_a_deep_machine_learns_from_mean_fields_and_chains():
    model, images = dbm(), bars_and_stripes()
    network, v = model.network, units_of(images)
    with torch.no_grad():
        one, two = network.mean_field(v)
        even = gibbs(network, model.chains.states.clone(), 1, noise(20, "chains"))
        odd = network.logits(ODD, even).sigmoid()
    loss = model.terms(batch(images))["loss"]
    found = torch.autograd.grad(loss, [network.weights[0], network.weights[1], network.biases[2]])
    expected = (
        even[:, :9].T @ odd / 20 - v.T @ one / len(v),
        odd.T @ even[:, 9:] / 20 - one.T @ two / len(v),
        even[:, 9:].mean(0) - two.mean(0),
    )
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b, **CLOSE)


@pytest.mark.parametrize("make", [rbm, dbm])  # levels of a DBN are drawn image by image
def test_the_loss_is_a_sum_over_units_and_a_mean_over_images(make):
    model, images = make(), bars_and_stripes()
    twice = copy.deepcopy(model)
    one = model.terms(batch(images, "data"))["data"]
    both = twice.terms(batch(images.repeat(2, 1, 1, 1), "data"))["data"]
    torch.testing.assert_close(one, both)
    each = model.unnormalised_nll(images, noise=noise(len(images)))
    torch.testing.assert_close(one, each.mean())


# Chains


def test_pixels_and_chains_begin_as_bright_as_the_images():
    network = DenseBoltzmannMachine((1, 3, 3), (4, 5), brightness=0.2)
    torch.testing.assert_close(network.biases[0].sigmoid(), torch.full((9,), 0.2))
    states = Chains(network, 4000).states
    assert states.unique().tolist() == [0, 1]
    assert abs(states[:, :9].mean() - 0.2) < 0.02 and abs(states[:, 9:].mean() - 0.5) < 0.02
    with pytest.raises(ValueError, match="brightness must be a share between 0 and 1, got 1"):
        DenseBoltzmannMachine(brightness=1)


@pytest.mark.slow
def test_dark_images_leave_the_hidden_units_of_a_deep_machine_free():
    """From even odds, hidden units learn to be on for all images before they learn anything else."""
    torch.manual_seed(0)
    images = (torch.rand(100, 1, 28, 28) < 0.13).float() * 2 - 1
    free = []
    for brightness in (0.5, 0.13):
        model = DBM(DenseBoltzmannMachine((1, 28, 28), (100, 100), brightness=brightness))
        train(model, images, 20, SGD(model.parameters(), 0.02, momentum=0.5))
        means = model.encode(images).detach()
        free.append((means * (1 - means)).mean().item())  # 1/4 at even odds
    assert free[0] < 0.01 and free[1] > 0.1


@pytest.mark.parametrize("make", MODELS)
def test_chains_go_on_where_they_were(make):
    model, images = make(), bars_and_stripes()
    network = model.network.machines[1] if make is dbn else model.network
    memory = model.memory
    expected = memory.states.clone()
    for step in range(3):
        expected = gibbs(network, expected, 1, noise(20, step, "chains"))
        model.terms(batch(images, step))
        assert torch.equal(memory.states, expected)
    assert memory.states.unique().tolist() == [0, 1]


@pytest.mark.parametrize("make", MODELS)
def test_a_checkpoint_has_the_chains_and_the_brightness(make):
    model, images = make(), bars_and_stripes()
    model.terms(batch(images, 0))
    again = make()
    again.load_state_dict(model.state_dict())
    for one in (model, again):
        one.terms(batch(images, 1))
    assert torch.equal(model.memory.states, again.memory.states)
    assert torch.equal(model.memory.seen.counts, again.memory.seen.counts)
    assert model.memory.seen.counts.sum() == 2 * len(images) * model.machine.sizes[0]


@pytest.mark.parametrize("count", [20, 7, 1, 0])
@pytest.mark.parametrize("make", [rbm, dbn])
def test_processes_with_a_share_of_the_chains_compute_what_one_computes(make, count):
    images = bars_and_stripes(3)[:12]
    one = make(chains=count)
    parts = [copy.deepcopy(one) for _ in range(3)]

    def step(model, shown, **kwargs):
        model.zero_grad()
        terms = model.terms(batch(shown, **kwargs))
        terms["loss"].backward()
        slopes = [p.grad for p in model.parameters() if p.grad is not None]
        return [terms["loss"].detach(), *slopes]

    for _ in range(2):
        whole = step(one, images)
        shares = [
            step(part, images[4 * k : 4 * k + 4], total=12, start=4 * k)
            for k, part in enumerate(parts)
        ]
        for each, *others in zip(whole, *shares, strict=True):
            torch.testing.assert_close(sum(others) / 3, each, **CLOSE)
        for name in ("states", "seen.counts"):  # as processes average their buffers
            buffers = [part.memory.get_buffer(name) for part in parts]
            mean = sum(buffers) / 3
            for buffer in buffers:
                buffer.copy_(mean)
            torch.testing.assert_close(mean, one.memory.get_buffer(name), **CLOSE)


def test_shares_are_read_again_before_they_were_averaged():
    """As it is while gradients accumulate."""
    network = machine(4)
    chains = Chains(network, 6).double()
    start = chains.states.clone()
    places = [noise(2, step, total=4, start=2) for step in range(2)]
    for place in places:
        found = chains.advance(network, 1, place)
    expected = start[3:]
    for step in range(2):
        own = noise(3, step, "chains", total=6, start=3)
        expected = gibbs(network, expected, 1, own)
    assert torch.equal(found, expected)


# What they draw


@pytest.mark.parametrize("make", MODELS)
def test_samples_are_a_function_of_noise_and_have_no_gradient(make):
    model = make(sample_steps=3)
    drawn = model.sample(5, noise=noise(5))
    assert drawn.shape == (5, 1, 3, 3) and drawn.dtype == torch.double
    assert not drawn.requires_grad and drawn.abs().max() < 1
    assert torch.equal(drawn, model.sample(5, noise=noise(5)))
    assert not torch.equal(drawn, model.sample(5, noise=noise(5, "other")))
    pixels = make(sample_steps=3, sample_pixels=True).sample(5, noise=noise(5))
    assert pixels.unique().tolist() == [-1, 1]


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("chains", [1, 50])
def test_samples_have_the_distribution_of_the_model(make, chains):
    n = 20_000
    model = make(chains=chains, shape=(1, 2, 2), sample_steps=60, sample_pixels=True)
    if make is dbn:
        p = belief_log_p(model.network, states(4)).exp()
    elif make is dbm:
        p = joint(model.network).flatten(1).logsumexp(1).softmax(0)
    else:
        p = (-model.network.free_energy(states(4))).softmax(0)
    found = counted(model.sample(n, noise=noise(n)))
    assert ((found - p).abs() < 5 * (p * (1 - p) / n).sqrt() + 2e-4).all()


def test_without_kept_chains_samples_begin_at_even_odds():
    model, n = rbm(chains=0, shape=(1, 2, 2), sample_steps=60, sample_pixels=True), 20_000
    p = (-model.network.free_energy(states(4))).softmax(0)
    found = counted(model.sample(n, noise=noise(n)))
    assert ((found - p).abs() < 5 * (p * (1 - p) / n).sqrt() + 2e-4).all()


@pytest.mark.parametrize("make", [rbm, dbm])
def test_completions_keep_what_is_known_and_draw_the_rest_given_it(make):
    n, known = 20_000, torch.tensor([[True, False], [False, True]])
    model = make(shape=(1, 2, 2), sample_steps=60, sample_pixels=True)
    x = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]]]).double().expand(n, 1, 2, 2)
    filled = model.complete(x, known, noise=noise(n))
    assert torch.equal(filled[..., known], x[..., known])
    log_p = joint(model.network).flatten(1).logsumexp(1)
    fits = (states(4)[:, 0] == 1) & (states(4)[:, 3] == 0)
    p = log_p.masked_fill(~fits, -torch.inf).softmax(0)
    assert ((counted(filled) - p).abs() < 5 * (p * (1 - p) / n).sqrt() + 2e-4).all()


def test_codes_are_probabilities_of_the_hidden_units():
    x = bars_and_stripes()
    v = units_of(x)
    shallow, deep, belief = rbm(), dbm(), dbn()
    torch.testing.assert_close(shallow.encode(x), shallow.network.logits(ODD, v).sigmoid())
    torch.testing.assert_close(deep.encode(x), torch.cat(deep.network.mean_field(v), 1))
    below, above = belief.network.machines
    begun = belief.images_seen
    for belief.images_seen, belief.last_batch in (
        (100, 50),
        (120, 30),
    ):  # the upper level has seen nothing
        torch.testing.assert_close(belief.encode(x), below.logits(ODD, v).sigmoid())
    belief.images_seen, belief.last_batch = begun, 0
    torch.testing.assert_close(
        belief.encode(x), above.logits(ODD, below.logits(ODD, v).sigmoid()).sigmoid()
    )


# Bounds


def test_the_bound_of_a_deep_machine_is_one():
    model = dbm()
    bound = model.unnormalised_nll(EVERY_3X3) + model.log_partition()
    nll = -joint(model.network).flatten(1).logsumexp(1) + model.log_partition()
    assert abs((-nll).exp().sum().item() - 1) < 1e-10
    assert (bound > nll).all()


def test_a_belief_networks_draws_have_the_mean_of_its_bound():
    model, n = dbn(scale=0.7), 20_000
    below, above = model.network.machines
    x = EVERY_3X3[[77]]
    v, h = units_of(x), states(4)
    up, down = below.logits(ODD, v), below.logits(EVEN, h)
    log_q = (h * F.logsigmoid(up) + (1 - h) * F.logsigmoid(-up)).sum(1)
    log_p = (v * F.logsigmoid(down) + (1 - v) * F.logsigmoid(-down)).sum(1)
    expected = (log_q.exp() * (log_q - log_p + above.free_energy(h))).sum()
    drawn = model.unnormalised_nll(x.expand(n, -1, -1, -1), noise=noise(n))
    assert (drawn.mean() - expected).abs() < 4 * drawn.std() / n**0.5
    nll = -belief_log_p(model.network, v)[0]
    assert expected + model.log_partition() > nll


def test_a_level_that_begins_as_the_one_below_upside_down_changes_no_likelihood():
    """Then the bound is tight, whatever is drawn."""
    model = dbn(5, 9, shape=(1, 3, 3))
    below, above = model.network.machines
    turn_upside_down(below, above)
    nll = below.free_energy(units_of(EVERY_3X3)) + exact_log_partition(below)
    for key in range(3):
        bound = model.unnormalised_nll(EVERY_3X3, noise=noise(512, key)) + model.log_partition()
        torch.testing.assert_close(bound, nll, **CLOSE)


def turn_upside_down(below, above):
    above.weights[0].data = below.weights[0].data.T.clone()
    above.biases[0].data, above.biases[1].data = (
        below.biases[1].data.clone(),
        below.biases[0].data.clone(),
    )


# Training


def train(model, images, steps, optimizer):
    for step in range(steps):
        optimizer.zero_grad()
        model.terms(batch(images, "train", step))["loss"].backward()
        optimizer.step()


def test_each_level_is_fitted_alone_and_then_stays():
    model, images = dbn(4, 3, 2, images=50, at=0), bars_and_stripes()
    optimizer = Adam(model.parameters(), 0.01)
    for seen, level in ((0, 0), (49, 0), (50, 1), (99, 1), (100, 2), (10_000, 2)):
        model.images_seen = seen
        assert model.level == level
        before = copy.deepcopy(model.network)
        train(model, images, 2, optimizer)
        for k, (one, other) in enumerate(zip(before.machines, model.network.machines)):
            for a, b in zip(one.parameters(), other.parameters()):
                assert torch.equal(a, b) == (k != level)
        known = level - (seen in (50, 100))  # a level has to see images before it is of use
        assert len(model.directed) == known
        assert model.machine is model.network.machines[known]


def test_upper_levels_are_fitted_to_draws_as_bounds_are_of_draws():
    model, images = dbn(), bars_and_stripes()
    below, above = model.network.machines
    drawn = draw(below.logits(ODD, units_of(images)), noise(len(images), "levels"))
    terms = model.terms(batch(images))
    torch.testing.assert_close(terms["data"], above.free_energy(drawn).mean())
    assert torch.equal(model.memory.seen.counts[1], drawn.sum(0))


def exact_nll(model, images):
    return (model.unnormalised_nll(images).mean() + model.log_partition()).item()


@pytest.mark.slow
@pytest.mark.parametrize("chains", [0, 100])
def test_a_restricted_machine_learns_more_than_independent_pixels(chains):
    model, images = rbm(16, chains=chains, scale=0.05, gibbs_steps=2), bars_and_stripes()
    train(model, images, 1500, SGD(model.parameters(), 0.1, momentum=0.5))
    assert log(14) < exact_nll(model, images) < 4.2 < 9 * log(2)


@pytest.mark.slow
def test_a_deep_machine_learns_more_than_independent_pixels():
    model, images = dbm(12, 6, chains=100, scale=0.05), bars_and_stripes()
    model.network.sweeps = 5
    for rate, steps in ((0.1, 1000), (0.02, 500)):  # what chains have just left is unlearnt too far
        train(model, images, steps, SGD(model.parameters(), rate, momentum=0.5))
    nll = -joint_likelihood(model, images).mean().item()
    assert log(14) < nll <= exact_nll(model, images) < 3.5


def joint_likelihood(model, images):
    """ln p of images, by the sum over the second hidden layer."""
    h = states(model.network.sizes[2])
    v = units_of(images).repeat_interleave(len(h), 0)
    even = torch.cat([v, h.repeat(len(images), 1)], 1)
    total = (-model.network.free_energy(even)).view(len(images), -1).logsumexp(1)
    return total - model.log_partition()


@pytest.mark.slow
def test_a_second_level_makes_the_bound_no_worse():
    model, images = dbn(8, 9, scale=0.05, images=10**6, at=0), bars_and_stripes()
    train(model, images, 600, SGD(model.parameters(), 0.1, momentum=0.5))
    first = exact_nll(model, images)
    turn_upside_down(*model.network.machines)
    model.images_seen = 10**6 + 1  # the second level has begun
    many = images.repeat(200, 1, 1, 1)
    train(model, images, 600, SGD(model.parameters(), 0.05, momentum=0.5))
    bound = model.unnormalised_nll(many, noise=noise(len(many))).mean() + model.log_partition()
    assert bound < first - 0.02
    assert -belief_log_p(model.network, units_of(images)).mean() < bound + 0.02
