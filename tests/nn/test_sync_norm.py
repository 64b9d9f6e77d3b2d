"""Batch normalisation over processes is batch normalisation of one process on the whole batch."""

import copy

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import nn

from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lightning_gen.nn import sync_norm
from lightning_gen.nn.sync_norm import synchronised

SHAPES = {
    "vectors": (8, 3),
    "sequences": (8, 3, 5),
    "images": (8, 3, 4, 2),
    "channels last": (8, 3, 4, 2),
    "strided": (8, 3, 4, 2),
    "volumes": (8, 3, 2, 3, 2),
}
CLASSES = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def layer_and_data(kind, dtype=torch.double, **kwargs):
    """A layer with parameters and statistics of its own, a batch, and weights for a loss."""
    shape = SHAPES[kind]
    layer = CLASSES[len(shape)](shape[1], dtype=dtype, **kwargs)
    with torch.no_grad():
        for tensor in (*layer.parameters(), layer.running_mean, layer.running_var):
            if tensor is not None:
                tensor.uniform_(0.5, 1.5)
    x, c = torch.randn(2, *shape, dtype=dtype).mul(2).add(1)
    if kind == "channels last":
        x = x.contiguous(memory_format=torch.channels_last)
    if kind == "strided":
        x = x.repeat_interleave(2, -1)[..., ::2]
    return layer, x, c


def train(layer, x, c, steps=2):
    """Some steps of a loss that is a sum over images: all that comes out of them."""
    for _ in range(steps):
        x = x.detach().requires_grad_()
        layer.zero_grad()
        y = layer(x)
        (c * y**3).sum().backward()
    found = {"y": y.detach(), "x": x.grad, "state": copy.deepcopy(layer.state_dict())}
    return {**found, "parameters": [p.grad for p in layer.parameters()]}


def check(whole, first, second, **exact):
    """That two processes have, together, what one has."""
    for key in ("y", "x"):
        torch.testing.assert_close(torch.cat([first[key], second[key]]), whole[key], **exact)
    for own, other, both in zip(*(found["parameters"] for found in (first, second, whole))):
        torch.testing.assert_close(own + other, both, **exact)
    for name, value in whole["state"].items():
        assert torch.equal(first["state"][name], second["state"][name])
        torch.testing.assert_close(first["state"][name], value, **exact)


def deal(cut, *tensors):
    """The first `cut` images, and the rest."""
    return [tuple(t[:cut] for t in tensors), tuple(t[cut:] for t in tensors)]


@pytest.fixture
def kernels(request, monkeypatch):
    """Lets the layer call torch's kernels for GPUs, which on CPUs are written out here."""
    if not request.param:
        return

    def over(x):
        return [0, *range(2, x.dim())]

    def across(v, x):
        return v.view(-1, *[1] * (x.dim() - 2))

    def stats(x, eps):
        return x.mean(over(x)), (x.var(over(x), correction=0) + eps).rsqrt()

    def gather(x, means, invstds, running_mean, running_var, momentum, eps, counts):
        n, shares = counts.sum(), (counts / counts.sum())[:, None]
        mean = (shares * means).sum(0)
        var = (shares * (invstds**-2 - eps + (means - mean) ** 2)).sum(0)
        if running_mean is not None:
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(var * n / (n - 1), momentum)
        return mean, (var + eps).rsqrt()

    def elemt(x, weight, bias, mean, invstd, eps):
        y = (x - across(mean, x)) * across(invstd, x)
        return y if weight is None else y * across(weight, x) + across(bias, x)

    def reduce(grad, x, mean, invstd, weight, *needs):
        slope = (grad * (x - across(mean, x))).sum(over(x))
        return grad.sum(over(x)), slope, slope * invstd, grad.sum(over(x))

    def backward_elemt(grad, x, mean, invstd, weight, grads, slopes, counts):
        grads, slopes = grads / counts.sum(), slopes / counts.sum() * invstd**2
        gain = invstd if weight is None else invstd * weight
        centred = x - across(mean, x)
        return (grad - across(grads, x) - centred * across(slopes, x)) * across(gain, x)

    monkeypatch.setattr(torch, "batch_norm_stats", stats)
    monkeypatch.setattr(torch, "batch_norm_gather_stats_with_counts", gather)
    monkeypatch.setattr(torch, "batch_norm_elemt", elemt)
    monkeypatch.setattr(torch, "batch_norm_backward_reduce", reduce)
    monkeypatch.setattr(torch, "batch_norm_backward_elemt", backward_elemt)
    monkeypatch.setattr(sync_norm, "_has_kernels", lambda x: True)


both_ways = pytest.mark.parametrize("kernels", [False, True], ids=["own", "kernels"], indirect=True)


