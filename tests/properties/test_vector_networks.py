"""Networks that read images as vectors are causal, sum to one, and are their formulas."""

from math import log

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from lightning_gen.models.autoregressive import PixelModel
from lightning_gen.networks.bengio import PrivateUnitsNetwork
from lightning_gen.networks.made import MADENetwork
from lightning_gen.networks.nade import NADENetwork
from lightning_gen.nn.masked import MaskedMLP
from lightning_gen.nn.prefixes import prefixes
from lightning_gen.nn.roles import PixelNetwork
from lightning_gen.randomness import Noise
from tests.pixels import every_image, order

KINDS = {
    "FVSBN": lambda *size: MADENetwork(*size, widths=()),
    "Bengio": lambda *size: PrivateUnitsNetwork(*size, hidden=3),
    "Bengio, direct": lambda *size: PrivateUnitsNetwork(*size, hidden=3, direct=True),
    "NADE": lambda *size: NADENetwork(*size, hidden=5),
    "MADE": lambda *size: MADENetwork(*size, widths=(60, 80)),
    "MADE, direct": lambda *size: MADENetwork(*size, widths=(23,), direct=True),
}


def network(kind, shape=(1, 3, 3), levels=2):
    torch.manual_seed(0)
    made = KINDS[kind](shape, levels).double()
    for parameter in made.parameters():  # far from even odds
        parameter.data.uniform_(-1, 1)
    return made


def noise(count, *key):
    return Noise(("test", *key), count, dtype=torch.double)


# What all of them promise


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_that_comes_later_changes_a_logit_by_a_bit(kind, channels):
    shape = (channels, 4, 5)
    net, x = network(kind, shape, 4), torch.randn(2, *shape, dtype=torch.double)
    before, places = net(x), order(shape)
    for t, (c, i, j) in enumerate(places):
        later = x.clone()
        for place in places[t:]:
            later[:, *place] = torch.randn(2)
        assert torch.equal(net(later)[:, :, c, i, j], before[:, :, c, i, j])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_sub_pixel_before_it_changes_a_logit(kind, channels):
    shape = (channels, 3, 3)
    net, x = network(kind, shape), torch.randn(64, *shape, dtype=torch.double)
    before, places = net(x), order(shape)
    for t, place in enumerate(places):
        changed = x.clone()
        changed[:, *place] += 1
        differs = (net(changed) != before).any(0).any(0)
        assert all(differs[later] for later in places[t + 1 :])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 2, 1), (3, 1, 2), (1, 1, 1)])
def test_the_likelihoods_of_all_images_sum_to_one(kind, shape):
    model = PixelModel(network(kind, shape), shape).double()
    with torch.no_grad():
        total = (-model.nll(every_image(*shape))).exp().sum().item()
    assert abs(total - 1) < 1e-10


@pytest.mark.parametrize("kind", KINDS)
def test_the_likelihoods_of_all_gray_images_sum_to_one(kind):
    model = PixelModel(network(kind, (1, 2, 2), 5), (1, 2, 2)).double()
    values = torch.linspace(-1, 1, 5).double()
    x = torch.cartesian_prod(values, values, values, values).view(-1, 1, 2, 2)
    assert abs((-model.nll(x)).exp().sum().item() - 1) < 1e-10


@pytest.mark.parametrize("kind", KINDS)
def test_even_odds_cost_one_bit_per_pixel(kind):
    """Were probabilities taken for logits, they would cost more."""
    net = network(kind)
    for parameter in net.parameters():
        parameter.data.zero_()
    nll = PixelModel(net, (1, 3, 3)).double().nll(every_image(1, 3, 3))
    torch.testing.assert_close(nll, torch.full_like(nll, 9 * log(2)))


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_is_cut_below_a_row_has_the_same_logits_above(kind):
    net, x = network(kind, (3, 5, 4)), torch.randn(2, 3, 5, 4).double()
    torch.testing.assert_close(net(x[:, :, :3]), net(x)[..., :3, :], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "levels"), [((1, 4, 5), 2), ((3, 2, 3), 7)])
