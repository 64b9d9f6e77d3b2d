"""Every network of pixels is causal, sums to one, and sees what its architecture can see."""

import pytest
import torch

from lightning_gen.analysis.receptive_fields import blind_spot, receptive_field
from lightning_gen.models.autoregressive import PixelModel
from lightning_gen.networks.causal import GatedCausalStack, MaskedStack
from lightning_gen.networks.pixel_rnn import DiagonalBiLSTMStack, RowLSTMStack
from lightning_gen.nn import pixel_lstm
from lightning_gen.nn.causal import MaskedConv2d
from lightning_gen.nn.incremental import steps_of
from lightning_gen.nn.pixel_lstm import DiagonalBiLSTM, RowLSTM, scan, skew, unskew
from tests.pixels import NETWORKS, every_image, network, order


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("first_kernel", [3, 7])
def test_nothing_that_comes_later_changes_a_logit_by_a_bit(kind, channels, first_kernel):
    net, shape = network(kind, channels, 4, first_kernel=first_kernel), (channels, 4, 5)
    x = torch.randn(2, *shape, dtype=torch.double)
    before, places = net(x), order(shape)
    for t, (c, i, j) in enumerate(places):
        later = x.clone()
        for place in places[t:]:
            later[:, *place] = torch.randn(2)
        assert torch.equal(net(later)[:, :, c, i, j], before[:, :, c, i, j])


@pytest.mark.parametrize("kind", NETWORKS)
def test_without_an_order_of_colours_no_colour_of_its_pixel_is_seen(kind):
    net = network(kind, 3, 4, width=2, color_order=False, outputs=20)
    x = torch.randn(2, 3, 3, 4, dtype=torch.double)
    before = net(x)
    assert before.shape == (2, 20, 1, 3, 4)
    for i, j in ((0, 0), (1, 2), (2, 3)):
        later = x.clone()
        later[:, :, i, j:] = 7
        later[:, :, i + 1 :] = 7
        assert torch.equal(net(later)[..., i, j], before[..., i, j])


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_pixel_to_the_left_and_the_colours_before_change_a_logit(kind, channels):
    net, shape = network(kind, channels, 4, width=2), (channels, 3, 4)
    x = torch.randn(16, *shape, dtype=torch.double)
    before, places = net(x), order(shape)
    for t, (c, i, j) in enumerate(places):
        if (j, c) != (0, 0):
            changed = x.clone()
            changed[:, *places[t - 1]] += 1
            assert (net(changed) != before)[:, :, c, i, j].any()


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 2, 1), (3, 1, 2), (1, 2, 5)])
def test_the_likelihoods_of_all_images_sum_to_one(kind, shape):
    model = PixelModel(network(kind, shape[0], depth=1), shape).double()
    with torch.no_grad():
        total = sum((-model.nll(x)).exp().sum() for x in every_image(*shape).split(8192))
    assert abs(total.item() - 1) < 1e-10


@pytest.mark.parametrize("kind", NETWORKS)
def test_an_image_does_not_depend_on_the_others_of_its_batch(kind):
    model = PixelModel(network(kind, 3), (3, 4, 4)).double().train()
    x = torch.randn(4, 3, 4, 4).double().sign()
    once = model.nll(x)
    torch.testing.assert_close(model.nll(torch.cat([x, x])), once.repeat(2))
    torch.testing.assert_close(model.nll(torch.cat([x[:1], -x]))[:1], once[:1])


@pytest.mark.parametrize("kind", NETWORKS)
def test_an_image_that_is_cut_below_a_row_has_the_same_logits_above(kind):
    net, x = network(kind), torch.randn(2, 1, 5, 4).double()
    torch.testing.assert_close(net(x[:, :, :3]), net(x)[..., :3, :], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [MaskedStack, GatedCausalStack])
def test_away_from_the_borders_logits_move_with_the_image(kind):
    """Within two layers of 3x3 after one of 5x5, up to six pixels from the borders they may not."""
    net, x = network(kind, 3, 4, width=2, first_kernel=5), torch.randn(2, 3, 13, 15).double()
    here, moved = net(x[..., :12, :13]), net(x[..., 1:, 2:])
    torch.testing.assert_close(here[..., 7:, 8:-4], moved[..., 6:-1, 6:-6], rtol=0, atol=1e-12)
    assert not torch.allclose(here[..., 1:, 2:], moved[..., :-1, :-2])


# What is seen, around the pixel (8, 7) of images 15x15, before which there are 127 pixels


def unseen(net):
    """The pixels before (8, 7) that never change its logits, and how many others do."""
    field = receptive_field(net, torch.randn(8, 1, 15, 15, dtype=torch.double), 8, 7)
    missed = [(row, column) for _, row, column in blind_spot(field, 8, 7).nonzero().tolist()]
    return missed, int((field.flatten()[8 * 15 + 7 :] != 0).sum())


