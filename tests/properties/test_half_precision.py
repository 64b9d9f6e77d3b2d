"""Every explicit network trains under mixed precision, with losses in single precision."""

import pytest
import torch

from lightning_gen.levels import from_levels
from lightning_gen.models.autoregressive import MADE, DeepNADE, MultiscalePixelCNN, PixelModel
from lightning_gen.models.base import Batch
from lightning_gen.models.flows import NICE
from lightning_gen.models.heads import Logistic
from lightning_gen.models.logistic_mixture import LogisticMixture
from lightning_gen.networks.bengio import PrivateUnitsNetwork
from lightning_gen.networks.causal import GatedCausalStack, MaskedStack
from lightning_gen.networks.coupling import AdditiveCouplings
from lightning_gen.networks.deep_nade import DeepNADENetwork
from lightning_gen.networks.made import MADENetwork, ManyOrdersMADE
from lightning_gen.networks.nade import NADENetwork
from lightning_gen.networks.pixel_rnn import DiagonalBiLSTMStack, RowLSTMStack
from lightning_gen.networks.upsampling import ResidualUpsampling
from lightning_gen.randomness import Noise

SHAPE = (3, 4, 4)
NETWORKS = {
    "PixelCNN": lambda: MaskedStack(3, 256, 12, 2, head=12),
    "Gated PixelCNN": lambda: GatedCausalStack(3, 256, 12, 2, head=12),
    "Row LSTM": lambda: RowLSTMStack(3, 256, 6, 2, head=12),
    "Diagonal BiLSTM": lambda: DiagonalBiLSTMStack(3, 256, 6, 2, head=12),
    "NADE": lambda: NADENetwork(SHAPE, 256, 6),
    "MADE": lambda: MADENetwork(SHAPE, 256, (60,), direct=True),
    "Bengio": lambda: PrivateUnitsNetwork(SHAPE, 256, 3, direct=True),
}
MODELS = {
    **{name: lambda make=make: PixelModel(make(), SHAPE) for name, make in NETWORKS.items()},
    "logistic head": lambda: PixelModel(
        GatedCausalStack(3, 256, 12, 1, head=12, outputs=2), SHAPE, Logistic()
    ),
    "mixture head": lambda: PixelModel(
        GatedCausalStack(3, 256, 12, 1, head=12, outputs=20, color_order=False),
        SHAPE,
        LogisticMixture(2),
    ),
    "MADE of two orders": lambda: MADE(ManyOrdersMADE(SHAPE, 256, (60,), count=2)),
    "Deep NADE": lambda: DeepNADE(DeepNADENetwork(SHAPE, 256, (12, 12))),
    "NICE": lambda: NICE(AdditiveCouplings(SHAPE, 4, (12,))),
    "multiscale": lambda: MultiscalePixelCNN(
        GatedCausalStack(3, 256, 12, 1, head=12), ResidualUpsampling(3, 256, 1, 12, 1), SHAPE
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_under_mixed_precision_losses_and_gradients_are_nearly_those_of_single(kind):
    torch.manual_seed(0)
    model, x = MODELS[kind](), from_levels(torch.randint(256, (6, *SHAPE)))
    found = []
    for half in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = model.terms(Batch(x, None, Noise(("test",), 6)))["loss"]
            nll = model.nll(x, noise=Noise(("test",), 6))
        loss.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert loss.dtype == nll.dtype == torch.float32
        found.append((loss.detach(), nll.detach(), torch.cat([g.flatten() for g in gradients])))
    single, half = found
    for a, b in zip(half[:2], single[:2], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=0)
    assert half[2].shape == single[2].shape
    assert (half[2] - single[2]).norm() < 0.1 * single[2].norm()


@pytest.mark.parametrize("kind", MODELS)
def test_under_mixed_precision_samples_have_the_levels_of_the_data(kind):
    torch.manual_seed(0)
    model = MODELS[kind]()
    with torch.autocast("cpu", torch.bfloat16):
        drawn = model.sample(2, noise=Noise(("test",), 2))
    assert drawn.shape == (2, *SHAPE)
    model.check(drawn.float())
