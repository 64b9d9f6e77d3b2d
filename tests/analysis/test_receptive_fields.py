"""A receptive field is what a change of the input shows, and no more."""

import pytest
import torch

from lightning_gen.analysis.receptive_fields import blind_spot, receptive_field
from tests.pixels import NETWORKS, network


def test_influence_is_the_size_of_the_gradient_averaged_over_images():
    weight = torch.randn(3, 4, 5, dtype=torch.double)
    x = torch.randn(6, 3, 4, 5, dtype=torch.double)

    def function(x):
        total = (x.square() * weight).sum((1, 2, 3)) / 2
        return total.view(-1, 1, 1, 1) * torch.arange(24.0).double().view(2, 3, 4)

    field = receptive_field(function, x, row=2, column=1, color=1)
    torch.testing.assert_close(field, 21 * (weight * x).abs().mean(0))
    assert not x.requires_grad


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_it_holds_exactly_what_a_change_of_an_input_shows(kind, channels):
    net = network(kind, channels, 4, depth=1, width=2)
    x = torch.randn(8, channels, 4, 5, dtype=torch.double)
    before = net(x)
    for color, row, column in ((0, 0, 0), (channels - 1, 2, 2), (channels // 2, 3, 4)):
        seen = torch.zeros(x.shape[1:], dtype=torch.bool)
        for c, i, j in torch.ones(x.shape[1:]).nonzero().tolist():
            changed = x.clone()
            changed[:, c, i, j] += 0.1
            there = (net(changed) - before)[..., color, row, column]
            seen[c, i, j] = (there.abs() > 1e-13).any()
        field = receptive_field(net, x, row, column, color)
        assert torch.equal(field > 1e-13, seen)


def test_what_looks_at_nothing_has_no_field():
    x = torch.randn(2, 1, 3, 3, dtype=torch.double)
    assert not receptive_field(torch.ones_like, x, 1, 1).any()
    constant = torch.ones(2, 1, 3, 3, requires_grad=True)
    assert not receptive_field(lambda x: constant * 1, x, 1, 1).any()


def test_gradients_are_taken_where_none_are_kept():
    with torch.no_grad():
        assert receptive_field(lambda x: 2 * x, torch.zeros(1, 1, 2, 2), 1, 0).tolist() == [
            [[0, 0], [2, 0]]
        ]


def test_the_blind_spot_is_what_comes_before_unseen():
    field = torch.zeros(2, 3, 4)
    field[0, 0, 3] = field[1, 1, 0] = field[0, 2, 2] = 1
    assert blind_spot(field, 1, 2).int().tolist() == [
        [[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]],
        [[1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]],
    ]
