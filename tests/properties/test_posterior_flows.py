"""Flows of codes: their log-determinants, what they begin with, what they depend on, and back."""

import pytest
import torch

from lightning_gen.nn.flows import IAF, ContextMADE, PlanarFlows, RadialFlows

D, C, B, K = 3, 4, 5, 7
MAKERS = {
    "planar": lambda size, count: PlanarFlows(size, C, count),
    "radial": lambda size, count: RadialFlows(size, C, count),
    "gated": lambda size, count: IAF(size, C, count, (8, 8)),
    "affine": lambda size, count: IAF(size, C, count, (8, 8), gated=False),
}
KINDS = tuple(MAKERS)


def fresh(kind, count=3, size=D):
    torch.manual_seed(0)
    return MAKERS[kind](size, count).double()


def flow(kind, count=3, size=D, scale=1.0):
    """One far from the identity."""
    made = fresh(kind, count, size)
    for parameter in made.parameters():
        parameter.data.uniform_(-scale, scale)
    return made


def codes(size=D, images=B):
    return torch.randn(images, K, size, dtype=torch.double)


def contexts(images=B):
    return torch.randn(images, C, dtype=torch.double)


def jacobian(function, z):
    """Of each code, (B, k, D, D): rows are what comes out."""
    z = z.clone().requires_grad_()
    out = function(z)
    rows = [torch.autograd.grad(out[..., i].sum(), z, retain_graph=True)[0] for i in range(D)]
    return torch.stack(rows, 2)


@pytest.mark.parametrize(
    ("kind", "scale"), [("planar", 3.0), ("radial", 3.0), ("gated", 0.7), ("affine", 0.4)]
)
def test_the_log_determinant_is_that_of_the_slope(kind, scale):
    made, z, context = flow(kind, scale=scale), codes(images=40), contexts(40)
    sign, expected = torch.linalg.slogdet(jacobian(lambda z: made(z, context)[0], z))
    assert (sign == 1).all()
    found = made(z, context)[1].detach()
    assert found.shape == (40, K)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert found.abs().max() > 0.5


