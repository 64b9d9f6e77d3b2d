"""Walks through images say what a whole pass says, whichever places they are asked for."""

from itertools import product

import pytest
import torch

from lightning_gen.networks.made import MADENetwork
from lightning_gen.networks.nade import NADENetwork
from tests.pixels import NETWORKS, network

SHAPE = (3, 3, 4)
VECTORS = {
    "NADE": lambda: NADENetwork(SHAPE, 5, hidden=5),
    "MADE": lambda: MADENetwork(SHAPE, 5, widths=(60,)),
}
ASKED = {
    "the first": (0,),
    "the first two": (0, 1),
    "the last": (2,),
    "all": (0, 1, 2),
}


def check_walk(net, places):
    """Asks for places, and writes in each pixel after it; what stood there before is something else."""
    x = torch.rand(2, *SHAPE).double() * 2 - 1
    expected, filled = net(x), torch.full_like(x, 7.0)
    walk = net.walk(filled)
    for row, column in product(range(SHAPE[1]), range(SHAPE[2])):
        for color in range(SHAPE[0]):
            if (row, column, color) in places:
                found = walk.outputs(row, column, color)
                torch.testing.assert_close(found, expected[:, :, color, row, column])
            filled[:, color, row, column] = x[:, color, row, column]


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("asked", ASKED)
def test_colours_that_are_not_asked_for_count_for_the_pixels_after(kind, asked):
    places = set(product(range(SHAPE[1]), range(SHAPE[2]), ASKED[asked]))
    check_walk(network(kind, 3, 5, width=2, first_kernel=5), places)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("seed", range(3))
def test_any_places_may_be_left_out(kind, seed):
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(SHAPE[1], SHAPE[2], SHAPE[0], generator=generator) < 0.4
    check_walk(network(kind, 3, 5, width=2), {tuple(place) for place in kept.nonzero().tolist()})


@pytest.mark.parametrize("kind", VECTORS)
@pytest.mark.parametrize("asked", ASKED)
def test_so_they_do_along_vectors(kind, asked):
    torch.manual_seed(0)
    net = VECTORS[kind]().double()
    for parameter in net.parameters():
        parameter.data.uniform_(-1, 1)
    check_walk(net, set(product(range(SHAPE[1]), range(SHAPE[2]), ASKED[asked])))


@pytest.mark.parametrize("kind", NETWORKS)
def test_without_an_order_of_colours_a_pixel_is_computed_once(kind):
    """What its features are made of stands before it, so that it does not matter what is drawn."""
    net = network(kind, 3, 5, width=2, color_order=False, outputs=4)
    x = torch.rand(2, *SHAPE).double() * 2 - 1
    expected, filled, calls = net(x), torch.full_like(x, 7.0), []
    walk = net.walk(filled)
    pixel = walk.steps.pixel
    walk.steps.pixel = lambda *args: calls.append(1) or pixel(*args)
    for row, column in product(range(SHAPE[1]), range(SHAPE[2])):
        torch.testing.assert_close(walk.outputs(row, column), expected[:, :, 0, row, column])
        filled[:, :, row, column] = x[:, :, row, column]
    assert len(calls) == SHAPE[1] * SHAPE[2]