BLIND_SPOTS = [  # network, what it cannot see, the last column seen in the row above
    ((MaskedStack, 6, 3, {}), 36, 8),  # 21 in the blind spot; the first row is too far
    ((MaskedStack, 10, 3, {}), 21, 8),
    ((MaskedStack, 15, 3, {}), 21, 8),
    ((MaskedStack, 10, 5, {}), 15, 9),
    ((MaskedStack, 6, 7, {}), 10, 10),
    ((MaskedStack, 3, 7, {"kernel": 7}), 5, 10),
    ((GatedCausalStack, 8, 3, {}), 0, 14),
    ((RowLSTMStack, 1, 3, {}), 36, 8),
    ((RowLSTMStack, 4, 3, {}), 24, 8),
    ((DiagonalBiLSTMStack, 1, 3, {}), 1, 13),
    ((DiagonalBiLSTMStack, 1, 7, {}), 1, 13),
]


@pytest.mark.parametrize(("which", "missed", "last"), BLIND_SPOTS)
def test_blind_spots_are_those_of_the_architectures(which, missed, last):
    kind, depth, first_kernel, kwargs = which
    found, leaks = unseen(network(kind, 1, 2, depth, first_kernel, width=4, **kwargs))
    assert leaks == 0
    assert len(found) == missed
    assert max(set(range(15)) - {column for row, column in found if row == 7}) == last


def test_the_diagonals_miss_the_last_pixel_of_the_row_above_and_no_other():
    assert unseen(network(DiagonalBiLSTMStack, depth=1, width=4)) == ([(7, 14)], 0)
    assert unseen(network(DiagonalBiLSTMStack, depth=3, width=4)) == ([(7, 14)], 0)


def test_a_first_layer_that_reaches_the_edge_leaves_the_diagonals_no_blind_spot():
    net = network(DiagonalBiLSTMStack, depth=1, first_kernel=7, width=4)
    field = receptive_field(net, torch.randn(8, 1, 5, 5, dtype=torch.double), 3, 2)
    assert ((field.flatten() != 0) == (torch.arange(25) < 17)).all()


@pytest.mark.parametrize(("kind", "filled"), [(MaskedStack, 34), (GatedCausalStack, 36)])
def test_of_the_36_pairs_of_pixels_3x3_masks_miss_two(kind, filled):
    net = network(kind, depth=4, width=4)
    x = torch.randn(16, 1, 3, 3, dtype=torch.double, requires_grad=True)
    logits = net(x)[:, 1, 0].flatten(1)
    rows = [torch.autograd.grad(logits[:, t].sum(), x, retain_graph=True)[0] for t in range(9)]
    jacobian = (torch.stack(rows) != 0).any(1).flatten(1)
    assert int(jacobian.sum()) == filled
    assert not jacobian.triu().any()
    if kind is MaskedStack:
        assert not jacobian[3, 2]  # the end of the row above, from a row's begin
        assert not jacobian[6, 5]


# Layers


@pytest.mark.parametrize("strict", [True, False])
def test_masks_keep_what_is_above_and_to_the_left(strict):
    mask = MaskedConv2d(3, 3, 2, colors=3, strict=strict).mask
    assert (mask[:, :, :2] == 1).all()
    assert (mask[:, :, 2, :2] == 1).all()
    assert (mask[:, :, 2, 3:] == 0).all()
    below = torch.ones(3, 3).tril(-1 if strict else 0)  # row: predicted colour
    assert torch.equal(mask[:, :, 2, 2], below)
    gray = MaskedConv2d(1, 1, 1, strict=strict).mask[0, 0]
    assert gray.tolist() == [[1, 1, 1], [1, 0 if strict else 1, 0]]


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1, 4), (4, 1)])
def test_skewing_moves_each_row_by_its_number_and_back(shape):
    x = torch.randn(2, *shape)
    skewed = skew(x)
    assert skewed.shape == (2, shape[0], shape[0] + shape[1] - 1)
    for row in range(shape[0]):
        assert torch.equal(skewed[:, row, row : row + shape[1]], x[:, row])
        assert (skewed[:, row, :row] == 0).all()
        assert (skewed[:, row, row + shape[1] :] == 0).all()
    assert torch.equal(unskew(skewed, shape[1]), x)


