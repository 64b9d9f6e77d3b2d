"""M1+M2: one bound of images, by two models of which the second is fitted to what the first draws."""

from math import log

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from lightning_gen.models.autoencoders import VAE, StackedSemiSupervisedVAE
from lightning_gen.models.autoencoders.codes import GaussianCodes
from lightning_gen.models.base import Batch
from lightning_gen.models.labelled import some_of
from lightning_gen.networks.encoders import MLPDecoder, MLPEncoder, MLPUpperCodes
from lightning_gen.randomness import Noise
from tests.game import TinyData
from tests.latent import SHAPE, D, binary, noise

K, N, LOWER = 3, 6, 4
CODES = (LOWER, 1, 1)
CODES_LAW = GaussianCodes()


def make(seen=101, outputs=2, shape=CODES, lower=None, **kwargs):
    """Fitted by 101 images, of which the first 100 taught M1."""
    torch.manual_seed(0)
    model = StackedSemiSupervisedVAE(
        lower or MLPEncoder(SHAPE, LOWER, (8,)),
        MLPDecoder(SHAPE, LOWER, (8,), num_classes=None if lower is None else lower.num_classes),
        MLPEncoder(shape, D, (8,), num_classes=K),
        MLPDecoder(shape, D, (8,), outputs, num_classes=K),
        MLPEncoder(shape, K, (8,), unit_variance=True),
        **{"lower_images": 100, "labelled": 20, **kwargs},
    ).double()
    for network in (model.lower_encoder, model.encoder, model.classifier):
        network.out.weight.data *= 4
    model.images_seen = seen
    return model


def ready(model):
    """With labelled images, as `fit` would give them."""
    images = (TinyData().labelled(20)[0] > 9).to(torch.uint8) * 255
    model._examples, model.share = (images, torch.arange(20) % K), 0.25
    return model


class Told(Noise):
    """Noise that gives these numbers, one after the other."""

    def __init__(self, *numbers):
        super().__init__(("told",), len(numbers[0]), dtype=torch.double)
        self.numbers = list(numbers)

    def normal(self, *size):
        found = self.numbers.pop(0)
        assert found.shape[1:] == size
        return found


def by_hand(model, x, low, high):
    """-ln p(x|z1), ln q(z1|x) and, of each class, what codes z1 cost, image by image."""
    rows = []
    for i in range(len(x)):
        mean, log_var, _ = (part[0] for part in model.lower_encoder(x[i : i + 1]))
        q = Normal(mean, (log_var / 2).exp())
        z1 = mean + (log_var / 2).exp() * low[i]
        logits = model.lower_decoder(z1[None])[0, 0]
        costs = [-(x[i] * logits).sigmoid().log().sum(), q.log_prob(z1).sum()]
        for y in torch.arange(K):
            mean, log_var, _ = (p[0] for p in model.encoder(z1.view(1, *CODES), y[None]))
            q2 = Normal(mean, (log_var / 2).exp())
            z2 = mean + (log_var / 2).exp() * high[i]
            mu, s = model.decoder(z2[None], y[None]).flatten(2)[0]
            p = Normal(mu, (s / 2).exp())
            kl = torch.distributions.kl_divergence(q2, Normal(0 * mean, 1.0)).sum()
            sampled = (q2.log_prob(z2) - Normal(0.0, 1.0).log_prob(z2)).sum()
            costs += [log(K) - p.log_prob(z1).sum() + kl, log(K) - p.log_prob(z1).sum() + sampled]
        rows.append(torch.stack([*costs, *model.classifier(z1.view(1, *CODES)).mean[0]]))
    reconstruction, log_q, *more = torch.stack(rows, 1)
    closed, sampled = torch.stack(more[: 2 * K : 2], 1), torch.stack(more[1 : 2 * K : 2], 1)
    return reconstruction, log_q, closed, sampled, torch.stack(more[2 * K :], 1)


def test_the_bound_is_that_of_both_together():
    model, x = make(), binary(N)
    low, high = noise(N, 1).normal(LOWER), noise(N, 2).normal(D)
    reconstruction, log_q, costs, sampled, logits = by_hand(model, x, low, high)
    q = logits.softmax(1)
    upper = (q * (costs + q.log())).sum(1)
    found = model.nll(x, noise=Told(low, high))
    torch.testing.assert_close(found, reconstruction + log_q + upper)
    labels = torch.arange(N) % K  # have no say
    torch.testing.assert_close(model.nll(x, labels, noise=Told(low, high)), found)
    one = model.importance_nll(x, 1, noise=Told(low, high))
    torch.testing.assert_close(one, reconstruction + log_q - (-sampled).logsumexp(1))


