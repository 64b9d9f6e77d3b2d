"""What all models with hidden codes share: weights of training, classes, and what does not fit."""

import pytest
import torch

from lightning_gen.models.autoencoders import IWAE, VAE, codes
from lightning_gen.models.autoencoders.free_bits import floored
from lightning_gen.models.base import Batch
from lightning_gen.models.distributions import Bernoulli, DiscretizedLogistic, Gaussian
from lightning_gen.networks.encoders import (
    ConvDecoder,
    ConvEncoder,
    MLPDecoder,
    MLPEncoder,
    MLPUpperCodes,
)
from lightning_gen.nn.flows import PlanarFlows
from tests.latent import FLOWS, SHAPE, C, D, binary, make, noise

# What a VAE of one seed has always given

DIGITS = {
    Bernoulli: (11.508622732316338, 14.96230317893473, 57.75642182889145, 56.31516709917133),
    DiscretizedLogistic: (99.96730820976812, 39.059294146960546, 500.0095980716986, 499.6984305172018),
    Gaussian: (95.91338959779718, 29.917823096366458, 479.74000501184383, 478.92312738591284),
}  # fmt: skip


@pytest.mark.parametrize("kind", DIGITS)
def test_a_plain_vae_gives_the_digits_that_it_always_gave(kind):
    """Of its loss, its gradient, its bound and its bound with 70 samples, whatever the chunk."""
    torch.manual_seed(0)
    networks = MLPEncoder(SHAPE, 3, (8,)), MLPDecoder(SHAPE, 3, (8,), kind.parameters)
    model = VAE(*networks, kind(), kl_weight=2.0, kl_warmup=100).double()
    model.images_seen = 30
    x = torch.linspace(-1, 1, 80, dtype=torch.double).view(5, *SHAPE)
    x = x.sign() if kind is Bernoulli else ((x + 1) * 127.5).round() / 127.5 - 1
    loss = model.terms(Batch(x, None, noise(5)))["loss"]
    loss.backward()
    gradient = sum(p.grad.abs().sum() for p in model.parameters())
    model.eval()
    found = [loss, gradient, model.nll(x, noise=noise(5)).sum()]
    found = [number.item() for number in found]
    for chunk in (32, 7, 70):
        bound = model.importance_nll(x, 70, noise=noise(5), chunk=chunk).sum().item()
        assert [*found, bound] == pytest.approx(DIGITS[kind], rel=1e-12)


# Codes in pieces


