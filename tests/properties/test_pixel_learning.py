"""What networks of pixels can learn, and what they cannot: bars and stripes, and parities."""

from math import log

import pytest
import torch

from lightning_gen.models.autoregressive import PixelModel
from lightning_gen.networks.bengio import PrivateUnitsNetwork
from lightning_gen.networks.causal import MaskedStack
from lightning_gen.networks.made import MADENetwork
from lightning_gen.networks.nade import NADENetwork
from lightning_gen.networks.pixel_rnn import DiagonalBiLSTMStack
from lightning_gen.optimizers import FusedAdam
from tests.pixels import bars_and_stripes


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


@pytest.mark.slow
def test_a_blind_spot_costs_what_it_hides():
    """Given what masks of 3x3 see, bars and stripes have 3.5517 nats: less would be a leak."""
    torch.manual_seed(0)
    assert (
        3.5517 <= train(MaskedStack(1, 2, 32, 4, 3, 3, 16), bars_and_stripes(), 1000, 1e-2) <= 3.56
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", [MaskedStack, DiagonalBiLSTMStack])
def test_without_one_bars_and_stripes_are_learnt_to_their_entropy(kind):
    torch.manual_seed(0)
    net = kind(1, 2, 32 if kind is MaskedStack else 16, depth=2, first_kernel=7, head=16)
    assert log(30) <= train(net, bars_and_stripes(), 800, 1e-2) <= 3.41