@both_ways
@pytest.mark.parametrize("cut", [4, 3, 1, 0])
@pytest.mark.parametrize("kind", SHAPES)
def test_two_processes_compute_what_one_does(kind, cut, kernels, together):
    layer, x, c = layer_and_data(kind)
    whole = train(copy.deepcopy(layer), x, c)
    first, second = together(lambda part: train(synchronised(layer), *part), deal(cut, x, c))
    check(whole, first, second, **EXACT)
    assert whole["state"]["num_batches_tracked"] == 2
    if kind == "channels last" and cut:
        assert first["y"].is_contiguous(memory_format=torch.channels_last)
        assert first["x"].is_contiguous(memory_format=torch.channels_last)


@both_ways
@pytest.mark.parametrize(
    "options",
    [
        {"momentum": None},
        {"momentum": 0.0},
        {"affine": False},
        {"track_running_stats": False},
        {"momentum": None, "track_running_stats": False, "affine": False},
        {"eps": 0.5},
    ],
    ids=str,
)
def test_options_mean_what_they_do_in_one_process(options, kernels, together):
    layer, x, c = layer_and_data("images", **options)
    whole = train(copy.deepcopy(layer), x, c, steps=3)
    first, second = together(lambda p: train(synchronised(layer), *p, steps=3), deal(3, x, c))
    check(whole, first, second, **EXACT)


def test_three_processes_compute_what_one_does_and_agree_to_the_last_bit(together):
    layer, x, c = layer_and_data("images")
    whole = train(copy.deepcopy(layer), x, c)
    parts = [tuple(t[a:b] for t in (x, c)) for a, b in ((0, 1), (1, 4), (4, 8))]
    found = together(lambda part: train(synchronised(layer), *part), parts)
    for key in ("y", "x"):
        torch.testing.assert_close(torch.cat([f[key] for f in found]), whole[key], **EXACT)
    for name, value in whole["state"].items():
        assert all(torch.equal(f["state"][name], found[0]["state"][name]) for f in found)
        torch.testing.assert_close(found[0]["state"][name], value, **EXACT)


@both_ways
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", ["vectors", "images", "channels last", "strided"])
def test_a_penalty_on_the_gradient_has_the_gradient_of_one_process(kind, affine, kernels, together):
    layer, x, c = layer_and_data(kind, affine=affine)

    def derivatives(normalise, x, c):
        x = x.detach().requires_grad_()
        wanted, value, found = [x, *layer.parameters()], (c * normalise(x).tanh()).sum(), []
        for _ in range(3):  # the slope, that of its square, and that of the square of that
            grads = torch.autograd.grad(value, wanted, create_graph=True)
            found.append([grad.detach() for grad in grads])
            value = grads[0].square().sum()
        return found

    def definition(x):
        over = [0, *range(2, x.dim())]
        y = (x - x.mean(over, True)) * (x.var(over, correction=0, keepdim=True) + layer.eps).rsqrt()
        for act, p in zip((torch.mul, torch.add), layer.parameters()):
            y = act(y, p.view(-1, *[1] * (x.dim() - 2)))
        return y

    def check(exact, found):
        for both, own, other in zip(exact, *found):
            close = {"rtol": 1e-10, "atol": 1e-10 * max(1, both[0].abs().max())}
            torch.testing.assert_close(torch.cat([own[0], other[0]]), both[0], **close)
            for a, b, sum_ in zip(own[1:], other[1:], both[1:]):
                torch.testing.assert_close(a + b, sum_, **close)

    found = together(lambda part: derivatives(synchronised(layer), *part), deal(3, x, c))
    check(derivatives(definition, x, c), found)
    # torch's own third derivative is wrong, in version 2.13: it takes the statistics for constants.
    check(derivatives(layer, x, c)[:2], [f[:2] for f in found])


