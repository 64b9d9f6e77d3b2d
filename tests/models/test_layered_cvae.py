"""disCVAE: its layers, what each part of its loss says, and what depends on what."""

import pytest
import torch
import torch.nn.functional as F

from callbacks.reconstruction_error import Reconstructor
from lightning_gen.capabilities import Decoder, Likelihood, Sampler
from lightning_gen.models.autoencoders import LayeredCVAE
from lightning_gen.models.autoencoders.layered import Layers, masked, split
from lightning_gen.models.base import Batch
from lightning_gen.networks.conditional import AttributeDecoder, AttributeEncoder
from lightning_gen.nn.roles import Posterior
from tests.latent import noise

SHAPE, A, FRONT, BACK, N = (3, 8, 8), 5, 4, 3, 6


def make(backdrop=None, **kwargs):
    """Without normalisation, with variances that depend on images."""
    torch.manual_seed(0)
    small = {"widths": (4, 4), "hidden": 8, "norm": "none"}
    networks = {
        "foreground_encoder": AttributeEncoder(SHAPE, FRONT, A, **small),
        "background_encoder": AttributeEncoder(SHAPE, BACK, A + FRONT, **small),
        "foreground_decoder": AttributeDecoder(SHAPE, FRONT, A, outputs=2, **small),
        "background_decoder": AttributeDecoder(SHAPE, BACK, backdrop, outputs=1, **small),
    }
    model = LayeredCVAE(**{**networks, **kwargs}).double()
    for part in (model.foreground_encoder, model.background_encoder):
        part.log_var.weight.data.normal_(0, 0.5)
    return model


def data(count=N):
    """Images with masks of zeros and ones, and their attributes."""
    torch.manual_seed(1)
    x = torch.rand(count, 3, 8, 8, dtype=torch.double) * 2 - 1
    mask = (torch.rand(count, 1, 8, 8) > 0.5).double()
    return torch.cat([x, mask * 2 - 1], 1), torch.randint(2, (count, A))


def codes(model, count=N):
    return model.latent(count, noise(count)).split([FRONT, BACK], 1)


# The layers


def layers_of(gate):
    torch.manual_seed(0)
    front, back = torch.rand(2, N, 3, 8, 8, dtype=torch.double) * 2 - 1
    return Layers(front, torch.full_like(front, gate), back)


def test_a_closed_gate_shows_the_foreground_and_an_open_one_the_background():
    closed, opened = layers_of(-1e3), layers_of(1e3)
    torch.testing.assert_close(closed.image("convex"), closed.foreground)
    torch.testing.assert_close(opened.image("convex"), opened.background)
    half = layers_of(0.0)
    torch.testing.assert_close(half.image("convex"), (half.foreground + half.background) / 2)
    torch.testing.assert_close(closed.image("additive"), closed.foreground)


def test_layers_that_add_up_have_black_as_nothing():
    layers = layers_of(1e3)._replace(foreground=layers_of(0).foreground * 0 - 1)
    for composite in ("convex", "additive"):  # bright grounds, too
        torch.testing.assert_close(layers.image(composite), layers.background)
    both = layers_of(0.7)
    share = torch.tensor(0.7).double().sigmoid()
    expected = (both.foreground + 1) / 2 + share * (both.background + 1) / 2
    torch.testing.assert_close((both.image("additive") + 1) / 2, expected)


def test_masked_images_are_black_on_the_ground_and_themselves_on_the_foreground():
    images, _ = data()
    x, mask = split(images)
    assert set(mask.unique().tolist()) == {0, 1}
    here = mask.expand_as(x) == 1
    assert torch.equal(masked(x, mask)[~here], torch.full_like(x[~here], -1))
    torch.testing.assert_close(masked(x, mask)[here], x[here])


def test_a_new_background_changes_only_what_is_seen_of_it():
    model, (_, labels) = make(), data()
    front, back = codes(model)
    bias = model.foreground_decoder.out.bias
    bias.data[3:] = 0
    first = model.layers(front, back, labels)
    second = model.layers(front, back + 1, labels)
    assert torch.equal(first.foreground, second.foreground)
    assert torch.equal(first.gate, second.gate)
    change = first.image("convex") - second.image("convex")
    expected = first.gate.sigmoid() * (first.background - second.background)
    torch.testing.assert_close(change, expected)
    assert change.abs().max() > 1e-4
    bias.data[3:] = -1e3  # nothing is seen of it
    closed = model.layers(front, back, labels), model.layers(front, back + 1, labels)
    torch.testing.assert_close(*(layers.image("convex") for layers in closed))


# The loss


