"""Boltzmann machines against the sum over all of their states."""

from math import log

import pytest
import torch
import torch.nn.functional as F

from lightning_gen.models.energy.annealing import (
    annealed_log_weights,
    exact_log_partition,
    is_enumerable,
)
from lightning_gen.models.energy.gibbs import gibbs
from lightning_gen.nn.boltzmann import EVEN, ODD
from tests.boltzmann import joint, machine, noise, states

DEEP = [(6,), (4, 3), (3, 2, 2)]
CLOSE = {"rtol": 0, "atol": 1e-10}


def entropy(means):
    return -sum(torch.xlogy(p, p).sum(1) for m in means for p in (m, 1 - m))


def sides(network, numbers):
    """All states of a side, with the layers that they are made of."""
    sizes = [network.sizes[k] for k in numbers]
    every = states(sum(sizes))
    return every, dict(zip(numbers, every.split(sizes, 1)))


@pytest.mark.parametrize("hidden", DEEP)
def test_the_energy_is_the_sum_over_units_and_pairs(hidden):
    network = machine(*hidden)
    layers = [torch.rand(1, size).round().double() for size in network.sizes]
    expected = -joint(network, dict(enumerate(layers))).flatten()
    torch.testing.assert_close(network.energy(layers), expected, **CLOSE)


@pytest.mark.parametrize("hidden", [(6,), (6, 3)])
def test_the_free_energy_of_a_side_is_the_sum_over_the_other(hidden):
    network = machine(*hidden)
    total = joint(network)  # (v, h1) or (v, h1, h2)
    if len(hidden) == 1:
        torch.testing.assert_close(network.free_energy(states(9)), -total.logsumexp(1), **CLOSE)
        odd = -total.logsumexp(0)
    else:
        even = -total.logsumexp(1).flatten()
        torch.testing.assert_close(network.free_energy(states(12)), even, **CLOSE)
        odd = -total.logsumexp((0, 2))
    torch.testing.assert_close(network.free_energy(states(6), ODD), odd, **CLOSE)


@pytest.mark.parametrize("hidden", [(6,), (4, 3)])
def test_both_sides_add_up_to_the_same_partition_function(hidden):
    network = machine(*hidden)
    expected = joint(network).flatten().logsumexp(0)
    for side in (EVEN, ODD):
        total = (-network.free_energy(states(network.size(side)), side)).logsumexp(0)
        torch.testing.assert_close(total, expected, **CLOSE)
    torch.testing.assert_close(exact_log_partition(network), expected, **CLOSE)


def test_states_are_added_up_in_chunks_on_the_smaller_side(monkeypatch):
    from lightning_gen.models.energy import annealing

    network = machine(16, scale=0.5)
    once = (-network.free_energy(states(9))).logsumexp(0)
    monkeypatch.setattr(annealing, "CHUNK", 100)
    torch.testing.assert_close(exact_log_partition(network), once, **CLOSE)
    large = machine(21, shape=(1, 3, 7))
    assert not is_enumerable(large) and is_enumerable(machine(20, shape=(1, 5, 5)))
    with pytest.raises(ValueError, match="added up for 20 units of a side at most, got 21"):
        exact_log_partition(large)


@pytest.mark.parametrize("hidden", [(5,), (4, 3)])
def test_logits_are_those_of_the_conditionals(hidden):
    network = machine(*hidden)
    for side in (EVEN, ODD):
        others, layers = sides(network, range(1 - side, len(network.sizes), 2))
        logits = network.logits(side, others)
        first = 0
        for k in range(side, len(network.sizes), 2):
            for unit in range(network.sizes[k]):
                on, off = logit_by_energies(network, layers, side, k, unit, len(others))
                torch.testing.assert_close(logits[:, first + unit], on - off, **CLOSE)
            first += network.sizes[k]


def logit_by_energies(network, layers, side, k, unit, count):
    """-E with a unit on, and off; what the rest of its side does is no matter, so it is random."""
    generator = torch.Generator().manual_seed(k)
    found = []
    for value in (1.0, 0.0):
        generator.manual_seed(k)
        full = [
            layers[j]
            if j in layers
            else torch.rand(count, size, generator=generator).round().double()
            for j, size in enumerate(network.sizes)
        ]
        full[k][:, unit] = value
        found.append(-network.energy(full))
    return found


def test_without_weights_units_are_independent_and_the_partition_function_is_a_product():
    network = machine(6)
    network.weights[0].data.zero_()
    expected = sum(F.softplus(bias).sum() for bias in network.biases)
    torch.testing.assert_close(exact_log_partition(network), expected, **CLOSE)
    log_p = -network.free_energy(states(9)) - expected
    independent = -F.binary_cross_entropy_with_logits(
        network.biases[0].expand(512, -1), states(9), reduction="none"
    ).sum(1)
    torch.testing.assert_close(log_p, independent, **CLOSE)