@pytest.mark.parametrize("seen", [100, 101])
def test_more_draws_come_nearer_to_the_likelihood_by_many_codes_of_the_prior(seen):
    """As it is of M1 alone, so it is where M2 draws the codes."""
    model, x = make(seen), binary(N)
    for network in (model.lower_encoder, model.encoder):  # draws near the prior serve many images
        network.out.weight.data /= 16
    model.lower_decoder.layers[-2].weight.data *= 2
    drawn = []
    for y in range(K):  # as `sample` does, but for the pixels
        rows = noise(3000, y)
        if seen > 100:
            numbers = model.decoder(model.latent(3000, rows), torch.full((3000,), y))
            z1 = CODES_LAW.sample(numbers, rows)
        else:
            z1 = rows.normal(*CODES)
        drawn.append(model.lower_decoder(z1.flatten(1)))
    logits = torch.cat(drawn)[:, 0]
    log_p = torch.stack([(image * logits).sigmoid().log().sum((1, 2, 3)) for image in x], 1)
    exact = log(len(logits)) - log_p.logsumexp(0)
    many = model.importance_nll(x, 8000, noise=noise(N))
    torch.testing.assert_close(many, exact, rtol=0, atol=0.06)
    bound = torch.stack([model.nll(x, noise=noise(N, k)) for k in range(40)]).mean()
    assert many.mean() < bound


def test_until_the_first_is_fitted_it_is_a_vae():
    model, x = make(100), binary(N)
    vae = VAE(model.lower_encoder, model.lower_decoder).double()
    torch.testing.assert_close(model.nll(x, noise=noise(N)), vae.nll(x, noise=noise(N)))
    torch.testing.assert_close(
        model.importance_nll(x, 3, noise=noise(N)), vae.importance_nll(x, 3, noise=noise(N))
    )
    model.images_seen = 99
    terms, expected = (m.terms(Batch(x, None, noise(N))) for m in (model, vae))
    for name in ("loss", "nll", "reconstruction", "kl"):
        torch.testing.assert_close(terms[name], expected[name])
    assert not torch.isclose(make(101).nll(x, noise=noise(N)), vae.nll(x, noise=noise(N))).any()


@pytest.mark.parametrize(("seen", "lower"), [(99, True), (100, False), (150, False)])
def test_each_is_fitted_while_the_other_stays(seen, lower):
    model = ready(make(seen))
    model.terms(Batch(binary(N), None, noise(N)))["loss"].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == (name.startswith("lower_") == lower), name


def test_the_second_is_taught_by_draws_of_labelled_and_other_images():
    model, x = ready(make()), binary(N)
    terms = model.terms(Batch(x, None, noise(N)))
    z = model._lower(x, noise(N)).codes
    torch.testing.assert_close(
        terms["loss"],
        super(StackedSemiSupervisedVAE, model).terms(Batch(z, None, after(noise(N))))["loss"],
    )
    images, labels = model.examples(Batch(x, None, noise(N)))
    assert images.shape == (N, *CODES) and set(labels.tolist()) <= set(range(K))
    with torch.no_grad():  # what an unlabelled image gets is no labelled one's
        assert not torch.isclose(model._lower(pictures_of(model), noise(N)).codes, images).any()
    again, _ = model.examples(Batch(x, None, noise(N, "other")))
    assert not torch.isclose(images, again).any()


def pictures_of(model):
    """The images that `examples` draws for noise of that key."""
    images, _ = some_of(model._examples, noise(N))
    return model.to_floats(images)


def after(rows):
    """Noise from which the codes of images were drawn already."""
    rows.normal(LOWER)
    return rows


