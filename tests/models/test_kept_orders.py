"""Checkpoints hold the orders and connections that their weights belong to."""

import pytest
import torch

from lightning_gen.models.autoregressive import MADE, DeepNADE
from lightning_gen.models.processes import statistics
from lightning_gen.networks.deep_nade import DeepNADENetwork
from lightning_gen.networks.made import ManyOrdersMADE
from lightning_gen.randomness import Noise
from tests.game import fit
from tests.pixels import every_image

SHAPE = (1, 3, 3)
MODELS = {
    "MADE": lambda seed, count, **kwargs: MADE(
        ManyOrdersMADE(SHAPE, 2, (30,), direct=True, count=count, seed=seed), **kwargs
    ),
    "Deep NADE": lambda seed, count, **kwargs: DeepNADE(
        DeepNADENetwork(SHAPE, 2, (8,), count=count, seed=seed), **kwargs
    ),
}


def noise():
    return Noise(("test",), 20, dtype=torch.double)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("half_life", [None, 10.0])
def test_weights_mean_the_same_where_the_seed_makes_other_orders(kind, count, half_life):
    """As it may in another release of torch."""
    one, other = (
        MODELS[kind](seed, count, ema_half_life=half_life).double().eval() for seed in (0, 1)
    )
    x = every_image(*SHAPE)
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.uniform_(-1, 1)
        assert not torch.equal(other.network.orders, one.network.orders)
        other.load_state_dict(one.state_dict())
        assert torch.equal(other.nll(x), one.nll(x))
        assert torch.equal(other.train().nll(x), one.train().nll(x))
        assert abs((-other.nll(x)).exp().sum().item() - 1) < 1e-10
    assert torch.equal(other.sample(20, noise=noise()), one.sample(20, noise=noise()))


@pytest.mark.parametrize("kind", MODELS)
def test_averages_have_the_orders_of_what_they_average(kind):
    model = MODELS[kind](0, 2, ema_half_life=10.0)
    orders = model.network.orders.clone()
    model.network.orders[0] = orders[0].flip(0)  # as when a checkpoint of others was loaded
    model.images_seen = 8
    model.update_averages()
    assert torch.equal(model.averaged("network").orders, model.network.orders)
    assert model.averaged("network").orders.dtype == torch.long


@pytest.mark.parametrize("kind", MODELS)
def test_processes_do_not_average_orders(kind):
    assert not statistics([MODELS[kind](0, 2).network])


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("half_life", [None, 10.0])
def test_training_leaves_orders_alone(kind, half_life):
    make = {"MADE": ManyOrdersMADE, "Deep NADE": DeepNADENetwork}[kind]
    model = {"MADE": MADE, "Deep NADE": DeepNADE}[kind](
        make((1, 4, 4), 256, (16,), count=2), ema_half_life=half_life
    )
    before = {name: value.clone() for name, value in model.named_buffers()}
    fit(model, max_steps=2)
    assert before
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