# Gibbs


def transition(network, side_from, side_to):
    """p(to | from) of all states, (from, to)."""
    logits = network.logits(side_to, states(network.size(side_from)))
    to = states(network.size(side_to))
    return (to @ F.logsigmoid(logits).T + (1 - to) @ F.logsigmoid(-logits).T).T.exp()


@pytest.mark.parametrize("hidden", [(5,), (4, 2)])
def test_a_step_leaves_the_distribution_as_it_is(hidden):
    network = machine(*hidden, shape=(1, 2, 3))
    p = (-network.free_energy(states(network.size(EVEN)))).softmax(0)
    kernel = transition(network, EVEN, ODD) @ transition(network, ODD, EVEN)
    torch.testing.assert_close(p @ kernel, p, rtol=0, atol=1e-12)
    assert (torch.eye(len(p)) - kernel).abs().max() > 0.1


@pytest.mark.parametrize("hidden", [(5,), (3, 2)])
def test_steps_draw_what_the_transition_matrix_says(hidden):
    network, n = machine(*hidden, shape=(1, 2, 2)), 40_000
    start = states(network.size(EVEN))[3]
    found = gibbs(network, start.expand(n, -1), 1, noise(n))
    kernel = (transition(network, EVEN, ODD) @ transition(network, ODD, EVEN))[3]
    places = 2 ** torch.arange(len(start) - 1, -1, -1)
    counts = torch.bincount((found.long() * places).sum(1), minlength=len(kernel)) / n
    assert ((counts - kernel).abs() < 5 * (kernel * (1 - kernel) / n).sqrt() + 1e-4).all()


def test_long_chains_have_the_distribution_of_the_machine():
    network, n = machine(4, shape=(1, 2, 2)), 20_000
    p = (-network.free_energy(states(4))).softmax(0)
    found = gibbs(network, torch.zeros(n, 4).double(), 100, noise(n))
    places = 2 ** torch.arange(3, -1, -1)
    counts = torch.bincount((found.long() * places).sum(1), minlength=16) / n
    assert ((counts - p).abs() < 5 * (p * (1 - p) / n).sqrt() + 1e-4).all()


def test_clamped_chains_have_the_conditional_distribution():
    network, n = machine(5, shape=(1, 2, 2)), 20_000
    known, start = torch.tensor([True, False, True, False]), torch.tensor([1.0, 0, 0, 0]).double()
    found = gibbs(network, start.expand(n, -1), 100, noise(n), known)
    assert (found[:, known] == start[known]).all()
    every = states(4)
    p = (-network.free_energy(every)).masked_fill(
        (every[:, known] != start[known]).any(1), -torch.inf
    )
    p = p.softmax(0)
    places = 2 ** torch.arange(3, -1, -1)
    counts = torch.bincount((found.long() * places).sum(1), minlength=16) / n
    assert ((counts - p).abs() < 5 * (p * (1 - p) / n).sqrt() + 1e-4).all()


# Mean field


@pytest.mark.parametrize("hidden", [(4,), (4, 3), (3, 3, 2)])
def test_the_bound_is_the_free_energy_and_the_divergence_from_the_posterior(hidden):
    network = machine(*hidden, shape=(1, 2, 2))
    v = states(4)
    means = [torch.rand(16, size).double() for size in hidden]
    bound = network.variational_free_energy(v, means)
    log_joint = joint(network).flatten(1)  # (v, all hidden)
    free_energy = -log_joint.logsumexp(1)
    hidden_states = states(sum(hidden))
    on = torch.cat(means, 1)
    log_q = hidden_states @ on.log().T + (1 - hidden_states) @ (1 - on).log().T
    kl = (log_q.exp() * (log_q - log_joint.log_softmax(1).T)).sum(0)
    torch.testing.assert_close(bound - free_energy, kl, **CLOSE)
    assert (kl > 0).all()


@pytest.mark.parametrize("hidden", [(4, 3), (3, 3, 2)])
@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_no_sweep_makes_the_bound_worse(hidden, scale):
    network, v = machine(*hidden, scale=scale), states(9)
    means = [v, *(torch.rand(512, size).double() for size in hidden)]
    bounds = [network.variational_free_energy(v, means[1:])]
    for _ in range(200):
        means = network.sweep(means)
        bounds.append(network.variational_free_energy(v, means[1:]))
    falls = torch.stack(bounds).diff(dim=0)
    assert falls.max() < 1e-10
    assert falls[0].max() < -1e-3
    again = network.sweep(means)
    for before, after in zip(means, again):
        torch.testing.assert_close(before, after, rtol=0, atol=1e-4)