@pytest.mark.parametrize("kind", ["vectors", "images", "channels last"])
def test_single_precision_does_not_cancel(kind, together):
    layer, _, _ = layer_and_data(kind)
    x = torch.randn(4000, *SHAPES[kind][1:]) + 1000
    x[:1800] += 1  # the means of processes differ too
    c = torch.randn_like(x)
    if kind == "channels last":
        x = x.contiguous(memory_format=torch.channels_last)

    def slopes(layer, x, c):
        x = x.detach().requires_grad_()
        y = layer(x)
        (c * y).sum().backward()
        state = (layer.running_mean, layer.running_var, layer.bias.grad, layer.weight.grad)
        return y.detach(), x.grad, *(t.detach().double() for t in state)

    def job(part):
        return slopes(synchronised(layer.float()), *part)

    first, second = together(job, deal(1800, x, c))
    y, x_grad, mean, var, *grads = slopes(layer, x.double(), c.double())
    for exact, own, other in ((y, first[0], second[0]), (x_grad, first[1], second[1])):
        assert own.dtype == torch.float
        torch.testing.assert_close(torch.cat([own, other]).double(), exact, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(first[2:4], (mean, var), rtol=1e-6, atol=0)
    found = [own + other for own, other in zip(first[4:], second[4:])]
    torch.testing.assert_close(found, grads, rtol=1e-4, atol=1e-2)  # sums over 4000 images


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("half_layer", [True, False])
def test_half_precision_is_that_of_one_process(dtype, half_layer, together):
    layer, x, c = layer_and_data("images", dtype=dtype if half_layer else torch.float)
    x, c = x.to(dtype), c.to(dtype)
    whole = train(copy.deepcopy(layer), x, c, steps=1)
    first, second = together(lambda p: train(synchronised(layer), *p, steps=1), deal(4, x, c))
    assert first["y"].dtype == first["x"].dtype == dtype
    coarse = 4 * torch.finfo(dtype).eps
    check(whole, first, second, rtol=coarse, atol=coarse * max(g.max() for g in [whole["x"], c]))


@both_ways
def test_one_collective_forward_and_one_backward(kernels, together):
    layer, x, c = layer_and_data("images")

    def job(part):
        calls = count_collectives()
        found, own = [], synchronised(layer)
        for needs_grad in (False, True):
            x, c = part[0].clone().requires_grad_(needs_grad), part[1]
            y = own(x)
            found.append(len(calls))
            (c * y**3).sum().backward()
            found.append(len(calls))
        with torch.no_grad():
            own(x)
        found.append(len(calls))
        own.eval()(x).sum().backward()
        return [*found, len(calls)]

    # Parameters need no other process: their gradients are summed by whoever trains.
    assert together(job, deal(3, x, c)) == [[1, 1, 2, 3, 4, 4]] * 2


def count_collectives():
    """A list that grows by one with each collective, in this process from now on."""
    calls = []

    def counted(function):
        def call(*args, **kwargs):
            calls.append(function.__name__)
            return function(*args, **kwargs)

        return call

    for name in ("all_reduce", "all_gather", "all_gather_into_tensor", "broadcast", "reduce"):
        setattr(dist, name, counted(getattr(dist, name)))
    return calls


@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"track_running_stats": False}])
def test_evaluation_is_untouched(options, together):
    layer, x, c = layer_and_data("images", **options)
    layer.eval()

    def job(part):
        calls = count_collectives()
        expected = train(copy.deepcopy(layer), *part)
        return expected, train(synchronised(layer), *part), calls

    for expected, found, calls in together(job, deal(3, x, c)):
        assert calls == []
        assert_equal(expected, found)


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("kind", SHAPES)
def test_a_single_process_computes_what_it_did(kind, group, together):
    layer, x, c = layer_and_data(kind, dtype=torch.float)

    def job(part):
        calls = count_collectives()
        expected = train(copy.deepcopy(layer), *part)
        return expected, train(synchronised(layer), *part), calls

    if group:
        [(expected, found, calls)] = together(job, [(x, c)])
        assert calls == []
    else:
        expected, found = train(copy.deepcopy(layer), x, c), train(synchronised(layer), x, c)
    assert_equal(expected, found)


def assert_equal(expected, found):
    """To the last bit."""
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_conversion_keeps_parameters_buffers_hooks_and_layers():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()))
    network.double().to(memory_format=torch.channels_last)
    layer, seen = network[1][0], []
    layer.register_forward_hook(lambda *_: seen.append(1))
    layer.weight.requires_grad_(False)
    layer.eval()
    before = [*network.parameters(), *network.buffers()]
    assert synchronised(network) is network and synchronised(network) is network
    after = [*network.parameters(), *network.buffers()]
    assert all(a is b for a, b in zip(before, after, strict=True))
    assert network[1][0] is layer and isinstance(layer, nn.BatchNorm2d)
    assert not layer.weight.requires_grad and not layer.training
    network(torch.zeros(2, 1, 2, 2, dtype=torch.double))
    assert seen == [1]
    assert isinstance(synchronised(nn.BatchNorm1d(2)), sync_norm.SynchronisedBatchNorm1d)
    assert isinstance(copy.deepcopy(layer), sync_norm.SynchronisedBatchNorm2d)


def test_checkpoints_fit_both_ways(tmp_path):
    plain, other = DCGANGenerator(16, 1, 8, 4), synchronised(DCGANGenerator(16, 1, 8, 4))
    plain(torch.randn(4, 8))
    for source, target in ((plain, other), (other, DCGANGenerator(16, 1, 8, 4))):
        torch.save(source.state_dict(), tmp_path / "weights.pt")
        target.load_state_dict(torch.load(tmp_path / "weights.pt"), strict=True)
        assert list(source.state_dict()) == list(target.state_dict())
        assert_equal(dict(source.state_dict()), dict(target.state_dict()))
    torch.save(other, tmp_path / "whole.pt")
    again = torch.load(tmp_path / "whole.pt", weights_only=False)
    assert isinstance(again.layers[2], sync_norm.SynchronisedBatchNorm2d)


