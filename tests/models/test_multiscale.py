"""Parallel multiscale PixelCNN: a likelihood, of groups that do not see themselves, in few steps."""

import pytest
import torch

from lightning_gen.capabilities import Completer, Likelihood, Sampler
from lightning_gen.levels import from_levels
from lightning_gen.models.autoregressive import MultiscalePixelCNN
from lightning_gen.networks.causal import GatedCausalStack
from lightning_gen.networks.nade import NADENetwork
from lightning_gen.networks.upsampling import ResidualUpsampling
from lightning_gen.optimizers import FusedAdam
from lightning_gen.randomness import Noise
from tests.game import fit
from tests.pixels import bars_and_stripes, every_image


def make(shape=(1, 4, 4), levels=2, doublings=1, width=3, **kwargs):
    torch.manual_seed(0)
    channels = shape[0]
    model = MultiscalePixelCNN(
        GatedCausalStack(channels, levels, 2 * channels, 1, 3, 3, 2 * channels),
        ResidualUpsampling(channels, levels, doublings, width * channels, 1),
        shape,
        **kwargs,
    ).double()
    for parameter in model.parameters():
        parameter.data.uniform_(-0.5, 0.5)
    return model


def noise(count):
    return Noise(("test",), count, dtype=torch.double)


def test_it_can_do_what_the_catalogue_says():
    for capability in (Sampler, Likelihood, Completer):
        assert isinstance(make(), capability)
    assert make().nll_kind == "exact"


@pytest.mark.parametrize(
    ("shape", "doublings"), [((1, 4, 4), 1), ((1, 4, 4), 2), ((3, 2, 2), 1), ((1, 2, 6), 1)]
)
def test_the_likelihoods_of_all_images_sum_to_one(shape, doublings):
    model = make(shape, doublings=doublings)
    with torch.no_grad():
        total = sum((-model.nll(x)).exp().sum() for x in every_image(*shape).split(8192))
    assert abs(total.item() - 1) < 1e-10


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("group", [0, 1, 2])
def test_a_group_sees_the_groups_before_and_not_itself(channels, group):
    net = make((channels, 8, 8), levels=4).upsampling
    x = torch.randn(4, channels, 8, 8, dtype=torch.double)
    before = net(x, 0, group)
    assert before.shape == (4, 4, channels, 4, 4)
    for number, (row, column) in enumerate(((0, 0), *net.places)):
        changed = x.clone()
        changed[:, :, row + 4, column + 4] += 1
        differs = (net(changed, 0, group) != before).any(0).any(0)  # (C, 4, 4)
        if number <= group:
            assert differs.any()
        elif number == group + 1:  # its own pixel's later colours only
            assert not differs[0].any()
            assert int(differs.sum()) == channels - 1
        else:
            assert not differs.any()


def test_colours_of_a_pixel_see_those_before_them():
    net = make((3, 4, 4), levels=4).upsampling
    x = torch.randn(4, 3, 4, 4, dtype=torch.double)
    before, (row, column) = net(x, 0, 1), net.places[1]
    for color in range(3):
        changed = x.clone()
        changed[:, color, row, column] += 1
        differs = (net(changed, 0, 1) != before).any(0).any(0)[:, 0, 0]
        assert differs.tolist() == [later > color for later in range(3)]


def test_the_groups_and_the_small_image_are_every_pixel_once():
    model, counts = make((1, 8, 8), doublings=2), torch.zeros(8, 8)
    counts[:: model.step, :: model.step] += 1
    for group in model.upsampling.groups():
        counts[:: group.step, :: group.step][group.row :: 2, group.column :: 2] += 1
    assert (counts == 1).all()


