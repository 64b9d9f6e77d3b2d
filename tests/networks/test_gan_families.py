"""What all generators and discriminators promise, whatever their options."""

import copy

import pytest
import torch
from torch import nn

from lightning_gen.networks.spatial import PatchDiscriminator

from .families import (
    CLASSES,
    DISCRIMINATORS,
    GENERATORS,
    UNCONDITIONAL,
    WITHOUT_HEAD,
    built,
    cases,
    inputs_of,
)

ALL = {f"G {k}": v for k, v in cases(GENERATORS).items()} | {
    f"D {k}": v for k, v in cases(DISCRIMINATORS).items()
}
OF_ONE_IMAGE = {k: v for k, v in ALL.items() if "minibatch" not in k}
WITH_LABELS = {k: v for k, v in ALL.items() if k.endswith("conditional")}
AUTOENCODERS = {"D strided", "D upsampling"}  # whose role looks at no labels
WITH_HEAD = cases(DISCRIMINATORS, WITHOUT_HEAD)


@pytest.mark.parametrize("case", ALL.values(), ids=ALL)
def test_shapes_are_those_of_the_roles(case):
    network = built(case)
    inputs = inputs_of(network)
    out = network(*inputs)
    if hasattr(network, "latent_size"):
        assert out.shape == (4, *network.shape)
    else:
        assert out.shape == ((4, 2, 2) if isinstance(network, PatchDiscriminator) else (4,))
    assert out.dtype == torch.double
    assert network.num_classes == case[1].get("num_classes")


@pytest.mark.parametrize("case", ALL.values(), ids=ALL)
def test_every_parameter_has_a_gradient(case):
    network = built(case)
    network(*inputs_of(network)).square().sum().backward()
    for name, p in network.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name
        # A ReLU may shut some units, but no whole layer is left out.
        assert p.grad.any() or name.endswith("bias"), name


@pytest.mark.parametrize("case", ALL.values(), ids=ALL)
def test_memory_format_and_copies_change_nothing(case):
    network = built(case)
    inputs = inputs_of(network)
    twin = copy.deepcopy(network)
    compact = copy.deepcopy(network).to(memory_format=torch.channels_last)
    x = inputs[0]
    if x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    expected = network(*inputs)
    assert torch.equal(twin(*inputs), expected)
    torch.testing.assert_close(compact(x, *inputs[1:]), expected)
    with torch.no_grad():
        next(twin.parameters()).add_(1.0)
    assert not torch.equal(next(twin.parameters()), next(network.parameters()))


@pytest.mark.parametrize("case", ALL.values(), ids=ALL)
def test_a_checkpoint_holds_all_that_a_network_computes_with(case):
    """Two steps in training, a copy by its state, and both go on alike."""
    network, inputs = built(case), inputs_of(built(case))
    with torch.no_grad():
        network(*inputs), network(*inputs)
        torch.manual_seed(9)
        other = case[0](**case[1]).double()
        other.load_state_dict(network.state_dict())
        assert torch.equal(other(*inputs), network(*inputs))
        assert torch.equal(other.eval()(*inputs), network.eval()(*inputs))


@pytest.mark.parametrize("case", OF_ONE_IMAGE.values(), ids=OF_ONE_IMAGE)
def test_in_evaluation_each_image_is_on_its_own_and_the_same_each_time(case):
    network = built(case)
    inputs = inputs_of(network)
    with torch.no_grad():
        network(*inputs)  # the running statistics are no longer the first ones
        network.eval()
        out = network(*inputs)
        assert torch.equal(network(*inputs), out)
        order = torch.tensor([2, 0, 3, 1])
        torch.testing.assert_close(network(*[i[order] for i in inputs]), out[order])
        torch.testing.assert_close(network(*[i[:2] for i in inputs]), out[:2])


@pytest.mark.parametrize("case", WITH_LABELS.values(), ids=WITH_LABELS)
def test_labels_matter_and_as_attributes_too(case):
    network = built(case).eval()
    x, labels = inputs_of(network)
    out = network(x, labels)
    other = network(x, (labels + 1) % CLASSES)
    assert (out != other).flatten(1).any(1).all() if out.dim() > 1 else (out != other).all()
    hot = torch.nn.functional.one_hot(labels, CLASSES)
    torch.testing.assert_close(network(x, hot), out)
    torch.testing.assert_close(network(x, hot.double()), out)
    several = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
    assert network(x, several).isfinite().all()