@pytest.mark.parametrize("cut", [4, 3])
def test_a_gan_step_on_two_processes_is_that_of_one(cut, together):
    """All layers of DCGAN, players frozen in turn, gradients summed, optimizers made before."""
    generator = DCGANGenerator(16, 1, 8, 4).double().to(memory_format=torch.channels_last)
    critic = DCGANDiscriminator(16, 1, 4).double().to(memory_format=torch.channels_last)
    real, z = torch.rand(8, 1, 16, 16, dtype=torch.double), torch.randn(8, 8, dtype=torch.double)

    def play(z, real):
        game = nn.ModuleList([generator, critic])
        optimizers = [torch.optim.SGD(net.parameters(), lr=0.1) for net in game]
        if dist.is_initialized():
            synchronised(game)
        for _ in range(2):
            critic_loss = nn.functional.softplus(critic(generator(z).detach())).sum()
            critic_loss = critic_loss + nn.functional.softplus(-critic(real)).sum()
            step(critic_loss, critic, optimizers[1])
            critic.requires_grad_(False)
            step(nn.functional.softplus(-critic(generator(z))).sum(), generator, optimizers[0])
            critic.requires_grad_(True)
        return {"state": game.state_dict(), "y": generator(z).detach()}

    def step(loss, network, optimizer):
        optimizer.zero_grad()
        loss.backward()
        for p in network.parameters():
            if dist.is_initialized():
                dist.all_reduce(p.grad)
            p.grad /= 8
        optimizer.step()

    first, second = together(lambda part: play(*part), deal(cut, z, real))
    whole = play(z, real)
    torch.testing.assert_close(torch.cat([first["y"], second["y"]]), whole["y"], **EXACT)
    for name, value in whole["state"].items():
        assert torch.equal(first["state"][name], second["state"][name])
        torch.testing.assert_close(first["state"][name], value, rtol=1e-11, atol=1e-12)


def test_without_synchronisation_two_processes_differ_from_one(together):
    layer, x, c = layer_and_data("images")
    whole = train(copy.deepcopy(layer), x, c)
    first, _ = together(lambda part: train(layer, *part), deal(4, x, c))
    assert (first["y"] - whole["y"][:4]).abs().max() > 0.01


def test_one_value_per_channel_over_all_processes_is_refused(together):
    layer, x, c = layer_and_data("vectors")

    def job(part):
        with pytest.raises(ValueError, match="more than 1 value per channel in training, got 1"):
            synchronised(layer)(part[0])
        with pytest.raises(ValueError, match="expected 2D or 3D input"):
            synchronised(layer)(part[0][None, None])
        return True

    assert together(job, deal(1, x[:1], c[:1])) == [True, True]


@pytest.mark.parametrize("kind", [nn.LazyBatchNorm2d, type("Own", (nn.BatchNorm2d,), {})])
def test_what_cannot_be_converted_is_named(kind):
    layer = kind() if kind is nn.LazyBatchNorm2d else kind(3)
    with pytest.raises(ValueError, match=rf"the {kind.__name__} '1', only nn.BatchNorm1d"):
        synchronised(nn.Sequential(nn.ReLU(), layer))
    synchronised(nn.Sequential(nn.SyncBatchNorm(3)))  # has its own way


def on_gpu(part):
    """To be found by a process that is spawned, as GPUs do not survive a fork."""
    layer, x, c = (t.cuda() for t in part)
    x = x.contiguous(memory_format=torch.channels_last)
    calls = count_collectives()
    found = train(synchronised(layer), x, c)
    found["calls"] = len(calls)
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad((c * layer(x).tanh()).sum(), x, create_graph=True)
    (found["second"],) = torch.autograd.grad(slope.square().sum(), x)
    return {
        key: value.cpu() if isinstance(value, torch.Tensor) else value
        for key, value in found.items()
    }


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_two_processes_on_a_gpu_compute_what_one_does_on_the_cpu(together):
    layer, x, c = layer_and_data("images")
    first, second = together(
        on_gpu, [(copy.deepcopy(layer), *part) for part in deal(3, x, c)], start_method="spawn"
    )
    assert first["calls"] == 4
    whole = train(layer, x, c)
    for found in (first, second):
        found["state"] = {name: value.cpu() for name, value in found["state"].items()}
        found["parameters"] = [grad.cpu() for grad in found["parameters"]]
    check(whole, first, second, rtol=1e-9, atol=1e-9)
    x = x.requires_grad_()
    (slope,) = torch.autograd.grad((c * layer(x).tanh()).sum(), x, create_graph=True)
    (curve,) = torch.autograd.grad(slope.square().sum(), x)
    torch.testing.assert_close(torch.cat([first["second"], second["second"]]), curve)