def test_samples_and_completions_are_those_of_whole_passes(kind, shape, levels, monkeypatch):
    model = PixelModel(network(kind, shape, levels), shape).double()
    x = torch.randint(levels, (6, *shape)) * (2.0 / (levels - 1)) - 1
    known = torch.rand(shape[1:]) < 0.4
    drawn = model.sample(6, noise=noise(6)), model.complete(x.double(), known, noise=noise(6))
    monkeypatch.setattr(type(model.network), "walk", PixelNetwork.walk)
    naive = model.sample(6, noise=noise(6)), model.complete(x.double(), known, noise=noise(6))
    assert torch.equal(drawn[0], naive[0])
    assert torch.equal(drawn[1], naive[1])
    assert torch.equal(drawn[1][..., known], x.double()[..., known])


@pytest.mark.parametrize("kind", KINDS)
def test_sampling_takes_no_more_operations_than_one_pass(kind, monkeypatch):
    model = PixelModel(network(kind, (1, 6, 6)), (1, 6, 6)).double()
    with torch.no_grad(), FlopCounterMode(display=False) as whole:
        model.network(torch.zeros(5, 1, 6, 6).double())
    monkeypatch.setattr(type(model.network), "forward", None)
    with FlopCounterMode(display=False) as walked:
        model.sample(5)
    assert walked.get_total_flops() <= whole.get_total_flops()


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_another_shape_are_refused(kind):
    with pytest.raises(ValueError, match="for images of shape"):
        network(kind)(torch.zeros(2, 1, 4, 4).double())
    with pytest.raises(ValueError, match="levels must be from 2 to 256, got 1"):
        KINDS[kind]((1, 3, 3), 1)


# FVSBN


def test_a_network_without_hidden_layers_is_a_logistic_regression_per_sub_pixel():
    net, x = network("FVSBN"), every_image(1, 3, 3)
    values, layer = (x.flatten(1) + 1) / 2, net.layers.out
    expected = torch.zeros(512, dtype=torch.double)
    for i in range(9):
        logit = layer.bias[i] + values[:, :i] @ layer.weight[i, :i]
        expected += F.binary_cross_entropy_with_logits(logit, values[:, i], reduction="none")
    torch.testing.assert_close(PixelModel(net, (1, 3, 3)).nll(x), expected)


def test_weights_on_what_comes_later_have_neither_effect_nor_gradient():
    net = network("FVSBN")
    net(torch.randn(8, 1, 3, 3).double()).square().sum().backward()
    gradient = net.layers.out.weight.grad
    assert torch.equal(gradient != 0, torch.ones(9, 9).tril(-1).bool())


def test_the_order_may_be_permuted_with_the_data():
    places = torch.randperm(6)[None]
    plain, permuted = MaskedMLP(torch.arange(6)[None]).double(), MaskedMLP(places).double()
    with torch.no_grad():
        permuted.out.weight.copy_(plain.out.weight[places[0]][:, places[0]])
        permuted.out.bias.copy_(plain.out.bias[places[0]])
    x = torch.randn(4, 6).double()
    torch.testing.assert_close(permuted(x[:, places[0]]), plain(x)[:, places[0]])


def test_where_the_loss_is_least_the_marginal_of_the_first_sub_pixel_is_its_mean():
    net, x = network("FVSBN"), every_image(1, 3, 3)[::7]
    nll = PixelModel(net, (1, 3, 3)).nll(x).mean()
    (gradient,) = torch.autograd.grad(nll, net.layers.out.bias)
    mean = (x[:, 0, 0, 0] > 0).double().mean()
    torch.testing.assert_close(gradient[0], net.layers.out.bias[0].sigmoid() - mean)


def test_a_belief_network_of_mnist_has_307720_connections():
    layer = MADENetwork((1, 28, 28), 2, ()).layers.out
    assert int(layer.mask.sum()) + layer.bias.numel() == 784 * 783 // 2 + 784 == 307_720


# Bengio & Bengio


def test_private_units_have_the_parameters_that_the_paper_counts():
    net, size, hidden = PrivateUnitsNetwork((1, 4, 7), hidden=8, direct=True), 28, 8
    pairs = size * (size - 1) // 2
    assert int(net.units.mask.sum()) == hidden * pairs
    assert net.units.bias.numel() == net.weight.numel() == hidden * size
    assert int(net.direct.mask.sum()) == pairs
    everything = sum(parameter.numel() for parameter in net.parameters())
    assert everything == hidden * size**2 + 2 * hidden * size + size + size**2 + size


