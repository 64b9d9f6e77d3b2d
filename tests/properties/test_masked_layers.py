"""The masked layers of MADE connect each output with what comes before it, and with nothing else."""

import pytest
import torch

from lightning_gen.networks.made import MADENetwork, ManyOrdersMADE
from lightning_gen.nn.masked import MaskedMLP


@pytest.mark.parametrize("widths", [(40,), (40, 30), (8, 20, 8)])
@pytest.mark.parametrize("count", [1, 5])
def test_masks_connect_each_output_with_all_inputs_before_it_and_no_other(widths, count):
    generator = torch.Generator().manual_seed(3) if count > 1 else None
    places = torch.stack([torch.randperm(9) for _ in range(count)])
    mlp = MaskedMLP(places, 2, widths, generator=generator)
    for k in range(count):
        paths = torch.eye(9)
        for layer in [*mlp.hidden, mlp.out]:
            paths = (layer._mask(k) @ paths).clamp(max=1)
        before = places[k] < places[k][:, None]
        assert torch.equal(paths.bool(), before.repeat_interleave(2, 0))


def test_no_hidden_unit_is_dead_or_blind():
    for layer in MaskedMLP(torch.arange(9)[None], widths=(8, 100)).hidden:
        assert layer.own.min() == 1
        assert layer.own.max() == 8
        assert layer.mask.any(1).all()


def test_a_masked_layer_is_its_explicit_construction():
    net, x = MADENetwork((1, 3, 3), 2, (60, 80)).double(), torch.rand(4, 9).double()
    h, degrees = x, torch.arange(1, 10)
    for layer, width in zip(net.layers.hidden, (60, 80), strict=True):
        own = 1 + torch.arange(width) * 8 // width
        h = (h @ (layer.weight * (degrees <= own[:, None])).T + layer.bias).relu()
        degrees = own
    out = net.layers.out
    expected = h @ (out.weight * (degrees < torch.arange(1, 10)[:, None])).T + out.bias
    torch.testing.assert_close(net.logits(x)[..., 0], expected)


def test_orders_are_a_function_of_the_seed():
    first, again, other = (ManyOrdersMADE((1, 3, 3), count=3, seed=s) for s in (0, 0, 1))
    assert torch.equal(first.orders, again.orders)
    assert torch.equal(first.layers.hidden[0].own, again.layers.hidden[0].own)
    assert not torch.equal(first.orders, other.orders)
    assert torch.equal(first.orders.sort(1).values, torch.arange(9).expand(3, -1))