def by_hand(gates, weight, neighbours, height, width):
    """Pixel by pixel. Neighbours are (row, column) offsets, of which the last gives c."""
    hidden = weight.shape[1] // 4
    h, c = {}, {}
    zero = torch.zeros(len(gates), hidden, dtype=gates.dtype)
    for i in range(height):
        for j in range(width):
            seen = [h.get((i + di, j + dj), zero) for di, dj, _ in neighbours]
            o, f, n, g = (gates[:, :, i, j] + torch.cat(seen, 1) @ weight).chunk(4, 1)
            (last,) = [c.get((i + di, j + dj), zero) for di, dj, own in neighbours if own]
            c[i, j] = f.sigmoid() * last + n.sigmoid() * g.tanh()
            h[i, j] = o.sigmoid() * c[i, j].tanh()
    return torch.stack([h[i, j] for i in range(height) for j in range(width)], 2).unflatten(
        2, (height, width)
    )


@pytest.mark.parametrize("shape", [(4, 5), (5, 3)])
def test_the_row_lstm_is_its_equations(shape):
    torch.manual_seed(0)
    layer, x = RowLSTM(4, 3).double(), torch.randn(2, 4, *shape, dtype=torch.double)
    three = [(-1, -1, False), (-1, 0, True), (-1, 1, False)]
    torch.testing.assert_close(layer(x), by_hand(layer.input(x), layer.state[0], three, *shape))


@pytest.mark.parametrize("shape", [(4, 5), (5, 3)])
def test_the_diagonal_bilstm_is_its_equations(shape):
    """Also that nothing comes in from outside of the image, where skewed rows begin and end."""
    torch.manual_seed(0)
    layer, x = DiagonalBiLSTM(4, 3).double(), torch.randn(2, 4, *shape, dtype=torch.double)
    rightwards, leftwards = layer.input(x).chunk(2, 1)
    two = [(-1, 0, False), (0, -1, True)]
    there = by_hand(rightwards, layer.state[0], two, *shape)
    back = by_hand(leftwards.flip(3), layer.state[1], two, *shape).flip(3)
    expected = there.clone()
    expected[:, :, 1:] += back[:, :, :-1]
    torch.testing.assert_close(layer(x), expected)


def test_a_scan_takes_a_step_per_line_not_per_pixel(monkeypatch):
    calls = []
    monkeypatch.setattr(
        pixel_lstm, "cell", lambda *args, cell=pixel_lstm.cell: calls.append(1) or cell(*args)
    )
    RowLSTM(2, 2)(torch.randn(3, 2, 5, 7))
    assert len(calls) == 5
    DiagonalBiLSTM(2, 2)(torch.randn(3, 2, 5, 7))
    assert len(calls) == 5 + 5 + 7 - 1
    assert scan(torch.zeros(4, 1, 2, 3, 8), torch.zeros(1, 6, 8), (1, 1)).shape == (4, 1, 2, 3, 2)


@pytest.mark.parametrize(
    ("kind", "arguments", "sentence"),
    [
        (MaskedStack, {"width": 7}, "width must be a multiple of 2, got 7"),
        (MaskedStack, {"channels": 3, "width": 9, "head": 3}, "width must be a multiple of 6"),
        (MaskedStack, {"kernel": 2}, "kernel must be odd and at least 3, got 2"),
        (MaskedStack, {"depth": -1}, "depth must not be negative"),
        (MaskedStack, {"outputs": 0}, "outputs must be at least 1, got 0"),
        (RowLSTMStack, {"levels": 1}, "levels must be from 2 to 256, got 1"),
        (RowLSTMStack, {"hidden": 0}, "hidden must be at least 1, got 0"),
        (DiagonalBiLSTMStack, {"channels": 3, "head": 9}, "hidden must be a multiple of the 3"),
        (DiagonalBiLSTMStack, {"first_kernel": 1}, "first_kernel must be odd"),
    ],
)
def test_bad_arguments_are_refused(kind, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        kind(**arguments)


def test_a_layer_that_does_not_say_what_it_keeps_is_refused():
    x = torch.zeros(1, 1, 4, 4)
    for layer in (torch.nn.Conv2d(1, 1, 3, padding=1), torch.nn.BatchNorm2d(1)):
        with pytest.raises(TypeError, match="does not say what it keeps of other pixels"):
            steps_of(torch.nn.Sequential(torch.nn.ReLU(), layer), x)


def test_a_chain_may_begin_with_what_treats_each_pixel_alone():
    chain = torch.nn.Sequential(
        torch.nn.Tanh(), torch.nn.Conv2d(1, 4, 1), MaskedConv2d(4, 2, strict=True)
    ).double()
    x = torch.randn(3, 1, 4, 5).double()
    expected, steps = chain(x), steps_of(chain, x)
    for i in range(4):
        steps.row()
        for j in range(5):
            found = steps.pixel(j, torch.full((3, 1), 7.0).double())  # which is not known yet
            torch.testing.assert_close(found, expected[:, :, i, j])
            steps.keep(j, x[:, :, i, j])
