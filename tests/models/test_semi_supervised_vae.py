"""The semi-supervised VAE: its bounds over all classes, what is trained by them, its capabilities."""

from math import log

import pytest
import torch

from lightning_gen.capabilities import (
    Classifier,
    Decoder,
    Encoder,
    ImportanceLikelihood,
    Likelihood,
    Sampler,
)
from lightning_gen.models.autoencoders import SemiSupervisedVAE
from lightning_gen.models.base import Batch
from lightning_gen.models.distributions import Gaussian
from lightning_gen.networks.encoders import MLPDecoder, MLPEncoder
from lightning_gen.nn.flows import PlanarFlows
from tests.game import TinyData, trainer
from tests.latent import SHAPE, C, D, binary, noise

K, N = 3, 6


def make(context=0, outputs=1, classifier=None, **kwargs):
    torch.manual_seed(0)
    encoder = MLPEncoder(SHAPE, D, (8,), context_size=context, num_classes=K)
    decoder = MLPDecoder(SHAPE, D, (8,), outputs, num_classes=K)
    classifier = classifier or MLPEncoder(SHAPE, K, (8,), unit_variance=True)
    model = SemiSupervisedVAE(encoder, decoder, classifier, labelled=20, **kwargs).double()
    model.encoder.out.weight.data *= 4
    if classifier is not None:
        classifier.out.weight.data *= 4
    return model


def ready(model, share=0.25):
    """With labelled images, as `fit` would give them."""
    model._examples = TinyData().labelled(20)[0], torch.arange(20) % K
    model._examples = ((model._examples[0] > 9).to(torch.uint8) * 255, model._examples[1])
    model._examples[0][:, 0, 0] = torch.randint(2, (20, 4)).to(torch.uint8) * 255
    model.share = share
    return model


def by_hand(model, x, rows):
    """L(x, y) for each class, (B, K), one class at a time."""
    costs = [model.joint(x, torch.full((len(x),), y), rows()).total for y in range(K)]
    return torch.stack(costs, 1)


# The bounds


def test_the_bound_is_that_of_a_loop_over_classes():
    for model in (make(), make(context=C, flow=PlanarFlows(D, C, 2))):
        x = binary(N)
        costs, log_q = by_hand(model, x, lambda: noise(N)), model.classify(x)
        assert costs.std(1).min() > 0.01
        q = log_q.exp()
        expected = (q * costs).sum(1) + (q * log_q).sum(1)
        torch.testing.assert_close(model.nll(x, noise=noise(N)), expected)
        labels = torch.arange(N) % K  # have no say
        torch.testing.assert_close(model.nll(x, labels, noise=noise(N)), expected)


def test_dequantised_images_are_the_same_in_all_classes():
    model, x = make(outputs=2, likelihood=Gaussian()), torch.linspace(-1, 1, N * 16).double()
    x = ((x.view(N, *SHAPE) + 1) * 127.5).round() / 127.5 - 1
    costs, log_q = by_hand(model, x, lambda: noise(N)), model.classify(x)
    expected = (log_q.exp() * (costs + log_q)).sum(1)
    torch.testing.assert_close(model.nll(x, noise=noise(N)), expected)


def test_the_best_classifier_makes_the_bound_that_of_the_sum_over_classes():
    class Best(MLPEncoder):
        def forward(self, x, labels=None):
            return super().forward(x)._replace(mean=self.logits)

    model, x = make(classifier=Best(SHAPE, K, (8,), unit_variance=True)), binary(N)
    costs = by_hand(model, x, lambda: noise(N)).detach()
    model.classifier.logits = (-costs).requires_grad_()
    bound = model.nll(x, noise=noise(N))
    torch.testing.assert_close(bound, -(-costs).logsumexp(1))
    slope = torch.autograd.grad(bound.sum(), model.classifier.logits)[0]
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-12)
    for _ in range(5):
        model.classifier.logits = -costs + torch.randn(N, K)
        assert (model.nll(x, noise=noise(N)) > bound + 1e-6).all()


def test_one_draw_of_every_class_is_that_sum():
    model, x = make(), binary(N)
    each = [model.draws(x, 1, torch.full((N,), y), noise(N)).total for y in range(K)]
    expected = -(-torch.cat(each, 1) - log(K)).logsumexp(1)
    torch.testing.assert_close(model.importance_nll(x, 1, noise=noise(N)), expected)


def test_more_draws_come_nearer_to_the_likelihood_by_enumeration():
    """Of the mean of p(x|y, z) over classes and many codes from the prior."""
    model, x = make(), binary(N)
    model.encoder.out.weight.data /= 8
    z = model.latent(5000, noise(5000))
    log_p = torch.stack(
        [
            -model.likelihood.nll(
                model.decoder(z, torch.full((len(z),), y)), image.expand(len(z), *SHAPE)
            )
            for image in x
            for y in range(K)
        ]
    ).view(N, -1)
    exact = log(log_p.shape[1]) - log_p.logsumexp(1)
    many = model.importance_nll(x, 400, noise=noise(N))
    torch.testing.assert_close(many, exact, rtol=0, atol=0.05)
    one = torch.stack([model.importance_nll(x, 1, noise=noise(N, k)) for k in range(40)]).mean()
    bound = torch.stack([model.nll(x, noise=noise(N, k)) for k in range(40)]).mean()
    assert many.mean() < one < bound