@pytest.mark.parametrize("pieces", [1, 6, 20, 10_000])
def test_codes_are_decoded_in_pieces_whose_size_changes_nothing(pieces, monkeypatch):
    """At most so many codes at once, but all k of an image; with gradients all at once."""
    monkeypatch.setattr(codes, "CODES", pieces)
    for model, labels in ((make(), None), (conditional(), torch.tensor([0, 1, 2, 0, 1, 2]))):
        x, seen = binary(6), []
        model.decoder.register_forward_hook(lambda _, given, __, seen=seen: seen.append(given[0]))
        expected = model.log_weights(x, 3, labels, noise(6))
        assert [len(z) for z in seen] == [18]
        seen.clear()
        with torch.no_grad():
            found = model.log_weights(x, 3, labels, noise(6))
            none = model.log_weights(x[:0], 3, None if labels is None else labels[:0], noise(0))
        assert max(len(z) for z in seen) == min(18, max(3, pieces // 3 * 3))
        assert none.shape == (0, 3)
        torch.testing.assert_close(found, expected.detach())


# Free bits


def test_free_bits_are_of_each_unit_and_of_the_mean_over_the_batch():
    model = make(kl_weight=3.0, kl_warmup=100)
    model.images_seen = 50
    x = binary(6)
    divergence = model.bound(x, None, noise(6)).divergence.mean(0).detach()
    low, middle, high = divergence.sort().values.tolist()
    for least in (low / 2, (low + middle) / 2, 2 * high):
        model.free_bits = least
        terms = model.terms(Batch(x, None, noise(6)))
        charged = sum(max(least, kl) for kl in (low, middle, high))
        expected = terms["reconstruction"] + 1.5 * charged
        torch.testing.assert_close(terms["loss"], expected)
        torch.testing.assert_close(terms["kl"].item(), low + middle + high)
    each = model.bound(x, None, noise(6)).divergence  # images differ, so the order matters
    assert each.clamp(min=low).mean(0).sum() > divergence.clamp(min=low).sum() + 0.01


def test_there_is_nothing_to_gain_below_the_free_bits():
    model, x = make(), binary(6)
    mean = model.bound(x, None, noise(6)).divergence.mean(0)
    model.free_bits = mean.sort().values[:2].mean().item()
    charged = floored(model.bound(x, None, noise(6)).divergence, model.free_bits)
    found = torch.autograd.grad(charged, model.encoder.out.weight)[0]
    kept = (mean * (mean > model.free_bits)).sum()
    torch.testing.assert_close(found, torch.autograd.grad(kept, model.encoder.out.weight)[0])
    assert (mean > model.free_bits).sum() == 2


def test_no_weight_of_training_is_in_a_reported_number():
    x = binary(6)
    plain = make()
    weighted = make(free_bits=10.0, kl_weight=3.0, kl_warmup=1000)
    weighed = make(IWAE, k=4, kl_weight=3.0, kl_warmup=1000)
    for model in (weighted, weighed):
        for k in (1, 5):
            found = model.importance_nll(x, k, noise=noise(6))
            assert torch.equal(found, plain.importance_nll(x, k, noise=noise(6)))
        assert torch.equal(model.nll(x, noise=noise(6)), plain.nll(x, noise=noise(6)))
    batch = Batch(x, None, noise(6))
    assert torch.equal(weighted.terms(batch)["nll"], plain.terms(Batch(x, None, noise(6)))["nll"])
    terms = weighed.terms(Batch(x, None, noise(6)))
    torch.testing.assert_close(terms["nll"], plain.importance_nll(x, 4, noise=noise(6)).mean())
    assert terms["loss"] < terms["nll"] - 0.01


def test_a_collapsed_posterior_reports_no_divergence_whatever_the_free_bits():
    model = make(free_bits=0.5)
    for parameter in model.encoder.out.parameters():
        parameter.data.zero_()
    terms = model.terms(Batch(binary(6), None, noise(6)))
    assert terms["kl"] == 0
    assert (terms["loss"] - terms["reconstruction"]).item() == pytest.approx(D * 0.5)


# Classes, and what does not fit


def conditional(encoder=MLPEncoder, decoder=MLPDecoder):
    torch.manual_seed(0)
    return VAE(
        encoder(SHAPE, D, (8,), num_classes=3), decoder(SHAPE, D, (8,), num_classes=3)
    ).double()


@pytest.mark.parametrize("networks", [(MLPEncoder, MLPDecoder), (ConvEncoder, ConvDecoder)])
def test_networks_that_know_classes_make_it_conditional(networks):
    model, x, labels = conditional(*networks), binary(4), torch.tensor([0, 1, 2, 0])
    assert model.num_classes == 3
    many = model.log_weights(x, 3, labels, noise(4))
    for y in range(3):
        alone = model.log_weights(x, 3, torch.full((4,), y), noise(4))
        torch.testing.assert_close(alone[labels == y], many[labels == y])
        assert not torch.isclose(alone[labels != y], many[labels != y]).any()
    z = model.latent(4, noise(4))
    assert not torch.equal(model.decode(z, labels), model.decode(z, labels.flip(0) * 0 + 1))
    with pytest.raises(ValueError, match="likelihood needs labels"):
        model.nll(x)
    assert model.sample(5).shape == (5, *SHAPE)
    assert make().nll(x, labels).shape == (4,)  # knows none


MISFITS = {
    "the encoder's context_size is 0 but the flow's is 5": lambda: make(flow=FLOWS["gated"]()),
    "context_size is 5 but there is no flow to read it": lambda: make(context=C),
    "latent_size is 3 but the flow's is 4": lambda: make(context=C, flow=PlanarFlows(4, C)),
    "latent_size is 3 but the upper codes' below_size is 9": lambda: make(upper=MLPUpperCodes(9)),
    "free_bits must be nats, 0 or more, got -1": lambda: make(free_bits=-1.0),
    "free_bits are for units": lambda: make(context=C, flow=FLOWS["gated"](), free_bits=0.1),
    "free_bits are for a mean divergence": lambda: make(IWAE, free_bits=0.1),
    "k must be at least 1, got 0": lambda: make(IWAE, k=0),
    "num_classes is 3 but the decoder's is None": lambda: VAE(
        MLPEncoder(SHAPE, num_classes=3), MLPDecoder(SHAPE)
    ),
    "activation must be one of": lambda: MLPEncoder(activation="swish"),
    "context_size must be 0, for none, or more, got -1": lambda: MLPEncoder(context_size=-1),
}


@pytest.mark.parametrize("sentence", MISFITS)
def test_what_does_not_fit_is_refused_in_one_sentence(sentence):
    with pytest.raises(ValueError, match=sentence):
        MISFITS[sentence]()
