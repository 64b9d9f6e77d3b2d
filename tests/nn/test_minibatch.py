"""Minibatch discrimination over processes is that of one process on the whole batch."""

import torch

from lightning_gen.nn.minibatch import MinibatchDiscrimination


def layer_and_data():
    torch.manual_seed(0)
    layer = MinibatchDiscrimination(5, kernels=3).double()
    return layer, *torch.randn(2, 8, 8, dtype=torch.double)[..., :5]


def found(part):
    """What comes out of a loss that is a sum over images, and its first and second derivatives."""
    layer = layer_and_data()[0]
    x, weights = part
    x = x.clone().requires_grad_()
    y = layer(x)
    loss = (y**2 * torch.cat([weights, weights[:, :3]], 1)).sum()
    (slope,) = torch.autograd.grad(loss, x, create_graph=True)
    (second, rows) = torch.autograd.grad(slope.square().sum(), [x, layer.rows.weight])
    return {"y": y.detach(), "slope": slope.detach(), "second": second, "rows": rows}


def test_two_processes_compare_all_images_as_one_does(together):
    _, x, weights = layer_and_data()
    whole = found((x, weights))
    first, second = together(found, [(x[:4], weights[:4]), (x[4:], weights[4:])])
    for key in ("y", "slope", "second"):
        torch.testing.assert_close(torch.cat([first[key], second[key]]), whole[key])
    torch.testing.assert_close(first["rows"] + second["rows"], whole["rows"])


def evaluated(x):
    return layer_and_data()[0].eval()(x).detach()


def test_in_evaluation_each_process_is_on_its_own(together):
    """As one of them may evaluate alone."""
    x = layer_and_data()[1]
    first, second = together(evaluated, [x[:3], x[3:]])
    assert torch.equal(first, evaluated(x[:3]))
    assert torch.equal(second, evaluated(x[3:]))
