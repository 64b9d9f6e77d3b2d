"""Networks, heads and shapes of pixels that do not fit are refused, with what to do."""

import pytest

from lightning_gen.models.autoregressive import PixelModel
from lightning_gen.models.heads import Logistic, Softmax
from lightning_gen.models.logistic_mixture import LogisticMixture
from lightning_gen.networks.causal import GatedCausalStack
from lightning_gen.networks.nade import NADENetwork


def test_heads_and_networks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="Logistic needs 2 numbers but the network gives 256"):
        PixelModel(GatedCausalStack(1, 256, 4, 1), (1, 4, 4), Logistic())
    with pytest.raises(ValueError, match="set the network's color_order to false"):
        PixelModel(GatedCausalStack(3, 256, 6, 1, head=6), (3, 4, 4), LogisticMixture(1))
    net = GatedCausalStack(3, 256, 6, 1, head=6, color_order=False)
    with pytest.raises(ValueError, match="set the network's color_order to true"):
        PixelModel(net, (3, 4, 4), Softmax())


@pytest.mark.parametrize("levels", [2, 256])
@pytest.mark.parametrize("head", [Logistic(), LogisticMixture(1)])
def test_networks_that_give_nothing_but_logits_are_refused_by_heads_that_read_none(levels, head):
    """Of two levels there are as many as a logistic distribution has numbers."""
    with pytest.raises(ValueError, match="a logit for each level, which Logistic.*; use Softmax"):
        PixelModel(NADENetwork((3, 2, 2), levels), (3, 2, 2), head)


def test_the_network_must_have_the_channels_of_the_shape():
    with pytest.raises(ValueError, match="1 channels but shape says 3"):
        PixelModel(GatedCausalStack(1, 2, 4, 1), (3, 4, 4))


@pytest.mark.parametrize("shape", [(1, 4, 5), (1, 5, 4), (1, 2, 8)])
def test_a_network_of_images_of_one_shape_is_refused_for_another(shape):
    """As many sub-pixels in other rows would be another order of them."""
    with pytest.raises(ValueError, match=r"\(1, 4, 4\) but gets them of .*; set its shape"):
        PixelModel(NADENetwork((1, 4, 4)), shape)
    assert PixelModel(NADENetwork(shape), shape).shape == shape