@pytest.mark.parametrize("kind", ["planar", "radial", "affine"])
def test_it_begins_as_the_identity(kind):
    z = codes()
    moved, log_det = fresh(kind)(z, contexts())
    torch.testing.assert_close(moved, z, rtol=0, atol=1e-14)
    torch.testing.assert_close(log_det, torch.zeros(B, K).double(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_it_leaves_the_identity_in_training(kind):
    """What begins at zero must not be where nothing has a gradient."""
    made = fresh(kind)
    moved, log_det = made(codes(), contexts())
    (moved.square().sum() - log_det.sum()).backward()
    first = {"planar": "moves", "radial": "moves"}.get(kind, "steps")
    layers = [m for n, m in made.named_modules() if n.startswith(first) and n.endswith("out")]
    for layer in layers or [made.moves]:
        assert layer.weight.grad.abs().max() > 1e-3


def test_a_gate_begins_by_shrinking_all_codes_alike():
    z, steps, bias = codes(), 3, 1.5
    made = IAF(D, C, steps, (8,), gate_bias=bias).double()
    moved, log_det = made(z, contexts())
    gate = torch.tensor(bias).double().sigmoid() ** steps
    torch.testing.assert_close(moved, gate * z)
    torch.testing.assert_close(log_det, (D * gate.log()).expand(B, K))


@pytest.mark.parametrize("kind", ["planar", "radial"])
def test_codes_come_back_from_where_they_were_moved(kind):
    """By bisection: a planar flow moves along one direction, a radial one along rays."""
    made, z, context = flow(kind, 1, scale=2.0), codes(), contexts()
    y = made(z, context)[0]
    if kind == "planar":
        start, way = y, (y - z) / torch.linalg.vector_norm(y - z, dim=-1, keepdim=True)
    else:
        start = made.centres(context)[:, None, :-1].expand_as(y)
        way = (y - start) / torch.linalg.vector_norm(y - start, dim=-1, keepdim=True)

    def beyond(t):
        """How far along the way its image is beyond y; it grows with t."""
        return ((made(start + t * way, context)[0] - y) * way).sum(-1, keepdim=True)

    low, high = torch.full_like(y[..., :1], -50.0), torch.full_like(y[..., :1], 50.0)
    low = torch.zeros_like(low) if kind == "radial" else low
    for _ in range(70):
        middle = (low + high) / 2
        far = beyond(middle) > 0
        low, high = torch.where(far, low, middle), torch.where(far, middle, high)
    torch.testing.assert_close(start + low * way, z, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", ["gated", "affine"])
def test_units_come_back_one_by_one(kind):
    """Each unit is moved as those before it say, which are back already."""
    made, z, context = flow(kind, 1), codes(), contexts()
    y, back = made(z, context)[0], torch.zeros_like(z)
    zero = torch.zeros_like(z)
    for i in range(D):
        # In its own code a step is linear: an intercept and a slope, from two points.
        other = back.clone()
        other[..., i] = 1
        at_zero, at_one = made(back, context)[0][..., i], made(other, context)[0][..., i]
        back[..., i] = (y[..., i] - at_zero) / (at_one - at_zero)
    torch.testing.assert_close(back, z, rtol=0, atol=1e-10)
    assert not torch.allclose(back, zero)


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_has_maps_of_its_own(kind):
    made, z, context = flow(kind, scale=0.5), codes(), contexts()
    moved, log_det = made(z, context)
    shuffle = torch.tensor([3, 0, 4, 1, 2])
    for a, b in zip(made(z[shuffle], context[shuffle]), (moved, log_det), strict=True):
        torch.testing.assert_close(a, b[shuffle], rtol=0, atol=1e-14)
    swapped = context.clone()
    swapped[0] += 1
    others = made(z, swapped)
    assert not torch.isclose(others[1][0], log_det[0]).any()
    assert torch.equal(others[0][1:], moved[1:])


@pytest.mark.parametrize("gated", [True, False])
def test_a_unit_sees_those_before_it_and_the_next_step_goes_the_other_way(gated):
    made = IAF(D, C, 2, (8, 8), gated=gated).double()
    for parameter in made.parameters():
        parameter.data.uniform_(-1, 1)
    z, context = codes(), contexts()
    both = jacobian(lambda z: made(z, context)[0], z)
    made.steps = made.steps[:1]
    once = jacobian(lambda z: made(z, context)[0], z)
    assert (once.triu(1) == 0).all()
    assert (once.tril(-1)[..., 1:, 0] != 0).all()
    torch.testing.assert_close(once.diagonal(dim1=-2, dim2=-1).log().sum(-1), made(z, context)[1])
    assert (both != 0).all()


def test_numbers_of_a_unit_are_from_units_before_it_and_the_whole_context():
    torch.manual_seed(0)
    network = ContextMADE(torch.tensor([2, 0, 1]), C, (8, 8)).double()
    for parameter in network.parameters():
        parameter.data.uniform_(-1, 1)
    z, context = codes(), contexts().requires_grad_()
    for number in range(2):
        slopes = jacobian(lambda z, n=number: network(z, context)[..., n], z)
        seen = (slopes != 0).flatten(0, 1).any(0)
        assert seen.tolist() == [[False, True, True], [False] * 3, [False, True, False]]
    out = network(z, context)
    for i in range(D):
        for number in range(2):
            one = torch.autograd.grad(out[..., i, number].sum(), context, retain_graph=True)[0]
            assert (one != 0).any(), "the first unit of an order, too, is told of its image"


def test_planar_flows_are_one_to_one_whatever_the_context_says():
    made = flow("planar", 2)
    z = codes()
    for size in (1.0, 30.0, 300.0):
        moved, log_det = made(z, size * contexts())
        assert moved.isfinite().all() and log_det.isfinite().all()
    made.planes.weight.data.zero_()
    made.planes.bias.data.zero_()  # w = 0, which is divided by
    context = contexts().requires_grad_()
    moved, log_det = made(z, context)
    slopes = torch.autograd.grad(moved.sum() + log_det.sum(), (context, *made.parameters()))
    assert all(slope.isfinite().all() for slope in slopes)
    assert (log_det == 0).all()


def test_a_single_unit_has_flows_too():
    for kind in KINDS:
        made, z = flow(kind, 2, size=1), codes(1).requires_grad_()
        moved, log_det = made(z, contexts())
        (slope,) = torch.autograd.grad(moved.sum(), z)
        torch.testing.assert_close(log_det, slope[..., 0].log())


def test_sizes_are_checked():
    for make in (PlanarFlows, RadialFlows, IAF):
        with pytest.raises(ValueError, match="context_size must be at least 1, got 0"):
            make(3, 0)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        IAF(3, 4, 0)