def test_classes_that_change_nothing_cost_what_is_not_known_of_them():
    """Then L is that of one class for all: U is the same bound of x with KL(q(y|x) || p(y))."""
    model, x = make(), binary(N)
    model.encoder.layers[1].weight.data[:, -K:] = 0
    model.decoder.layers[0].weight.data[:, -K:] = 0
    log_q = model.classify(x)
    unknown = (log_q.exp() * (log_q + log(K))).sum(1)
    alone = model.bound(x, torch.zeros(N).long(), noise(N)).total
    torch.testing.assert_close(model.nll(x, noise=noise(N)), alone + unknown)
    torch.testing.assert_close(
        model.importance_nll(x, 1, noise=noise(N)), model.draws(x, 1, x.new_zeros(N).long(), noise(N)).total[:, 0]
    )  # fmt: skip


# Training


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_what_training_minimises(weight):
    model, batch = ready(make(alpha=0.7, kl_weight=weight)), Batch(binary(N), None, noise(N))
    images, labels = model.examples(Batch(batch.images, None, noise(N)))
    terms = model.terms(batch)
    costs, log_q = by_hand(model, batch.images, lambda: noise(N)), model.classify(batch.images)
    unknown = (log_q.exp() * (costs + log_q)).sum(1).mean()
    others = noise(N).spawn("labelled codes")
    known = model.joint(images, labels, others).total.mean()
    torch.testing.assert_close(terms["nll"], unknown)
    torch.testing.assert_close(terms["labelled_nll"], known)
    mistaken = -model.classify(images)[torch.arange(N), labels].mean()
    torch.testing.assert_close(terms["classification"], mistaken)
    codes = model.bound(images, labels, noise(N)).divergence.sum(1).mean()
    less = 0.25 * codes + 0.75 * terms["kl"]
    expected = 0.25 * known + 0.75 * unknown + 0.7 * mistaken - (1 - weight) * less
    torch.testing.assert_close(terms["loss"], expected)


def test_labelled_images_teach_the_classifier_by_its_own_loss_alone():
    slopes = {}
    for alpha in (0.0, 0.5):
        model = ready(make(alpha=alpha), share=1.0)
        model.terms(Batch(binary(N), None, noise(N)))["loss"].backward()
        slopes[alpha] = sum(p.grad.abs().sum().item() for p in model.classifier.parameters())
    assert slopes[0.0] == 0 < slopes[0.5]


def test_unlabelled_images_teach_the_classifier():
    model = ready(make(alpha=0.0), share=0.0)
    x = binary(N)
    model.terms(Batch(x, None, noise(N)))["loss"].backward()
    found = model.classifier.out.bias.grad.clone()
    costs, log_q = by_hand(model, x, lambda: noise(N)).detach(), model.classify(x)
    q = log_q.exp()
    above = costs + log_q - (q * (costs + log_q)).sum(1, keepdim=True)
    torch.testing.assert_close(found, (q * above).mean(0))  # of the logits, by hand


class Data(TinyData):
    """Black and white, with gray labelled images that are to be made so, too."""

    num_classes = K

    def labelled(self, count):
        return torch.full((count, *SHAPE), 100, dtype=torch.uint8), torch.arange(count) % K

    def images(self, split):
        return range(80)

    def augment(self, images, noise):
        return (images > noise.integers(255, *images.shape[1:])).to(torch.uint8) * 255


def test_the_share_of_labels_is_that_of_the_data_and_their_images_are_augmented():
    model = make()
    model.scores_images = False
    trainer(max_steps=1, precision="64-true").fit(model, Data())
    assert model.share == 0.25
    images, _ = model.examples(Batch(binary(N), None, noise(N)))
    assert set(images.unique().tolist()) == {-1, 1}


def test_only_the_labels_of_labelled_images_are_looked_at():
    weights = []
    for labels in (torch.zeros(N).long(), torch.full((N,), -1)):
        model = ready(make())
        model.terms(Batch(binary(N), labels, noise(N)))["loss"].backward()
        weights.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.equal(*weights)


# Capabilities


def test_it_can_do_what_the_catalogue_says():
    model, x = make(), binary(N)
    for capability in (Sampler, Likelihood, ImportanceLikelihood, Encoder, Decoder, Classifier):
        assert isinstance(model, capability)
    torch.testing.assert_close(model.classify(x), model.classifier(x).mean.log_softmax(1))
    means = torch.stack([model.encoder(x, torch.full((N,), y)).mean for y in range(K)], 1)
    expected = (model.classify(x).exp()[..., None] * means).sum(1)
    torch.testing.assert_close(model.encode(x), expected)
    labels = torch.arange(N) % K
    torch.testing.assert_close(model.encode(x, labels), means[torch.arange(N), labels])
    z = model.latent(N, noise(N))
    samples = model.sample(N, labels, noise(N))
    torch.testing.assert_close(samples, model.decode(z, labels))
    assert not torch.isclose(samples, model.decode(z, (labels + 1) % K)).any()


MISFITS = {
    "labelled must be at least the 3 classes": lambda: SemiSupervisedVAE(
        make().encoder, make().decoder, make().classifier, labelled=2
    ),
    "alpha must not be negative": lambda: make(alpha=-1.0),
    "free_bits would count": lambda: make(free_bits=0.1),
    "the classifier has 4 outputs": lambda: make(classifier=MLPEncoder(SHAPE, 4)),
    "given images alone": lambda: make(classifier=MLPEncoder(SHAPE, K, num_classes=K)),
    "the model has 3 classes, and the data must have as many": lambda: trainer(max_steps=1).fit(
        make(), Few()
    ),
}


class Few(Data):
    num_classes = 2


@pytest.mark.parametrize("sentence", MISFITS)
def test_what_does_not_fit_is_refused_in_one_sentence(sentence):
    with pytest.raises(ValueError, match=sentence):
        MISFITS[sentence]()
