r"""Semi-supervised VAE, M2: images of classes y, of which few are known, and codes z for the rest.

With :math:`L(x, y) \ge -\log p(x, y)`, the bound of a conditional VAE and of uniform classes, an
image whose class is not known costs, summed over all K classes,

.. math:: U(x) = \sum_y q(y|x) L(x, y) - H(q(y|x)) \ge -\log p(x)

and an image is trained on, of N of which N_l are labelled, by the mean over all of them,

.. math:: \frac{N_l}{N} E_l[L(x, y)] + (1 - \frac{N_l}{N}) E[U(x)] - \alpha E_l[\log q(y|x)]

For any codes, U is least where :math:`q(y|x) \propto e^{-L(x, y)}`; it is
:math:`-\log \sum_y e^{-L(x, y)}` there.

References:
    | Semi-Supervised Learning with Deep Generative Models (Kingma et al., 2014), Equations 6 to 9
    | https://arxiv.org/abs/1406.5298
"""

from math import log
from typing import Any

import torch
from torch import Tensor

from ... import losses
from ...nn.roles import Decoder, Encoder
from ...randomness import Noise
from ..base import Batch, Terms, evaluating
from ..distributions import Distribution
from ..labelled import Augment, Pairs, Rows, check_classes, in_every_class, labelled_images, some_of
from .latent import Bound
from .vae import VAE


class SemiSupervisedVAE(VAE):
    """Conditional VAE with a classifier. Only the labels of `labelled` images are looked at.

    Each step has as many labelled images as others, drawn anew, and weighs them by how many there
    are. All training images count as unlabelled, those with labels, too. What it reports is a bound
    on the likelihood of images alone, over all classes. Its variance of codes may depend on the
    class, which the paper's does not.

    Arguments:
        encoder: Maps images and classes to the mean and log-variance of codes.
        decoder: Maps codes and classes to the parameters of a distribution over images.
        classifier: Maps images to the logits of classes, which are the means of what it says; an
            encoder with `unit_variance` says nothing else.
        likelihood: The distribution of images. Default: Bernoulli, for binary images.
        labelled: How many training images have labels, in equal shares of the classes.
        alpha: Weight of the classifier's own loss, for each image of the data; of the sum over
            labelled images it is alpha N / N_l. The authors' code has 0.1.
        kwargs: See `VAE`. The divergence of classes always has weight 1.
    """

    sums_over_classes = True  # so reported numbers are of images alone

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        classifier: Encoder,
        likelihood: Distribution | None = None,
        labelled: int = 1000,
        alpha: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, decoder, likelihood, **kwargs)
        check_classes(encoder, decoder, classifier, labelled, alpha)
        if self.free_bits:
            raise ValueError("free_bits would count the divergence of classes; leave them out")
        self.classifier, self.labelled, self.alpha = classifier, labelled, alpha
        self.share = 1.0  # N_l / N, which the data says
        self._examples: Pairs | None = None
        self._augment: Augment | None = None
        self.average("classifier")

    @property
    def num_classes(self) -> int:
        """How many classes there are, known or not."""
        return self.classifier.latent_size

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":
            self._examples = labelled_images(self.trainer, self.num_classes, self.labelled)
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            self._augment, self.share = data.augment, self.labelled / len(data.images("train"))

    def condition(self, labels: Tensor | None) -> None:
        """Nothing: reported numbers are of images alone, whatever is known of them."""

    # The bounds

    def terms(self, batch: Batch) -> Terms:
        images, labels = self.examples(batch)
        known = self.joint(images, labels, batch.noise.spawn("labelled codes"))
        unknown = self.marginal(batch.images, batch.noise)
        mistaken = losses.categorical_costs(self.classifier(images).mean, labels).mean()
        both = (self.share * a + (1 - self.share) * b for a, b in zip(known, unknown, strict=True))
        reconstruction, divergence = (part.mean(0) for part in both)
        weighted = self.beta * divergence[:-1].sum() + divergence[-1]
        return {
            "loss": reconstruction + weighted + self.alpha * mistaken,
            "nll": unknown.total.mean(),
            "labelled_nll": known.total.mean(),
            "reconstruction": unknown.reconstruction.mean(),
            "kl": unknown.divergence[:, :-1].sum(1).mean(),
            "kl_classes": unknown.divergence[:, -1].mean(),
            "classification": mistaken,
        }

    def bound(self, x: Tensor, labels: Tensor | None, noise: Noise) -> Bound:
        """Of p(x|y) where labels are given, else of p(x); the classes are its last group."""
        return self.marginal(x, noise) if labels is None else super().bound(x, labels, noise)

    def marginal(self, x: Tensor, noise: Noise) -> Bound:
        """U(x), of images whose classes nobody knows."""
        many, classes, rows = in_every_class(x, self.num_classes)
        every = super().bound(many, classes, Rows(noise, rows))
        return over_classes(every, self._network("classifier")(x).mean.log_softmax(1))

    def draws(self, x: Tensor, k: int, labels: Tensor | None, noise: Noise) -> Bound:
        """As `bound`; a draw of codes for every class is weighed by the best q(y|x) for it."""
        if labels is not None:
            return super().draws(x, k, labels, noise)
        many, classes, rows = in_every_class(x, self.num_classes)
        every = super().draws(many, k, classes, Rows(noise, rows))
        costs = every.total.unflatten(0, (-1, self.num_classes))
        return over_classes(every, (-costs).log_softmax(1))

    def joint(self, x: Tensor, labels: Tensor, noise: Noise) -> Bound:
        """L(x, y), of images together with their classes, whose ln K nats are its last group."""
        reconstruction, divergence = super().bound(x, labels, noise)
        classes = divergence.new_full((len(x), 1), log(self.num_classes))
        return Bound(reconstruction, torch.cat([divergence, classes], 1))

    def examples(self, batch: Batch) -> Pairs:
        """As many labelled images, augmented like all others, and their labels, as a batch has."""
        images, labels = some_of(self._examples, batch.noise, self._augment)
        return self.to_floats(images), labels

    # Capabilities

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The posterior mean, (B, D); without labels, over all classes that an image may have."""
        if labels is not None:
            return super().encode(x, labels)
        many, classes, _ = in_every_class(x, self.num_classes)
        codes = super().encode(many, classes).unflatten(0, (-1, self.num_classes))
        return (self.log_q(x).exp()[..., None] * codes).sum(1)

    def classify(self, x: Tensor) -> Tensor:
        """Log-probabilities (B, K) of images (B, C, H, W)."""
        return self.log_q(x)

    def log_q(self, x: Tensor) -> Tensor:
        """ln q(y|x), (B, K)."""
        with evaluating(self.averaged("classifier")) as network:
            return network(x).mean.log_softmax(1)


def over_classes(bound: Bound, log_q: Tensor) -> Bound:
    """The mean over classes, by log q(y|x) of shape (B, K) or (B, K, k), of what each costs.

    What it costs not to know the class, KL(q(y|x) || p(y)), is the last group.
    """
    q = log_q.exp()
    costs = (q * bound.reconstruction.unflatten(0, q.shape[:2])).sum(1)
    codes = (q[..., None] * bound.divergence.unflatten(0, q.shape[:2])).sum(1)
    classes = (q * (log_q + log(q.shape[1]))).sum(1)
    return Bound(costs, torch.cat([codes, classes[..., None]], -1))