@pytest.mark.parametrize("sample_pixels", [False, True])
def test_samples_are_of_codes_that_the_second_draws(sample_pixels):
    model, labels = make(sample_pixels=sample_pixels), torch.arange(N) % K
    z = model.latent(N, noise(N))
    numbers = model.decoder(z, labels)
    z1 = numbers[:, 0] + (numbers[:, 1] / 2).exp() * noise(N).spawn("lower codes").normal(*CODES)
    p = model.lower_decoder(z1.flatten(1))[:, 0].sigmoid()
    samples = model.sample(N, labels, noise(N))
    if sample_pixels:
        white = noise(N).spawn("pixels").uniform(*SHAPE) < p
        torch.testing.assert_close(samples, 2 * white.double() - 1)
    else:
        torch.testing.assert_close(samples, 2 * p - 1)
    means = model.lower_decoder(numbers[:, 0].flatten(1))[:, 0].sigmoid()
    torch.testing.assert_close(model.decode(z, labels), 2 * means - 1)
    assert not torch.isclose(samples, make(100).sample(N, labels, noise(N))).all()


def test_classes_and_codes_are_told_from_the_means_of_the_first():
    model, x = make(), binary(N)
    z1 = model.lower_encoder(x).mean.view(N, *CODES)
    log_q = model.classifier(z1).mean.log_softmax(1)
    torch.testing.assert_close(model.classify(x), log_q)
    means = torch.stack([model.encoder(z1, torch.full((N,), y)).mean for y in range(K)], 1)
    torch.testing.assert_close(model.encode(x), (log_q.exp()[..., None] * means).sum(1))
    labels = torch.arange(N) % K
    torch.testing.assert_close(model.encode(x, labels), means[torch.arange(N), labels])


def test_a_step_that_ended_beyond_the_first_stage_began_no_second():
    model, seen = make(0), []
    for _ in range(6):
        model.count_images(Batch(binary(30), None, noise(30)))
        seen.append((model.images_seen, model.is_stacked))
    assert seen == [(30, False), (60, False), (90, False), (120, False), (150, True), (180, True)]
    checkpoint = {}
    model.images_seen, model.last_batch = 120, 30
    model.on_save_checkpoint(checkpoint)
    again = make(0)
    again.on_load_checkpoint(checkpoint)
    assert not again.is_stacked


def test_the_first_stays_in_all_that_it_knows():
    class Noticed(nn.Module):
        """Keeps the mean of what it is shown."""

        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(8)

        def forward(self, x):
            return self.norm(x)

    model = ready(make())
    model.lower_encoder.layers.append(Noticed().double())
    model.lower_decoder.layers.insert(2, Noticed().double())
    before = {name: value.clone() for name, value in model.named_buffers()}
    for model.images_seen, moves in ((101, False), (99, True)):
        model.train().terms(Batch(binary(N), None, noise(N)))
        now = dict(model.named_buffers())
        moved = [name for name in before if not torch.equal(before[name], now[name])]
        assert bool(moved) == moves and model.lower_encoder.training


@pytest.mark.parametrize("seen", [99, 101])
def test_divergences_of_codes_weigh_less_in_either_stage(seen):
    for options, weight in (({"kl_weight": 0.3}, 0.3), ({"kl_warmup": 1000}, seen / 1000)):
        whole, part = ready(make(seen)), ready(make(seen, **options))
        x = Batch(binary(N), None, noise(N))
        full, less = whole.terms(x), part.terms(Batch(binary(N), None, noise(N)))
        torch.testing.assert_close(full["nll"], less["nll"])
        if seen < 100:
            expected = full["loss"] - (1 - weight) * full["kl"]
            torch.testing.assert_close(less["loss"], expected)
        else:
            assert less["loss"] < full["loss"] - 0.1


MISFITS = {
    "told no classes": lambda: make(lower=MLPEncoder(SHAPE, LOWER, (8,), num_classes=K)),
    "there is no flow to read it": lambda: make(lower=MLPEncoder(SHAPE, LOWER, context_size=5)),
    "leave out upper": lambda: make(upper=MLPUpperCodes(D, 2, (4,))),
    "shape must be \\(4, 1, 1\\)": lambda: make(shape=(5, 1, 1)),
    "so the decoder's outputs must be 2, got 1": lambda: make(outputs=1),
    "lower_images must be at least 1": lambda: make(lower_images=0),
}


@pytest.mark.parametrize("sentence", MISFITS)
def test_what_does_not_fit_is_refused_in_one_sentence(sentence):
    with pytest.raises(ValueError, match=sentence):
        MISFITS[sentence]()
