"""Networks with a bottleneck: the ways up from coarse maps to fine ones, and where switches go."""

import pytest
import torch
import torch.nn.functional as F

from lightning_gen.models.autoencoders import Autoencoder
from lightning_gen.networks.bottleneck import ConvCoder, UpsamplingDecoder
from lightning_gen.nn.bottleneck import Doubling, Unpool

WAYS = ("nearest", "bilinear", "unpool", "transposed")


def maps(*shape):
    return torch.randn(*shape, dtype=torch.double)


def test_unpooling_puts_maxima_back_where_they_were():
    x = maps(2, 3, 6, 4)
    pooled, switches = F.max_pool2d(x, 2, return_indices=True)
    back = Unpool()(pooled, switches)
    at_maximum = back != 0
    assert torch.equal(back[at_maximum], x[at_maximum])
    assert at_maximum.sum() == pooled.numel()
    again, places = F.max_pool2d(back.abs(), 2, return_indices=True)
    assert torch.equal(places, switches) and torch.equal(again, pooled.abs())


def test_without_switches_numbers_go_to_the_top_left():
    x = maps(2, 3, 2, 3)
    back = Unpool()(x)
    assert back.shape == (2, 3, 4, 6)
    assert torch.equal(back[..., ::2, ::2], x)
    assert back.count_nonzero() == x.numel()


@pytest.mark.parametrize("way", WAYS)
def test_each_way_doubles_the_size(way):
    assert Doubling(3, 5, way).double()(maps(2, 3, 4, 6)).shape == (2, 5, 8, 12)


@pytest.mark.parametrize(
    ("way", "checkers"), [("nearest", 0.0), ("bilinear", 0.0), ("unpool", 1.0)]
)
def test_what_enlarging_makes_of_a_plain_map(way, checkers):
    """Nearest and bilinear leave it plain; unpooling at fixed places makes a pattern of it."""
    fine = Doubling(1, 1, way).enlarge(torch.ones(1, 1, 4, 4))
    assert fine.max() - fine.min() == checkers


def test_bilinear_is_smoother_than_nearest_on_a_step():
    x = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(1, 1, 4, 4)
    jumps = {way: Doubling(1, 1, way).enlarge(x).diff(dim=-1).abs().max() for way in WAYS[:2]}
    assert jumps["bilinear"] <= 0.5 < jumps["nearest"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 16, 8)])
def test_codes_become_images_and_all_weights_matter(way, shape):
    torch.manual_seed(0)
    coder = ConvCoder(shape, 5, (4, 8), "pool" if way == "unpool" else "stride").double()
    decoder = UpsamplingDecoder(shape, 5, (4, 8), way, outputs=2).double()
    x = maps(6, *shape)
    code, switches = coder.with_switches(x)
    assert code.shape == (6, 5) and torch.equal(coder(x), code)
    made = decoder(code, switches=switches)
    assert made.shape == (6, 2, *shape)
    made.square().sum().backward()
    for network in (coder, decoder):
        assert all(p.grad.abs().sum() > 0 for p in network.parameters())


def test_switches_of_another_image_change_what_is_made():
    torch.manual_seed(0)
    coder, x = ConvCoder((1, 8, 8), 2, (3, 4), "pool").double(), maps(2, 1, 8, 8)
    decoder = UpsamplingDecoder((1, 8, 8), 2, (3, 4), "unpool").double()
    code, switches = coder.with_switches(x)
    assert [s.shape[1:] for s in switches] == [(3, 4, 4), (4, 2, 2)]
    made = decoder(code, switches=switches)
    others = decoder(code, switches=[s.flip(0) for s in switches])
    assert not torch.allclose(made, others)


def test_a_stride_leaves_no_switches():
    assert ConvCoder((1, 8, 8), 2, (3,)).with_switches(torch.zeros(1, 1, 8, 8))[1] == []


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="up must be nearest"):
        Doubling(1, 1, "cubic")
    with pytest.raises(ValueError, match="down must be stride or pool"):
        ConvCoder(down="mean")
    with pytest.raises(ValueError, match="divisible by 8, got 28 x 28"):
        UpsamplingDecoder((1, 28, 28), widths=(4, 4, 4))
    with pytest.raises(ValueError, match="knows no classes"):
        UpsamplingDecoder((1, 8, 8))(torch.zeros(1, 32), torch.zeros(1))


def test_switches_are_left_out_if_so_configured():
    torch.manual_seed(0)
    coder, x = ConvCoder((1, 8, 8), 2, (3, 4), "pool").double(), maps(2, 1, 8, 8)
    for used in (True, False):
        decoder = UpsamplingDecoder((1, 8, 8), 2, (3, 4), "unpool", use_switches=used).double()
        model = Autoencoder(coder, decoder)
        alone = model.decode(model.encode(x))
        assert torch.equal(model.reconstruct(x), alone) != used