@pytest.mark.parametrize("case", WITH_LABELS.values(), ids=WITH_LABELS)
def test_labels_that_do_not_fit_are_refused(case):
    network = built(case)
    x, labels = inputs_of(network)
    with pytest.raises(ValueError, match="conditioned on 3 classes; give it labels"):
        network(x)
    with pytest.raises(ValueError, match=r"classes \(B,\) or attributes \(B, 3\), got \(4, 2\)"):
        network(x, torch.zeros(4, 2))


@pytest.mark.parametrize("case", sorted(ALL.keys() - WITH_LABELS.keys() - AUTOENCODERS))
def test_labels_are_refused_where_none_are_known(case):
    network = built(ALL[case])
    with pytest.raises(ValueError, match="knows no classes"):
        network(inputs_of(network)[0], torch.arange(4))


@pytest.mark.parametrize("case", WITH_HEAD.values(), ids=WITH_HEAD)
def test_logits_are_the_head_of_the_features(case):
    network = built(case).eval()
    inputs = inputs_of(network)
    features = network.features(*inputs)
    assert features.shape == (4, network.feature_size)
    torch.testing.assert_close(network.head(features, *inputs[1:]), network(*inputs))


@pytest.mark.parametrize("case", WITH_HEAD.values(), ids=WITH_HEAD)
def test_features_are_what_the_last_layer_reads(case):
    network = built(case).eval()
    inputs = inputs_of(network)
    last = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    last = [m for m in last if m is not getattr(network, "embed", None)][-1]
    if hasattr(network, "last"):
        last = network.last
    read = []
    last.register_forward_hook(lambda m, i, o: read.append(i[0].flatten(1)))
    network(*inputs)
    torch.testing.assert_close(network.features(*inputs), read[0])


@pytest.mark.parametrize("name", sorted(DISCRIMINATORS.keys() - WITHOUT_HEAD - {"deep resnet"}))
def test_features_and_head_leave_no_layer_out(name):
    network = built((DISCRIMINATORS[name], {})).eval()
    (x,) = inputs_of(network)
    torch.testing.assert_close(network(x), network.layers(x))
    torch.testing.assert_close(network.head(network.features(x)), network.layers(x))


@pytest.mark.parametrize("case", WITH_HEAD.values(), ids=WITH_HEAD)
def test_the_head_is_affine_in_the_features(case):
    """Nothing but the last layer is left to it."""
    network = built(case).eval()
    labels = inputs_of(network)[1:]
    a, b = torch.randn(2, 4, network.feature_size, dtype=torch.double)
    mixed = network.head(0.3 * a + 0.7 * b, *labels)
    torch.testing.assert_close(
        mixed, 0.3 * network.head(a, *labels) + 0.7 * network.head(b, *labels)
    )


@pytest.mark.parametrize("name", sorted(DISCRIMINATORS.keys() - WITHOUT_HEAD))
def test_second_derivatives_are_exact(name):
    """As gradient penalties need."""
    network = built((DISCRIMINATORS[name], {})).eval()
    (x,) = inputs_of(network, 2)
    weight = [p for p in network.parameters() if p.dim() > 1][0]

    def slope():
        y = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(network(y).sum(), y, create_graph=True)
        return grad.square().sum()

    (exact,) = torch.autograd.grad(slope(), weight)
    direction = torch.randn_like(weight)
    step = 1e-6
    with torch.no_grad():
        weight.add_(direction, alpha=step)
    up = slope().item()
    with torch.no_grad():
        weight.add_(direction, alpha=-2 * step)
    down = slope().item()
    assert (exact * direction).sum().item() == pytest.approx((up - down) / (2 * step), rel=1e-3)


def test_wrong_sizes_are_refused():
    for name, make in GENERATORS.items():
        if name not in UNCONDITIONAL:
            with pytest.raises(ValueError, match="num_classes must be at least 1"):
                make(num_classes=0)