def test_hidden_units_belong_to_one_sub_pixel_and_see_those_before_it():
    net = network("Bengio")
    x = torch.randn(16, 9, dtype=torch.double, requires_grad=True)
    for unit, column in enumerate(net.units(x).unbind(1)):
        (gradient,) = torch.autograd.grad(column.sum(), x, retain_graph=True)
        assert torch.equal((gradient != 0).any(0), torch.arange(9) < unit // 3)
    for i in range(9):
        (gradient,) = torch.autograd.grad(net.logits(x)[:, i].sum(), net.units.bias)
        assert torch.equal(gradient != 0, torch.arange(27) // 3 == i)


def test_direct_links_alone_are_an_fvsbn():
    private, linear = network("Bengio, direct"), network("FVSBN")
    private.weight.data.zero_()
    private.bias.data.zero_()
    private.direct.load_state_dict(linear.layers.out.state_dict())
    x = every_image(1, 3, 3)
    torch.testing.assert_close(private(x), linear(x))


# NADE


def test_nade_is_the_product_rule_place_by_place():
    net, x = network("NADE"), every_image(1, 3, 3)
    values = (x.flatten(1) + 1) / 2
    expected = torch.zeros(512, dtype=torch.double)
    for i in range(9):
        h = (net.hidden_bias + values[:, :i] @ net.weight_in[:i]).sigmoid()
        logit = net.bias[i, 0] + h @ net.weight_out[i, :, 0]
        expected += F.binary_cross_entropy_with_logits(logit, values[:, i], reduction="none")
    nll = PixelModel(net, (1, 3, 3)).nll(x)
    torch.testing.assert_close(nll, expected, rtol=0, atol=1e-10)


def test_the_order_of_nade_may_be_permuted_with_the_data():
    """If the weights go with their sub-pixels, it is the product rule along that order."""
    net, x, size = network("NADE"), every_image(1, 3, 3), 9
    sub_pixels = torch.randperm(size, generator=torch.Generator().manual_seed(5))
    values, expected = (x.flatten(1) + 1) / 2, torch.zeros(512, dtype=torch.double)
    for place, i in enumerate(sub_pixels.tolist()):
        before = sub_pixels[:place]
        h = (net.hidden_bias + values[:, before] @ net.weight_in[before]).sigmoid()
        logit = net.bias[i, 0] + h @ net.weight_out[i, :, 0]
        expected += F.binary_cross_entropy_with_logits(logit, values[:, i], reduction="none")
    with torch.no_grad():
        for parameter in (net.weight_in, net.weight_out, net.bias):
            parameter.copy_(parameter[sub_pixels])
    permuted = x.flatten(1)[:, sub_pixels].view(x.shape)
    nll = PixelModel(net, (1, 3, 3)).nll(permuted)
    torch.testing.assert_close(nll, expected, rtol=0, atol=1e-10)


def test_the_last_input_of_nade_has_no_gradient():
    net = network("NADE")
    net(torch.rand(4, 1, 3, 3).double()).square().sum().backward()
    assert torch.equal((net.weight_in.grad != 0).all(1), torch.arange(9) < 8)
    assert not net.weight_in.grad[8].any()


def test_the_gradient_of_nade_is_that_of_finite_differences():
    net, x = network("NADE", (1, 2, 5)), torch.rand(2, 10).double()
    parameters = dict(net.named_parameters())
    inputs = [parameter.detach().requires_grad_() for parameter in parameters.values()]

    def logits(x, *values):
        return torch.func.functional_call(_Logits(net), _named(parameters, values), (x,))

    assert torch.autograd.gradcheck(logits, (x.requires_grad_(), *inputs))


class _Logits(torch.nn.Module):
    """`logits` as the forward pass."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net.logits(x)


def _named(parameters, values):
    return {f"net.{name}": value for name, value in zip(parameters, values, strict=True)}


@pytest.mark.parametrize("size", [(13,), (13, 2)])
@pytest.mark.parametrize("block", [1, 4, 13, 20])
def test_prefixes_are_cumulative_sums(size, block):
    x, weight = torch.randn(3, *size).double(), torch.randn(*size, 6).double()
    bias = torch.randn(6).double()
    products = x[..., None] * weight
    products = products if len(size) == 1 else products.sum(2)
    expected = bias + products.cumsum(1) - products
    found = torch.cat([sums for _, sums in prefixes(x, weight, bias, block)], 1)
    torch.testing.assert_close(found, expected)