@pytest.mark.parametrize("doublings", [1, 2])
def test_samples_take_a_step_for_each_small_pixel_and_three_for_each_doubling(
    doublings, monkeypatch
):
    model, calls = make((1, 8, 8), doublings=doublings), []
    forward, walk = ResidualUpsampling.forward, GatedCausalStack.walk

    def counting_walk(self, *args):
        made = walk(self, *args)
        pixel = made.steps.pixel
        monkeypatch.setattr(made.steps, "pixel", lambda *a: calls.append("base") or pixel(*a))
        return made

    monkeypatch.setattr(GatedCausalStack, "walk", counting_walk)
    monkeypatch.setattr(
        ResidualUpsampling, "forward", lambda *args: calls.append("up") or forward(*args)
    )
    drawn = model.sample(2)
    assert set(drawn.unique().tolist()) == {-1, 1}
    assert calls.count("base") == (8 // 2**doublings) ** 2
    assert calls.count("up") == 3 * doublings


def test_samples_follow_the_likelihood():
    model, n = make((1, 2, 2)), 20_000
    every = every_image(1, 2, 2)
    p = (-model.nll(every)).exp().detach()
    drawn = model.sample(n, noise=noise(n)).flatten(1)
    counts = (drawn[:, None] == every.flatten(1)[None]).all(2).double().mean(0)
    assert ((counts - p).abs() < 4.5 * (p * (1 - p) / n).sqrt()).all()


def test_completion_keeps_what_is_known():
    model = make((3, 8, 4), levels=5, doublings=2)
    x = from_levels(torch.randint(5, (3, 3, 8, 4)), 5, torch.double)
    known = torch.rand(8, 4) < 0.5
    y = model.complete(x, known, noise=noise(3))
    assert torch.equal(y[..., known], x[..., known])
    assert torch.equal(model.complete(-x * ~known + x * known, known, noise=noise(3)), y)
    assert torch.equal(model.complete(x, torch.ones(8, 4).bool()), x)


def test_it_trains():
    fit(make((1, 4, 4), levels=256, ema_half_life=10.0).float(), max_steps=2)


def test_what_does_not_fit_is_refused():
    base, up = GatedCausalStack(1, 2, 2, 0, head=2), ResidualUpsampling(1, 2, 3, 2, 1)
    with pytest.raises(ValueError, match="28 x 28 are not a small one doubled 3 times"):
        MultiscalePixelCNN(base, up, (1, 28, 28))
    with pytest.raises(ValueError, match="base has 2 levels but upsampling 5"):
        MultiscalePixelCNN(base, ResidualUpsampling(1, 5, 1, 2, 1), (1, 4, 4))
    halved, up = NADENetwork((1, 2, 3)), ResidualUpsampling(1, 2, 1, 2, 1)
    with pytest.raises(ValueError, match=r"shape \(1, 2, 3\) but gets them of \(1, 2, 2\)"):
        MultiscalePixelCNN(halved, up, (1, 4, 4))
    assert MultiscalePixelCNN(halved, up, (1, 4, 6)).shape == (1, 4, 6)
    with pytest.raises(ValueError, match="width must be a multiple of the 3 channels, got 4"):
        ResidualUpsampling(3, 2, 1, 4, 1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"color_order": False}, "set the network's color_order to true"),
        ({"outputs": 7}, "needs 4 numbers but the network gives 7"),
        ({"num_classes": 3}, "base has 3 classes but would be given none; leave its num_classes"),
    ],
)
def test_a_base_whose_numbers_are_not_logits_of_all_colours_is_refused(arguments, sentence):
    base, up = GatedCausalStack(3, 4, 6, 0, head=6, **arguments), ResidualUpsampling(3, 4, 1, 6, 1)
    with pytest.raises(ValueError, match=sentence):
        MultiscalePixelCNN(base, up, (3, 4, 4))


@pytest.mark.slow
def test_bars_and_stripes_cost_what_groups_do_not_see():
    """The groups' pixels are independent given those before: 5.0886 nats are the least."""
    torch.manual_seed(0)
    model = MultiscalePixelCNN(
        GatedCausalStack(1, 2, 16, 2, 3, 3, 16), ResidualUpsampling(1, 2, 1, 16, 2), (1, 4, 4)
    )
    x, steps = bars_and_stripes(), 800
    optimizer = FusedAdam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        model.nll(x).mean().backward()
        optimizer.step()
        schedule.step()
    assert 5.0886 <= model.double().nll(x.double()).mean().item() <= 5.12
