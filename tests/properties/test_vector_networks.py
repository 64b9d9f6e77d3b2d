"""Networks that read images as vectors are causal, sum to one, and are their formulas."""

from math import log

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from lightning_gen.models.autoregressive import PixelModel
from lightning_gen.networks.bengio import PrivateUnitsNetwork
from lightning_gen.networks.made import MADENetwork, ManyOrdersMADE
from lightning_gen.networks.nade import NADENetwork
from lightning_gen.nn.masked import MaskedMLP
from lightning_gen.nn.prefixes import prefixes
from lightning_gen.nn.roles import PixelNetwork
from lightning_gen.optimizers import FusedAdam
from lightning_gen.randomness import Noise
from tests.pixels import bars_and_stripes, every_image, order

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


# Bengio & Bengio


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


# MADE


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
    net, x = network("MADE"), torch.rand(4, 9).double()
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


# What they can learn


def train(net, x, steps, rate):
    """Nats per image after training on `x`."""
    model = PixelModel(net, tuple(x.shape[1:]))
    optimizer = FusedAdam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        model.nll(x).mean().backward()
        optimizer.step()
        schedule.step()
    return model.double().nll(x.double()).mean().item()


LEARNS = {
    "Bengio": (lambda shape: PrivateUnitsNetwork(shape, hidden=8), 800, 2e-2),
    "NADE": (lambda shape: NADENetwork(shape, hidden=64), 1000, 3e-2),
    "MADE": (lambda shape: MADENetwork(shape, widths=(64, 64)), 800, 1e-2),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LEARNS)
def test_bars_and_stripes_are_learnt_to_their_entropy(kind):
    """Below ln 30 would be a leak."""
    make, steps, rate = LEARNS[kind]
    torch.manual_seed(0)
    assert log(30) <= train(make((1, 4, 4)), bars_and_stripes(), steps, rate) <= 3.41


@pytest.mark.slow
def test_linear_logits_cannot_learn_bars_and_stripes():
    """Newton's method finds 3.4214: of the first row's last pixel they cannot say all there is."""
    torch.manual_seed(0)
    nll = train(MADENetwork((1, 4, 4), widths=()), bars_and_stripes(), 1500, 0.3)
    assert 3.4214 <= nll <= 3.45


@pytest.mark.slow
def test_linear_logits_end_in_the_same_place_from_everywhere():
    x, found = torch.randn(40, 1, 2, 3).sign(), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = MADENetwork((1, 2, 3), widths=())
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter)
        found.append(train(net, x, 1000, 3e-2))
    assert abs(found[0] - found[1]) < 1e-3


def test_only_hidden_units_find_a_parity():
    """The third pixel is black where the first two agree."""
    x = torch.tensor([[-1, -1, -1], [-1, 1, 1], [1, -1, 1], [1, 1, -1.0]]).view(4, 1, 1, 3)
    torch.manual_seed(0)
    linear = train(MADENetwork((1, 1, 3), widths=()), x, 600, 5e-2)
    assert linear >= 3 * log(2) - 1e-9
    for make, _, _ in LEARNS.values():
        assert train(make((1, 1, 3)), x, 600, 5e-2) < 2 * log(2) + 0.05
