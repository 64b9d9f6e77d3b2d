"""What an encoder is worth where labels are few: linear probes, fine-tuning, and their controls.

A probe is a logistic regression on codes, whose encoder does not change. Fine-tuning goes on from the
encoder's weights, which learn ten times slower than the linear layer on top. What they are compared with
are the same regression on pixels and on principal components, and the same training from fresh weights.

References:
    | Semi-supervised Learning with Deep Generative Models (Kingma et al., 2014), Section 4.1, for the
    | numbers of labels, https://arxiv.org/abs/1406.5298
    | Understanding Intermediate Layers Using Linear Classifier Probes (Alain and Bengio, 2016)
    | https://arxiv.org/abs/1610.01644
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C, on features of unit variance; weaker to the right
FOLDS = 3
STEPS, BATCH, RATE, SLOWER = 1000, 100, 1e-3, 0.1  # of fine-tuning, for any number of labels


class Labelled(NamedTuple):
    """Images (N, ...), or what was made of them, and their classes (N,)."""

    x: Tensor
    y: Tensor


def balanced_subset(labels: Tensor, count: int, seed: int) -> Tensor:
    """The positions of `count` images, as many of each class, in increasing order.

    Where the classes do not divide the count, some have one more.

    Arguments:
        labels: Of all images, (N,).
        count: How many.
        seed: Which ones; it depends on nothing else.
    """
    generator = torch.Generator().manual_seed(seed)
    classes = labels.unique()
    each, more = divmod(count, len(classes))
    lucky = set(torch.randperm(len(classes), generator=generator)[:more].tolist())
    chosen = []
    for k, label in enumerate(classes):
        members, wanted = (labels == label).nonzero().flatten(), each + (k in lucky)
        if each == 0 or wanted > len(members):
            raise ValueError(
                f"{count} labels of {len(classes)} classes are asked for, but of class "
                f"{int(label)} there are {len(members)} images; ask for at least {len(classes)} "
                "labels and at most those that there are"
            )
        chosen.append(members[torch.randperm(len(members), generator=generator)[:wanted]])
    return torch.cat(chosen).sort().values


@torch.no_grad()
def codes_of(
    model: nn.Module, encode: Callable[[Tensor], Tensor], batches: Iterable[Tensor]
) -> Tensor:
    """The codes (N, D) of images, in evaluation mode, float64 on the CPU; the model stays as it is."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        return torch.cat([encode(x).flatten(1).double().cpu() for x in batches])
    finally:
        for module, mode in modes.items():
            module.training = mode


def linear_accuracy(train: Labelled, test: Labelled, seed: int = 0) -> float:
    """The share of test images that a logistic regression gets right.

    Features are centred and scaled by one number, both from the labelled images. So is the penalty
    chosen, by cross-validation among them alone: no label beyond the budget is looked at.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    mean = train.x.double().mean(0)
    scale = (train.x - mean).square().mean().sqrt().clamp(min=1e-12)
    x, x_test = (((part.x - mean) / scale).numpy() for part in (train, test))
    y, y_test = train.y.numpy(), test.y.numpy()
    regressions = [LogisticRegression(C=c, max_iter=1000) for c in PENALTIES]
    best, folds = (
        regressions[len(PENALTIES) // 2],
        min(FOLDS, int(np.bincount(y)[np.unique(y)].min())),
    )
    if folds > 1:
        cuts = StratifiedKFold(folds, shuffle=True, random_state=seed)
        scores = [cross_val_score(each, x, y, cv=cuts).mean() for each in regressions]
        best = regressions[int(np.argmax(scores))]
    return float(best.fit(x, y).score(x_test, y_test))


class Tuned(NamedTuple):
    """An encoder that was trained further, in a copy of its model, and its linear layer."""

    model: nn.Module
    classify: Callable[[Tensor], Tensor]  # images to logits


def fine_tune(
    model: nn.Module,
    train: Labelled,
    encoder_rate: float = RATE * SLOWER,
    steps: int = STEPS,
    seed: int = 0,
) -> Tuned:
    """Trains a copy of a model's encoder, with a linear layer on its codes, to tell classes.

    It stays in evaluation mode: normalisation by running means, no dropout. The layer begins at
    zero and reads codes centred and scaled by one number, as those of the labelled images were.

    Arguments:
        model: Has `encode`; it is not changed.
        train: Images as `encode` takes them, and their classes.
        encoder_rate: Learning rate of all that codes depend on; that of the layer is 1e-3.
        steps: How many, of 100 images each.
        seed: Of the order of the images.
    """
    model = copy.deepcopy(model).eval().requires_grad_(True)
    encode: Callable[[Tensor], Tensor] = model.encode  # type: ignore[assignment]
    codes = torch.cat([encode(part).flatten(1).detach() for part in train.x.split(500)])
    mean = codes.mean(0)
    # By one number, as for the probe: over few images, units that hardly vary would become noise.
    scale = (codes - mean).square().mean().sqrt().clamp(min=1e-6)
    head = nn.Linear(codes.shape[1], int(train.y.max()) + 1).to(codes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)

    def classify(x: Tensor) -> Tensor:
        return head((encode(x).flatten(1) - mean) / scale)

    own: list[dict[str, Any]] = [
        {"params": depended_on(model, encode, train.x[:2]), "lr": encoder_rate},
        {"params": head.parameters()},
    ]
    optimizer = torch.optim.AdamW(own, lr=RATE)
    generator = torch.Generator().manual_seed(seed)
    for places in shuffled(len(train.y), steps, generator):
        optimizer.zero_grad()
        F.cross_entropy(classify(train.x[places]), train.y[places].to(codes.device)).backward()
        optimizer.step()
    return Tuned(model, classify)


def depended_on(
    model: nn.Module, encode: Callable[[Tensor], Tensor], x: Tensor
) -> list[nn.Parameter]:
    """The parameters that codes depend on."""
    codes, parameters = encode(x), list(model.parameters())
    if not codes.requires_grad:
        raise ValueError(
            f"codes of {type(model).__name__} have no gradient, so its encoder cannot be "
            "fine-tuned; leave finetune and scratch out of the modes"
        )
    slopes = torch.autograd.grad(codes.sum(), parameters, allow_unused=True)
    return [p for p, slope in zip(parameters, slopes, strict=True) if slope is not None]


def shuffled(count: int, steps: int, generator: torch.Generator) -> Iterable[Tensor]:
    """Positions for so many steps: each pass takes all images in a new order.

    A batch at the end of a pass is filled up from the next one.
    """
    batch, left = min(BATCH, count), torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(left) < batch:
            left = torch.cat([left, torch.randperm(count, generator=generator)])
        yield left[:batch]
        left = left[batch:]


@torch.no_grad()
def accuracy(classify: Callable[[Tensor], Tensor], test: Iterable[Labelled]) -> float:
    """The share of images for which the largest logit is that of their class."""
    right = total = 0
    for x, y in test:
        right += int((classify(x).argmax(1).cpu() == y).sum())
        total += len(y)
    return right / total


def summary(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and the standard deviation over subsets of labels; of one subset there is none."""
    spread = torch.tensor(values, dtype=torch.float64)
    return spread.mean().item(), spread.std().item() if len(values) > 1 else None
