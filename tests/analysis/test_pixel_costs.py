"""The nats of sub-pixels are those of the conditionals, and sum to those of the image."""

from math import log

import pytest
import torch

from lightning_gen import losses
from lightning_gen.analysis.receptive_fields import receptive_field
from lightning_gen.capabilities import PixelLikelihood
from lightning_gen.levels import from_levels
from lightning_gen.models.autoregressive import (
    MADE,
    DeepNADE,
    IndependentModel,
    MultiscalePixelCNN,
    PixelModel,
    UniformModel,
)
from lightning_gen.models.heads import Logistic, Softmax
from lightning_gen.models.logistic_mixture import LogisticMixture
from lightning_gen.networks.causal import GatedCausalStack
from lightning_gen.networks.deep_nade import DeepNADENetwork
from lightning_gen.networks.made import MADENetwork, ManyOrdersMADE
from lightning_gen.networks.nade import NADENetwork
from lightning_gen.networks.upsampling import ResidualUpsampling
from lightning_gen.randomness import Noise
from tests.pixels import NETWORKS, every_image, network, order


def by_head(head, shape, levels):
    outputs = head.outputs(shape[0], levels)
    net = network(GatedCausalStack, shape[0], levels, outputs=outputs, color_order=not head.couples)
    return PixelModel(net, shape, head)


def multiscale(shape, levels, doublings=1):
    channels = shape[0]
    base = GatedCausalStack(channels, levels, 2 * channels, 1, 3, 3, 2 * channels)
    upsampling = ResidualUpsampling(channels, levels, doublings, 3 * channels, 1)
    return MultiscalePixelCNN(base, upsampling, shape)


def independent(shape, levels):
    model = IndependentModel(shape, levels)
    x = from_levels(torch.randint(levels, (50, *shape)), levels)
    model.gather(x, Noise(("test",), 50), 1)
    return model


MODELS = {
    **{k.__name__: lambda s, n, k=k: PixelModel(network(k, s[0], n), s) for k in NETWORKS},
    "NADE": lambda s, n: PixelModel(NADENetwork(s, n, 5), s),
    "MADE": lambda s, n: PixelModel(MADENetwork(s, n, widths=(60,)), s),
    "logistic": lambda s, n: by_head(Logistic(), s, n),
    "mixture": lambda s, n: by_head(LogisticMixture(3), s, n),
    "multiscale": multiscale,
    "one order": lambda s, n: MADE(ManyOrdersMADE(s, n, widths=(60,), count=1)),
    "uniform": UniformModel,
    "independent": independent,
}
ORDERS = {
    "MADE": lambda s, n: MADE(ManyOrdersMADE(s, n, widths=(60,), count=3)),
    "Deep NADE": lambda s, n: DeepNADE(DeepNADENetwork(s, n, widths=(9,), count=3)),
}


def make(kind, shape, levels):
    torch.manual_seed(0)
    model = {**MODELS, **{f"{k}, orders": v for k, v in ORDERS.items()}}[kind](shape, levels)
    for parameter in model.double().parameters():  # far from even odds
        parameter.data.uniform_(-1, 1)
    return model


