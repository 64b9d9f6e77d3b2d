"""Flows of maps: what each number depends on, their slopes, what they begin with."""

import pytest
import torch

from lightning_gen.nn.conv_flows import ConvIAF

SHAPE, CONTEXT, B = (2, 3, 3), 4, 3
SIZE = 18


def flow(steps=1, depth=1, width=5, scale=0.6, shape=SHAPE):
    torch.manual_seed(0)
    made = ConvIAF(shape[0], CONTEXT, width, depth, steps).double()
    for parameter in made.parameters():
        parameter.data.uniform_(-scale, scale)
    for step in made.steps:  # whose numbers are made small
        step.out.weight.data *= 4
    return made


def codes(shape=SHAPE):
    return torch.randn(B, *shape, dtype=torch.double)


def contexts(shape=SHAPE):
    return torch.randn(B, CONTEXT, *shape[1:], dtype=torch.double)


def raster(x):
    """Maps (B, maps, H, W) in the order of the flow, (B, D)."""
    return x.permute(0, 2, 3, 1).flatten(1)


def jacobian(function, z):
    """(B, D, D), rows and columns in the order of the flow."""
    z = z.clone().requires_grad_()
    out = raster(function(z))
    rows = [torch.autograd.grad(out[:, i].sum(), z, retain_graph=True)[0] for i in range(SIZE)]
    return torch.stack([raster(row) for row in rows], 1)


@pytest.mark.parametrize(("steps", "depth"), [(1, 1), (1, 3), (2, 1), (3, 2)])
def test_the_slopes_are_those_of_the_map(steps, depth):
    made, z, context = flow(steps, depth), codes(), contexts()
    sign, expected = torch.linalg.slogdet(jacobian(lambda z: made(z, context)[0], z))
    assert (sign == 1).all()
    log_slopes = made(z, context)[1]
    assert log_slopes.shape == z.shape
    torch.testing.assert_close(log_slopes.sum((1, 2, 3)), expected, rtol=1e-10, atol=1e-10)
    assert expected.abs().max() > 0.1


@pytest.mark.parametrize("depth", [1, 2])
def test_a_number_is_moved_by_those_before_it_across_maps_and_places(depth):
    made, z, context = flow(1, depth), codes(), contexts()
    for number in (0, 1):  # m and s
        said = jacobian(lambda z, n=number: made.steps[0](z, context)[n], z)
        assert (said.triu() == 0).all()
        for place in range(9):  # the second map sees the first at the same place
            assert (said[:, 2 * place + 1, 2 * place] != 0).all()
        for place in (1, 2, 4, 5, 7, 8):  # and both maps see both to the left
            assert (said[:, 2 * place : 2 * place + 2, 2 * place - 2 : 2 * place] != 0).all()
        for place in range(3, 9):  # and above
            assert (said[:, 2 * place : 2 * place + 2, 2 * place - 6 : 2 * place - 4] != 0).all()
    once = jacobian(lambda z: made(z, context)[0], z)
    assert (once.triu(1) == 0).all()
    slopes = once.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(slopes.log(), raster(made(z, context)[1]))


def test_the_next_step_goes_the_other_way_so_that_all_depend_on_all():
    shape = (2, 2, 2)
    made, z, context = flow(2, shape=shape), codes(shape).requires_grad_(), contexts(shape)
    out = made(z, context)[0].flatten(1)
    for i in range(8):
        assert (torch.autograd.grad(out[:, i].sum(), z, retain_graph=True)[0] != 0).all()
    made = flow(2)
    made.steps[0].out.weight.data.zero_()
    made.steps[0].out.bias.data.zero_()
    back = jacobian(lambda z: made(z, contexts())[0], codes())
    assert (back.tril(-1) == 0).all() and (back.triu(1) != 0).any()


def test_each_number_hears_the_context_at_its_place_the_first_one_too():
    made, z, context = flow(), codes(), contexts().requires_grad_()
    for said in made.steps[0](z, context):
        for i in range(3):
            for j in range(3):
                for k in range(2):
                    one = said[:, k, i, j].sum()
                    slope = torch.autograd.grad(one, context, retain_graph=True)[0]
                    assert (slope[:, :, i, j] != 0).all()


def test_each_step_hears_the_context_where_it_is_and_on_its_own_way():
    """The second one hears what comes later, and nothing of what came before."""
    z, context = codes(), contexts().requires_grad_()
    for own in range(2):
        made = flow(2)
        for parameter in made.steps[1 - own].out.parameters():
            parameter.data.zero_()
        out = made(z, context)[0]
        for place in range(9):
            one = out[:, 0].flatten(1)[:, place].sum()
            slope = torch.autograd.grad(one, context, retain_graph=True)[0].flatten(2)
            assert (slope[..., place] != 0).all()
            others = slope[..., place + 1 :] if own == 0 else slope[..., :place]
            assert (others == 0).all()


def test_it_begins_as_the_identity_and_leaves_it_in_training():
    made, z, context = ConvIAF(2, CONTEXT, 5, 2, 2).double(), codes(), contexts()
    moved, log_slopes = made(z, context)
    assert torch.equal(moved, z) and (log_slopes == 0).all()
    (moved.square().sum() - log_slopes.sum()).backward()
    for step in made.steps:
        assert step.out.weight.grad.abs().max() > 1e-4


def test_numbers_come_back_one_by_one():
    made, z, context = flow(), codes(), contexts()
    y, back = made(z, context)[0], torch.zeros_like(z)
    for i in range(3):
        for j in range(3):
            for k in range(2):
                m, s = made.steps[0](back, context)
                at = (slice(None), k, i, j)
                back[at] = y[at] * s[at].exp() + m[at]
    torch.testing.assert_close(back, z)


def test_sizes_are_checked_and_widths_rounded_up():
    assert ConvIAF(4, 3, 6).steps[0].first.out_channels == 8
    assert ConvIAF(4, 3, 8).steps[0].first.out_channels == 8
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        ConvIAF(4, 3, 8, 0)
