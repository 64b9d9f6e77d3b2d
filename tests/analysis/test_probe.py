"""Probes: the budget of labels, an encoder that stays as it is, and one that learns on."""

import copy

import pytest
import torch
from torch import nn

from lightning_gen.analysis.probe import (
    RATE,
    SLOWER,
    Labelled,
    accuracy,
    balanced_subset,
    codes_of,
    fine_tune,
    linear_accuracy,
    shuffled,
    summary,
)


class Model(nn.Module):
    """An encoder with everything that a careless probe would change, and a decoder."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3)
        )
        self.decoder = nn.Linear(3, 4)

    def encode(self, x):
        return self.layers(x)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Model().double()


def two_classes(count=60, seed=0):
    """Points that lie apart."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 2
    x = torch.randn(count, 4, generator=generator, dtype=torch.double)
    return Labelled(x + 8 * y[:, None], y)


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("count", [10, 100, 23, 37])
def test_the_budget_of_labels_is_exact_and_balanced(count):
    labels = torch.randint(10, (1000,), generator=torch.Generator().manual_seed(0))
    places = balanced_subset(labels, count, seed=1)
    assert len(places.unique()) == len(places) == count
    counts = labels[places].bincount(minlength=10)
    assert counts.max() - counts.min() <= (1 if count % 10 else 0)
    assert torch.equal(places, places.sort().values)


def test_subsets_depend_on_their_seed_alone():
    labels = torch.arange(1000) % 10
    first = balanced_subset(labels, 100, 1)
    torch.manual_seed(5)
    assert torch.equal(first, balanced_subset(labels, 100, 1))
    assert not torch.equal(first, balanced_subset(labels, 100, 2))


def test_more_labels_than_there_are_or_fewer_than_classes_are_refused():
    labels = torch.tensor([0, 0, 0, 1])
    for count in (1, 4):
        with pytest.raises(ValueError, match="labels of 2 classes are asked for"):
            balanced_subset(labels, count, 0)


def test_codes_are_those_of_evaluation_and_leave_the_model_bit_for_bit(model):
    before, x = copy.deepcopy(model), two_classes().x
    model.train()
    model.decoder.eval()
    codes = codes_of(model, model.encode, x.split(7))
    assert same(model, before)
    assert model.layers.training and not model.decoder.training
    assert not codes.requires_grad
    assert torch.equal(codes, codes_of(model, model.encode, x.split(7)))  # no dropout
    torch.testing.assert_close(codes, before.eval().encode(x).detach())


def test_a_probe_knows_classes_that_lie_apart_and_no_others():
    assert linear_accuracy(two_classes(), two_classes(seed=1)) == 1
    x, y = two_classes()
    blind = Labelled(torch.randn(1000, 4, dtype=torch.double), torch.arange(1000) % 2)
    assert abs(linear_accuracy(Labelled(blind.x[:60], y), blind) - 0.5) < 0.1


def test_a_probe_does_not_depend_on_the_unit_of_the_features():
    generator = torch.Generator().manual_seed(3)
    y = torch.arange(200) % 4
    x = torch.randn(200, 5, generator=generator, dtype=torch.double) + y[:, None] * torch.eye(5)[0]
    parts = Labelled(x[:80], y[:80]), Labelled(x[80:], y[80:])
    found = linear_accuracy(*parts)
    assert 0.3 < found < 1
    assert linear_accuracy(*(Labelled(1000 * part.x - 7, part.y) for part in parts)) == found


def test_a_probe_of_one_label_per_class_has_nothing_to_choose_by():
    train = two_classes(2)
    assert linear_accuracy(train, two_classes(seed=1)) == 1


def test_fine_tuning_begins_at_the_weights_and_leaves_the_model(model):
    before, train = copy.deepcopy(model), two_classes()
    start = fine_tune(model, train, steps=0)
    torch.testing.assert_close(start.model.encode(train.x), model.eval().encode(train.x))
    assert (start.classify(train.x) == 0).all()
    model.train()
    tuned = fine_tune(model, train, steps=3)
    assert same(model, before) and model.training and model.decoder.weight.grad is None
    assert not same(tuned.model, before)


def test_fine_tuning_moves_the_encoder_slowly_and_nothing_but_the_encoder(model):
    tuned = fine_tune(model, two_classes(), steps=2).model
    moved = {
        name: (after - before).abs().max().item()
        for (name, before), after in zip(
            model.state_dict().items(), tuned.state_dict().values(), strict=True
        )
    }
    # The head begins at zero, so that the first step has no gradient but the decay of weights.
    assert 0 < moved["layers.1.weight"] < 1.1 * SLOWER * RATE
    assert max(value for name, value in moved.items() if name.startswith("decoder")) == 0
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert moved[f"layers.2.{name}"] == 0


def test_fine_tuning_learns(model):
    tuned = fine_tune(model, two_classes(), encoder_rate=RATE, steps=100)
    assert accuracy(tuned.classify, [two_classes(seed=1)]) > 0.95


def test_units_that_hardly_vary_have_hardly_any_say_in_fine_tuning():
    """Over few images they vary by chance, and scaled each on its own they would drown the others."""
    model = nn.Module()
    model.sizes = nn.Parameter(torch.tensor([1, 1, 1, 1e-3], dtype=torch.double))
    model.encode = lambda x: x * model.sizes
    tuned = fine_tune(model, two_classes(), encoder_rate=0.0, steps=50)
    x = two_classes().x[:1].requires_grad_()
    slopes = torch.autograd.grad(tuned.classify(x)[0, 1], x)[0].abs()[0]
    assert slopes[3] < 0.01 * slopes[0]


def test_fine_tuning_is_a_function_of_its_seed(model):
    train = two_classes(200)
    one, two, other = (fine_tune(model, train, steps=3, seed=seed).model for seed in (0, 0, 1))
    assert same(one, two) and not same(one, other)


def test_codes_without_a_gradient_cannot_be_fine_tuned(model):
    model.encode = torch.no_grad()(model.encode)
    with pytest.raises(ValueError, match="codes of Model have no gradient"):
        fine_tune(model, two_classes())


def test_each_pass_takes_every_image_once():
    generator = torch.Generator().manual_seed(0)
    places = list(shuffled(250, 5, generator))
    assert [len(each) for each in places] == [100] * 5
    for each in torch.cat(places).split(250):
        assert each.sort().values.tolist() == list(range(250))
    assert sorted(next(iter(shuffled(7, 1, generator))).tolist()) == list(range(7))


def test_the_accuracy_is_over_images_not_over_batches():
    x, y = two_classes()
    wrong = Labelled(x[:1], 1 - y[:1])

    def classify(x):
        return torch.stack([4 - x.mean(1), x.mean(1) - 4], 1)

    assert accuracy(classify, [Labelled(x, y), wrong]) == pytest.approx(60 / 61)


def test_the_deviation_is_that_over_subsets():
    assert summary([0.8, 0.9]) == pytest.approx((0.85, 0.005**0.5))
    assert summary([0.8]) == (pytest.approx(0.8), None)