@pytest.mark.parametrize("kind", [*MODELS, *(f"{kind}, orders" for kind in ORDERS)])
@pytest.mark.parametrize(("shape", "levels"), [((1, 4, 6), 2), ((3, 2, 4), 7)])
def test_they_sum_to_the_nats_of_the_image(kind, shape, levels):
    model = make(kind, shape, levels)
    assert isinstance(model, PixelLikelihood)
    x = from_levels(torch.randint(levels, (5, *shape)), levels, torch.double)
    costs = model.pixel_nll(x)
    assert costs.shape == x.shape
    torch.testing.assert_close(costs.flatten(1).sum(1), model.nll(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [kind for kind in MODELS if kind != "one order"])
@pytest.mark.parametrize("shape", [(1, 2, 4), (3, 2, 2)])
def test_each_is_that_of_a_conditional_of_the_joint_distribution(kind, shape):
    """By the masses of all images that begin alike; in 2x4 images the groups of multiscale differ."""
    model, x, places = make(kind, shape, 2), every_image(*shape), order(shape)
    if kind == "multiscale":
        corners = ((0, 0), (0, 1), (1, 0), (1, 1))
        places = sorted(places, key=lambda p: (corners.index((p[1] % 2, p[2] % 2)), *p[1:], p[0]))
    with torch.no_grad():
        p, costs = (-model.nll(x)).exp(), model.pixel_nll(x)
    alike, mass = torch.zeros(len(x), dtype=torch.long), p.sum().expand(len(x))
    for c, i, j in places:
        alike = 2 * alike + (x[:, c, i, j] > 0)
        begun = torch.zeros(2 ** len(places)).double().index_add(0, alike, p)[alike]
        torch.testing.assert_close(costs[:, c, i, j], (mass / begun).log(), rtol=0, atol=1e-9)
        mass = begun


def test_of_images_that_double_twice_each_cost_is_at_its_place():
    torch.manual_seed(0)
    model, x = multiscale((1, 4, 4), 2, doublings=2).double(), every_image(1, 4, 4)[::97]
    groups = [[(0, 0)], [(0, 2)], [(2, 0)], [(2, 2)]]
    for row, column in ((0, 1), (1, 0), (1, 1)):
        groups.append([(row + i, column + j) for i in (0, 2) for j in (0, 2)])
    with torch.no_grad():
        before = model.pixel_nll(x)
        for number, group in enumerate(groups):
            earlier = [place for places in groups[:number] for place in places]
            for i, j in group:
                changed = x.clone()
                changed[:, :, i, j] *= -1
                differs = (model.pixel_nll(changed) != before).all(0)[0]
                assert differs[i, j]
                assert not any(differs[place] for place in {*earlier, *group} - {(i, j)})


@pytest.mark.parametrize("kind", ORDERS)
def test_of_several_orders_what_belongs_to_none_is_spread_evenly(kind):
    model, x = make(f"{kind}, orders", (1, 2, 3), 2), every_image(1, 2, 3)
    each = torch.stack([model.order_nll(x, order) for order in range(3)])
    posterior = each.neg().softmax(0)
    kl = (posterior * (posterior * 3).log()).sum(0)
    alone = []
    for k in range(3):
        logits = model.network.along(x, k)
        alone.append(losses.categorical_costs(logits, x > 0))
    mean = (posterior.view(3, -1, 1, 1, 1) * torch.stack(alone)).sum(0)
    torch.testing.assert_close(
        model.pixel_nll(x) - mean, (kl / 6).view(-1, 1, 1, 1).expand(x.shape)
    )


@pytest.mark.parametrize("head", [Softmax(), Logistic(), LogisticMixture(2)])
def test_what_they_depend_on_is_what_the_network_sees(head):
    model = by_head(head, (3, 3, 3), 4)
    x = torch.randn(8, 3, 3, 3, dtype=torch.double)
    for color in range(3):
        field = receptive_field(model.pixel_nll, x, 1, 1, color)
        field[color, 1, 1] = 0  # the cost of a value, which says nothing of what is seen
        seen = field != 0
        assert seen[:, 0].all()
        assert seen[:, 1].tolist() == [[True, c < color, False] for c in range(3)]
        assert not seen[:, 2].any()


def test_labels_are_asked_for_as_in_the_likelihood():
    net = network(GatedCausalStack, num_classes=3)
    model, x = PixelModel(net, (1, 3, 3)), every_image(1, 3, 3)[:6]
    labels = torch.arange(6) % 3
    summed = model.pixel_nll(x, labels).flatten(1).sum(1)
    torch.testing.assert_close(summed, model.nll(x, labels))
    with pytest.raises(ValueError, match="its likelihood needs labels"):
        model.pixel_nll(x)


def test_even_odds_cost_the_logarithm_of_the_levels_everywhere():
    x = from_levels(torch.randint(256, (2, 3, 4, 4)))
    assert torch.equal(UniformModel((3, 4, 4)).pixel_nll(x), torch.full_like(x, log(256)))
