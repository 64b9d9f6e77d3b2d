"""What sampling costs, in counts that do not depend on the machine: FLOPs and operators."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import __main__ as benchmarks
from benchmarks import sampling
from benchmarks.sampling import CASES, Case
from lightning_gen.models.autoregressive import PixelModel
from lightning_gen.networks.causal import GatedCausalStack
from lightning_gen.nn.incremental import Walk
from lightning_gen.nn.roles import PixelNetwork
from lightning_gen.randomness import Noise
from tests.pixels import NETWORKS, network


def flops(call):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return counter.get_total_flops()


class Naive(Walk):
    """The whole network on the whole image for each sub-pixel."""

    def __init__(self, x, network):
        super().__init__(x)
        self.network = network

    def outputs(self, row, column, color=0):
        return self.network(self.x)[:, :, color, row, column]


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


@pytest.mark.parametrize(("arguments", "threads"), [([], 2), (["--threads=3"], 3)])
def test_the_benchmark_looks_at_one_thread_and_at_the_clock(
    arguments, threads, monkeypatch, capsys
):
    tiny = Case(lambda: GatedCausalStack(1, 2, 4, 1, 3, 3, 4), (1, 4, 4), (">= 0", None))
    monkeypatch.setattr(sampling, "CASES", {"tiny": tiny})
    before, counts = torch.get_num_threads(), []
    measure = sampling.compare
    monkeypatch.setattr(
        sampling, "compare", lambda *args: counts.append(torch.get_num_threads()) or measure(*args)
    )
    assert benchmarks.main(["sampling", *arguments]) == 0
    assert counts == [1, threads]
    assert torch.get_num_threads() == before
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == 4
    assert all("1 thread, CPU time" in line for line in lines[:2])
    assert all(f"{threads} threads, clock" in line for line in lines[2:])
    assert [line.split(" / ")[0].strip() for line in lines] == ["naive (16 forwards)", "tiny"] * 2


@pytest.mark.slow
def test_in_the_size_of_the_benchmark_images_are_those_of_the_naive_sampler(monkeypatch):
    """Five layers of 64 on 16x16, with weights far from even odds: a pixel that differs would spread."""
    torch.manual_seed(0)
    model = PixelModel(GatedCausalStack(1, 2, 64, 4, 3, 3, 64), (1, 16, 16)).double()
    for parameter in model.parameters():
        parameter.data.mul_(3)
    drawn = model.sample(2, noise=Noise(("test",), 2, dtype=torch.double))
    assert 0.1 < (drawn > 0).double().mean() < 0.9

    monkeypatch.setattr(GatedCausalStack, "walk", lambda network, x, labels: Naive(x, network))
    naive = model.sample(2, noise=Noise(("test",), 2, dtype=torch.double))
    assert torch.equal(naive, drawn)