def test_what_training_minimises():
    model, (images, labels) = make(gate_weight=0.7, kl_weight=0.9), data()
    x, mask = split(images)
    terms = model.terms(Batch(images, labels, noise(N)))
    seen = (x + 1) * mask - 1
    front = model.foreground_encoder(seen, labels)
    z = front.mean + (front.log_var / 2).exp() * noise(N).spawn("foreground").normal(FRONT)
    back = model.background_encoder(x, torch.cat([labels, z], 1))
    z_back = back.mean + (back.log_var / 2).exp() * noise(N).spawn("background").normal(BACK)
    layers = model.layers(z, z_back, labels)
    far = lambda a, b: F.smooth_l1_loss(a, b, reduction="sum") / N  # noqa: E731
    gate = layers.gate.sigmoid()
    whole = (1 - gate) * layers.foreground + gate * layers.background
    hidden = 1 - mask.expand_as(gate)
    cost = -(hidden * gate.log() + (1 - hidden) * (1 - gate).log()).sum() / N
    kl = [
        0.5 * (p.mean.square() + p.log_var.exp() - 1 - p.log_var).sum() / N for p in (front, back)
    ]
    expected = far(layers.foreground, seen) + far(whole, x) + 0.7 * cost + 0.9 * sum(kl)
    torch.testing.assert_close(terms["loss"], expected)
    torch.testing.assert_close(terms["kl_foreground"], kl[0])
    torch.testing.assert_close(terms["gate"], cost)


def test_the_gate_is_to_be_open_where_the_mask_is_not():
    model, (images, _) = make(), data()
    x, mask = split(images)
    flat = [Posterior(*torch.zeros(3, N, 2).double())] * 2
    right, wrong = ((1 - mask) * 20 - 10, mask * 20 - 10)
    costs = [
        model.costs(Layers(masked(x, mask), gate.expand_as(x), x), flat, x, mask)
        for gate in (right, wrong)
    ]
    assert costs[0]["gate"] < 0.1
    assert costs[1]["gate"] > 100
    assert costs[0]["foreground"] == 0
    assert costs[0]["reconstruction"] < 0.1
    assert costs[0]["loss"] < costs[1]["loss"]


def test_the_background_teaches_the_encoder_of_the_foreground():
    """Since its own encoder is told the foreground's codes; but not the other way round."""
    model, (images, labels) = make(), data()
    terms = model.terms(Batch(images, labels, noise(N)))
    first = model.foreground_encoder.mean.weight
    slope = torch.autograd.grad(terms["kl_background"], first, retain_graph=True)[0]
    assert slope.abs().sum() > 1e-6
    others = tuple(model.background_encoder.parameters())
    none = torch.autograd.grad(terms["kl_foreground"], others, allow_unused=True, retain_graph=True)
    assert all(each is None for each in none)
    none = torch.autograd.grad(terms["foreground"], others, allow_unused=True)
    assert all(each is None for each in none)


def test_the_foreground_is_told_nothing_of_the_background():
    model, (images, labels) = make(), data()
    other = images.clone()
    x, mask = split(images)
    other[:, :3] = torch.where(mask == 1, x, torch.rand_like(x) * 2 - 1)
    found = [model.layers_of(each, labels) for each in (images, other)]
    torch.testing.assert_close(found[0].foreground, found[1].foreground)
    torch.testing.assert_close(found[0].gate, found[1].gate)
    assert not torch.allclose(found[0].background, found[1].background)


# Capabilities


@pytest.mark.parametrize("composite", ["convex", "additive"])
def test_samples_are_of_codes_from_the_prior_with_their_masks(composite):
    model, (_, labels) = make(composite=composite, ema_half_life=10), data()
    assert isinstance(model, Sampler)
    assert isinstance(model, Decoder)
    assert not isinstance(model, Likelihood)
    assert not isinstance(model, Reconstructor)  # which gives images, not layers
    assert model.shape == (4, 8, 8)
    found = model.sample(N, labels, noise(N))
    layers = model.layers(*codes(model), labels)
    expected = layers.image(composite).clamp(-1, 1)
    torch.testing.assert_close(found[:, :3], expected)
    torch.testing.assert_close(split(found)[1], 1 - layers.gate.sigmoid().mean(1, keepdim=True))
    flipped = model.sample(N, 1 - labels, noise(N))
    assert not torch.isclose(flipped[:, :3], found[:, :3]).all()


def test_a_background_that_knows_attributes_is_told_of_them():
    model, (_, labels) = make(backdrop=A), data()
    found = [model.layers(*codes(model), each) for each in (labels, 1 - labels)]
    assert not torch.allclose(found[0].background, found[1].background)
    model = make()
    found = [model.layers(*codes(model), each) for each in (labels, 1 - labels)]
    assert torch.equal(found[0].background, found[1].background)


def decoder(*args, **kwargs):
    return AttributeDecoder(*args, widths=(4, 4), hidden=8, **kwargs)


MISFITS = {
    "composite must be convex or additive": lambda: make(composite="sum"),
    "gate_weight and kl_weight must not be negative": lambda: make(gate_weight=-1.0),
    "shape of the colours alone": lambda: make(background_decoder=decoder((4, 8, 8), BACK)),
    "the background's decoder the same or none": lambda: make(backdrop=A + 1),
    "num_classes must be 9, got 5": lambda: make(
        background_encoder=AttributeEncoder(SHAPE, BACK, A, (4, 4), 8)
    ),
    "same latent_size": lambda: make(background_decoder=decoder(SHAPE, BACK + 1, None, outputs=1)),
    "1, got 2 and 2": lambda: make(background_decoder=decoder(SHAPE, BACK, None)),
}


@pytest.mark.parametrize("sentence", MISFITS)
def test_what_does_not_fit_is_refused_in_one_sentence(sentence):
    with pytest.raises(ValueError, match=sentence):
        MISFITS[sentence]()
