"""What sampling costs, in counts that do not depend on the machine: FLOPs and operators."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.sampling import CASES
from lightning_gen.models.autoregressive import PixelModel
from lightning_gen.nn.roles import PixelNetwork
from tests.pixels import NETWORKS, network


def flops(call):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return counter.get_total_flops()


class Operators(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.found[str(func)] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_to_sample_costs_no_more_than_a_forward_pass_per_colour(kind, channels):
    model = PixelModel(network(kind, channels, 4, width=2), (channels, 8, 8)).double()
    x = torch.zeros(2, *model.shape).double()
    once, all_pixels = flops(lambda: model.network(x)), flops(lambda: model.sample(2))
    assert 0 < all_pixels <= 1.02 * channels * once


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_naive_sampler_costs_as_much_for_each_pixel(kind, monkeypatch):
    model = PixelModel(network(kind, width=2), (1, 8, 8)).double()
    kept = flops(lambda: model.sample(2))
    monkeypatch.setattr(kind, "walk", PixelNetwork.walk)
    assert flops(lambda: model.sample(2)) > 25 * kept


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_pixel_takes_a_number_of_operators_that_only_depth_changes(kind):
    def count(depth, size, batch):
        model = PixelModel(network(kind, depth=depth), (1, size, size)).double()
        with Operators() as operators:
            model.sample(batch)
        return operators.found.total() / size**2

    few = count(1, 8, 1)
    assert few == count(1, 8, 20)
    assert few > count(1, 12, 1)  # what is done per row counts less in wider images
    assert few < 100
    assert count(2, 8, 1) - few < 50  # per layer, of which those of the BiLSTM go both ways


def test_the_benchmark_is_of_networks_that_can_be_sampled_without_computing_twice():
    for case in CASES.values():
        assert type(case.network()).walk is not PixelNetwork.walk
