"""An autoregressive network sees all that came before, nothing else, and so sums to one."""

from itertools import product

import pytest
import torch

from lightning_gen.analysis.receptive_fields import receptive_field
from lightning_gen.models.autoregressive import PixelModel
from lightning_gen.networks.causal import GatedCausalStack
from lightning_gen.nn.causal import GatedActivation, GatedCausalLayer, RowCausalConv2d
from tests.pixels import every_image, order


def network(channels=1, levels=2, width=None, depth=2, kernel=3, first_kernel=3, **kwargs):
    torch.manual_seed(0)
    width = 4 * channels if width is None else width
    made = GatedCausalStack(
        channels, levels, width, depth, kernel, first_kernel, head=width, **kwargs
    ).double()
    for parameter in made.parameters():  # far from even odds, classes included
        parameter.data.uniform_(-1, 1)
    return made


@pytest.mark.parametrize("shape", [(1, 3, 3), (1, 2, 4), (3, 2, 1), (3, 1, 2), (2, 1, 3)])
@pytest.mark.parametrize("classes", [None, 3])
def test_the_likelihoods_of_all_images_sum_to_one(shape, classes):
    model = PixelModel(network(shape[0], num_classes=classes), shape).double()
    x = every_image(*shape)
    for label in range(classes or 1):
        total = (-model.nll(x, torch.full((len(x),), label))).exp().sum().item()
        assert abs(total - 1) < 1e-10


def test_the_likelihoods_of_all_gray_images_sum_to_one():
    model = PixelModel(network(levels=5), (1, 2, 2)).double()
    values = torch.linspace(-1, 1, 5).double()
    x = torch.cartesian_prod(values, values, values, values).view(-1, 1, 2, 2)
    assert abs((-model.nll(x)).exp().sum().item() - 1) < 1e-10


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "first_kernel"), [(3, 3), (3, 7), (5, 5)])
def test_nothing_that_comes_later_changes_a_logit_by_a_bit(channels, kernel, first_kernel):
    net = network(channels, levels=4, kernel=kernel, first_kernel=first_kernel)
    shape = (channels, 4, 5)
    x = torch.randn(3, *shape, dtype=torch.double)
    before = net(x)
    places = order(shape)
    for t, (c, i, j) in enumerate(places):
        later = x.clone()
        for place in places[t:]:
            later[:, *place] = torch.randn(3)
        assert torch.equal(net(later)[:, :, c, i, j], before[:, :, c, i, j])


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_every_sub_pixel_before_it_changes_a_logit(channels):
    net = network(channels, depth=3, width=8 * channels)
    shape = (channels, 4, 4)
    x = torch.randn(16, *shape, dtype=torch.double)  # as in one image alone units may be dead
    before, places = net(x), order(shape)
    for t, place in enumerate(places):
        changed = x.clone()
        changed[:, *place] += 1
        differs = (net(changed) != before).any(0).any(0)
        assert all(differs[later] for later in places[t + 1 :])


@pytest.mark.parametrize("first_kernel", [3, 7])
def test_there_is_neither_leak_nor_blind_spot(first_kernel):
    net = network(levels=2, depth=8, first_kernel=first_kernel)
    field = receptive_field(net, torch.randn(8, 1, 15, 15, dtype=torch.double), 8, 7)
    assert torch.equal(field.flatten() != 0, torch.arange(15 * 15) < 8 * 15 + 7)


def test_the_vertical_stack_sees_whole_rows_down_to_its_own():
    layer = GatedCausalLayer(2, 4, reach=1, first=True).double()
    v = torch.randn(1, 2, 6, 7, dtype=torch.double, requires_grad=True)
    above, _ = layer(v, torch.randn(1, 2, 6, 7).double())
    (gradient,) = torch.autograd.grad(above[:, :, 3, 3].sum(), v)
    seen = gradient[0, 0] != 0
    expected = torch.zeros(6, 7, dtype=torch.bool)
    expected[2:4, 2:5] = True
    assert torch.equal(seen, expected)


def test_the_horizontal_stack_is_fed_the_rows_strictly_above():
    layer = GatedCausalLayer(4, 4, reach=1).double()
    v = torch.randn(1, 4, 6, 7, dtype=torch.double, requires_grad=True)
    _, h = layer(v, torch.randn(1, 4, 6, 7).double())
    (gradient,) = torch.autograd.grad(h[:, :, 3, 3].sum(), v)
    expected = torch.zeros(6, 7, dtype=torch.bool)
    expected[1:3, 2:5] = True
    assert torch.equal(gradient[0, 0] != 0, expected)


def test_the_first_layer_has_no_residual_and_the_others_have():
    first, later = GatedCausalLayer(4, 4, first=True), GatedCausalLayer(4, 4)
    x = torch.randn(1, 4, 3, 3)
    for layer, expected in ((first, torch.zeros_like(x)), (later, x)):
        layer.out.weight.data.zero_()
        layer.out.bias.data.zero_()
        torch.testing.assert_close(layer(x, x)[1], expected)


@pytest.mark.parametrize("strict", [True, False])
def test_masks_hide_the_own_colour_in_the_first_layer_only(strict):
    conv = RowCausalConv2d(6, 9, reach=1, colors=3, strict=strict)
    left, centre = conv.mask.unbind(-1)
    assert (left == 1).all()
    for out, in_ in product(range(9), range(6)):
        kept = in_ % 3 < out % 3 if strict else in_ % 3 <= out % 3
        assert centre[out, in_, 0] == kept


def test_halves_of_the_gate_keep_the_colours():
    """Channel f of 2p goes to channel f mod p, whose colour is the same as p has whole groups."""
    x = torch.zeros(1, 12, 1, 1)
    x[:, 2] = 5
    x[:, 8] = 5
    assert (GatedActivation()(x).flatten() != 0).nonzero().flatten().tolist() == [2]


def test_an_image_does_not_depend_on_the_others_of_its_batch():
    model = PixelModel(network(3), (3, 4, 4)).double().train()
    x = torch.randn(4, 3, 4, 4).double().sign()
    once = model.nll(x)
    torch.testing.assert_close(model.nll(torch.cat([x, x])), once.repeat(2))
    torch.testing.assert_close(model.nll(torch.cat([x[:1], -x]))[:1], once[:1])


def test_classes_without_effect_are_no_classes():
    plain, conditional = network(), network(num_classes=3)
    conditional.load_state_dict(plain.state_dict(), strict=False)
    x, labels = every_image(1, 3, 3)[::37], torch.zeros(14, dtype=torch.long)
    assert not torch.equal(conditional(x, labels), plain(x))
    for layer in (conditional.first, *conditional.layers):
        layer.shift.weight.data.zero_()
    assert torch.equal(conditional(x, labels), plain(x))
    fresh = GatedCausalStack(1, 2, 4, 1, num_classes=3, head=4)
    assert all((layer.shift.weight == 0).all() for layer in (fresh.first, *fresh.layers))


def test_classes_shift_both_stacks_of_every_layer():
    net = network(num_classes=3)
    x, labels = torch.randn(2, 1, 3, 3).double(), torch.tensor([0, 2])
    net(x, labels).sum().backward()
    for layer in (net.first, *net.layers[:-1]):
        gradient = layer.shift.weight.grad
        assert (gradient[[0, 2]] != 0).all()
        assert (gradient[1] == 0).all()