def test_the_mean_field_begins_with_what_comes_from_below_counted_twice():
    network, v = machine(4, 3, sweeps=1), states(9)
    begin = [v, (network.biases[1] + 2 * v @ network.weights[0]).sigmoid()]
    begin.append((network.biases[2] + begin[1] @ network.weights[1]).sigmoid())
    expected = network.sweep(begin)[1:]
    for mean, other in zip(network.mean_field(v), expected, strict=True):
        torch.testing.assert_close(mean, other)


def test_one_hidden_layer_has_its_posterior_at_once():
    network, v = machine(5), states(9)
    (mean,) = network.mean_field(v)
    log_joint = joint(network)
    posterior = log_joint.softmax(1) @ states(5)
    torch.testing.assert_close(mean, posterior, **CLOSE)
    bound = network.variational_free_energy(v, [mean])
    torch.testing.assert_close(bound, network.free_energy(v), **CLOSE)


def test_what_is_above_moves_what_is_below():
    network, v = machine(4, 3), states(9)
    before = network.mean_field(v)[0]
    network.weights[1].data.neg_()
    assert (network.mean_field(v)[0] - before).abs().max() > 0.01


def test_without_weights_above_a_deep_machine_is_a_restricted_one():
    deep, restricted = machine(4, 3), machine(4)
    deep.weights[1].data.zero_()
    for k in range(2):
        restricted.biases[k].data = deep.biases[k].data
    restricted.weights[0].data = deep.weights[0].data
    v = states(9)
    torch.testing.assert_close(deep.mean_field(v)[0], restricted.mean_field(v)[0])
    bound = deep.variational_free_energy(v, deep.mean_field(v))
    above = F.softplus(deep.biases[2]).sum()  # what the layer above adds to ln Z
    torch.testing.assert_close(bound, restricted.free_energy(v) - above, **CLOSE)
    both = exact_log_partition(deep), exact_log_partition(restricted) + above
    torch.testing.assert_close(*both, **CLOSE)


# Annealed importance


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.1, 1.0, 2.0])
@pytest.mark.parametrize(
    ("shape", "hidden"), [((1, 4, 4), (10,)), ((1, 5, 4), (12,)), ((1, 4, 4), (8, 6))]
)
def test_annealed_importance_comes_within_a_hundredth_of_the_sum(shape, hidden, scale):
    network = machine(*hidden, shape=shape, scale=scale)
    base = torch.linspace(-1, 1, network.sizes[0])
    log_w = annealed_log_weights(network, base, 2000, noise(1000))
    estimate = log_w.logsumexp(0) - log(len(log_w))
    assert estimate.item() == pytest.approx(exact_log_partition(network).item(), abs=0.01)


@pytest.mark.parametrize("temperatures", [1, 3, 10])
def test_the_mean_weight_is_the_partition_function_however_few_temperatures(temperatures):
    network, n = machine(3, shape=(1, 2, 2), scale=0.7), 100_000
    base = torch.tensor([0.3, -1.0, 0.0, 2.0])
    w = (annealed_log_weights(network, base, temperatures, noise(n))).exp()
    z = exact_log_partition(network).exp()
    assert (w.mean() - z).abs() < 4 * w.std() / n**0.5
    assert w.log().mean() < z.log()  # by Jensen: on average a likelihood comes out too high


def test_one_temperature_weighs_the_states_of_the_base_itself():
    network, base = machine(3, shape=(1, 2, 2)), torch.tensor([0.3, -1.0, 0.0, 2.0]).double()
    log_w = annealed_log_weights(network, base, 1, noise(64))
    odd = (noise(64).uniform(3) < 0.5).double()
    known = F.softplus(base).sum() + 3 * log(2)
    expected = known - network.free_energy(odd, ODD) - F.softplus(base).sum()
    torch.testing.assert_close(log_w, expected, **CLOSE)


def test_chains_do_not_depend_on_how_many_are_run_at_once():
    network, base = machine(4), torch.zeros(9)
    together = annealed_log_weights(network, base, 20, noise(10))
    parts = [
        annealed_log_weights(network, base, 20, noise(count, total=10, start=start))
        for start, count in ((0, 4), (4, 6))
    ]
    torch.testing.assert_close(torch.cat(parts), together)


def test_single_precision_is_enough_for_the_weights():
    network = machine(20, shape=(1, 8, 8), scale=0.3)
    base = torch.zeros(64)
    found = [
        annealed_log_weights(each, base, 300, noise(200)) for each in (network, network.float())
    ]
    assert found[0].dtype == found[1].dtype == torch.double
    difference = found[0].logsumexp(0) - found[1].logsumexp(0)
    assert difference.abs() < 0.05  # chains part where a draw falls on the edge
