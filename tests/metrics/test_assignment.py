"""Groups that were found without labels, paired with classes."""

from itertools import permutations

import pytest
import torch

from lightning_gen.metrics.assignment import AssignmentAccuracy


def best_of_all_pairings(guesses, labels, k):
    shares = [
        (torch.tensor(order)[guesses] == labels).double().mean() for order in permutations(range(k))
    ]
    return max(shares).item()


def test_it_is_the_best_of_all_one_to_one_pairings():
    for seed in range(20):
        draw = torch.Generator().manual_seed(seed)
        guesses, labels = (torch.randint(4, (50,), generator=draw) for _ in range(2))
        metric = AssignmentAccuracy(4, 4)
        for part in range(0, 50, 7):
            metric.update(guesses[part : part + 7], labels[part : part + 7])
        assert metric.compute().item() == pytest.approx(best_of_all_pairings(guesses, labels, 4))


def test_a_renaming_of_the_classes_is_perfect_and_one_group_for_all_is_not():
    labels = torch.arange(100) % 10
    renamed, same = AssignmentAccuracy(10, 10), AssignmentAccuracy(10, 10)
    renamed.update((labels * 3 + 1) % 10, labels)
    same.update(torch.zeros(100).long(), labels)
    assert renamed.compute() == 1
    assert renamed.pairing()[4] == 1
    assert same.compute().item() == pytest.approx(0.1)


def test_a_group_of_two_classes_counts_for_one_of_them():
    metric = AssignmentAccuracy(2, 3)
    metric.update(torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 2, 2]))
    assert metric.compute().item() == pytest.approx(4 / 5)
