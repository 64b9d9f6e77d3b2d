"""Comparisons with the best: the chance of any wrong verdict, where the values have chosen it and where not."""

import math

import numpy as np
import pytest
from scipy import stats

from lightning_gen.compare.pairs import Cell, Column, pairs_of
from lightning_gen.compare.selection import TABLES, after_selection, least_p
from lightning_gen.compare.statistics import holm, summarise

SEEDS = (0, 1, 2)
COLUMN = Column("fid/digits@2000", "p")


def corrected(p, n=3):
    return after_selection(p, range(n), [range(n)] * len(p))


def cells(values):
    """Groups of as many seeds as there are values."""
    named = {f"m{k}": dict(enumerate(v)) for k, v in enumerate(values.tolist())}
    return {name: Cell(summarise(list(v.values())), v) for name, v in named.items()}


def against(values, reference):
    """The p-values (tables, groups) of paired tests against one group of each table; its own is infinite."""
    at = np.arange(len(values))
    apart = values - values[at, reference][:, None]
    p = np.full(values.shape[:2], np.inf)
    t = apart.mean(-1) / np.where(apart.any(-1), stats.sem(apart, axis=-1), 1)
    p[:] = 2 * stats.t.sf(np.abs(t), values.shape[-1] - 1)
    p[at, reference] = np.inf
    return p


def test_of_two_groups_nothing_is_chosen():
    assert corrected([0.03]) == [0.03] and corrected([math.nan, 0.03]) == [math.nan, 0.03]


def test_the_best_of_many_is_corrected_for_more_than_their_number():
    (holms, *_), (chosen, *_) = holm([0.003] * 15), corrected([0.003] * 15)
    assert holms == pytest.approx(0.045) and 1.8 * holms < chosen < 2.8 * holms
    assert corrected([0.003] * 3)[0] < chosen < 120 * 0.003  # of all pairs


def test_each_step_leaves_out_those_that_are_worse():
    """The least p is corrected for three others, the next for two, the last for none but itself."""
    one, two, three = corrected([1e-3, 0.02, 0.03])
    assert one < two <= three and two == corrected([0.02, 0.03])[0]
    assert three == max(two, 0.03)
    assert corrected([0.03, 1e-3, 0.02]) == [three, one, two]
    assert corrected([1e-3, 0.2, 0.03, math.nan])[0] == one  # what has no test is no rival


def test_a_corrected_p_is_no_less_than_it_was():
    p = [0.0, 1e-9, 0.04, 0.5, 1.0]
    found = corrected(p)
    assert all(a >= b for a, b in zip(found, p, strict=True)) and found[-1] <= 1
    assert found[0] == 1 / (1 + TABLES) and found == sorted(found) == corrected(p)


def test_many_groups_are_corrected_for_at_least_as_many():
    p = [0.001] * 40
    assert corrected(p[:31])[0] == corrected(p[:30])[0] < corrected(p)[0]  # of 32 both


def test_groups_of_other_seeds_are_simulated_as_they_are_tested():
    """Welch's test of three values each is cautious already; paired groups in between keep their pairs."""
    apart = [(k, k + 1, k + 2) for k in range(10, 70, 10)]
    p = [0.004] * len(apart)
    welch, mixed = (
        after_selection(p, SEEDS, apart),
        after_selection(p, SEEDS, [SEEDS] * 3 + apart[3:]),
    )
    assert welch[0] < mixed[0] < after_selection(p, SEEDS, [SEEDS] * len(p))[0]
    assert math.isfinite(after_selection([0.01, 0.02], SEEDS, [(1, 2), range(9)])[0])


def test_the_least_p_of_three_groups_is_that_of_scipys_tests():
    values = np.random.default_rng(3).normal(size=(4000, 3, 4))
    least = against(values, values.mean(-1).argmin(1)).min(1)
    found = least_p(((4, 0),) * 3)
    assert stats.ks_2samp(least, found).pvalue > 0.01
    unpaired = [
        min(
            stats.ttest_ind(table[other], table[best], equal_var=False).pvalue
            for other in range(3)
            if other != best
        )
        for table in values[:200]
        for best in [table.mean(-1).argmin()]
    ]
    assert stats.ks_2samp(unpaired, least_p(((4, 0), (4, 1), (4, 2)))).pvalue > 0.01


def test_with_a_baseline_that_was_named_holm_keeps_the_chance_of_any_wrong_verdict():
    """Sixteen equal groups of three seeds; and with the best of them, as if it had been named, it does not."""
    values = np.random.default_rng(11).normal(size=(10_000, 16, 3))
    named = against(values, np.zeros(len(values), int)).min(1) * 15 < 0.05
    best = against(values, values.mean(-1).argmin(1)).min(1)
    assert 0.035 < named.mean() < 0.055
    assert 0.09 < (best * 15 < 0.05).mean() < 0.13  # why the best needs a correction of its own
    assert (best * 120 < 0.05).mean() < 0.025  # all pairs: far too cautious
    null = least_p(((3, 0),) * 16)
    assert 0.043 < (np.searchsorted(null, best, side="right") < 0.05 * TABLES).mean() < 0.057


def test_what_is_far_from_the_best_of_sixteen_is_told_at_three_seeds():
    """By the correction for all 120 pairs it is not."""
    values = np.array([[50.0 + 10 * k + s for s in (0.9, -0.8, 0.1)] for k in range(16)])
    values += np.random.default_rng(0).normal(size=values.shape)
    values[0] = 10.9, 10.0, 11.3
    values[1] = 198.2, 169.0, 185.6
    pairs = {pair.a: pair for pair in pairs_of(COLUMN, cells(values), None)}
    assert pairs["m1"].difference.p * 120 > 0.2 and pairs["m1"].verdict == "m0 is better"


EQUAL = np.zeros(12)
CASES = {
    "equal": (np.ones(12), EQUAL),
    "spreads from 0.1 to 10": (np.geomspace(0.1, 10, 12), EQUAL),
    "one of them noisy": (np.array([10.0] + [1.0] * 11), EQUAL),
    "half of them far worse": (np.ones(12), np.repeat([0.0, 50.0], 6)),
    "half of them a little worse": (np.ones(12), np.repeat([0.0, 1.0], 6)),
    "next to equal": (np.ones(12), np.linspace(0, 1e-6, 12)),
}


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("case", CASES)
def test_a_best_group_that_the_values_chose_is_rarely_said_to_beat_its_equals(case, n):
    """Twelve groups, compared with the best of them: at most one table in twenty has a wrong verdict."""
    spread, mean = CASES[case]
    values = np.random.default_rng(7).normal(size=(2000, 12, n)) * spread[:, None] + mean[:, None]
    best = values.mean(-1).argmin(1)
    p, wrong = against(values, best), 0
    for each, chosen in zip(p, best, strict=True):
        others = [k for k in range(12) if k != chosen]
        told = np.array(corrected(each[others].tolist(), n)) < 0.05
        wrong += bool((told & (mean[others] <= mean[chosen])).any())
    print(f"{wrong / len(values):.4f} of tables: {case}, n = {n}")
    assert wrong / len(values) < 0.062  # which of 0.05 is 2.5 standard errors away


def test_one_group_of_more_seeds_stands_for_no_other_group():
    """Beyond sixteen groups the null is filled up with groups as most are."""
    many, few = range(9), range(3)
    alike = after_selection([0.0005] + [0.9] * 16, few, [few] * 16 + [many])
    assert alike[0] < 0.07  # 0.052; 0.093 if those that are not there had nine seeds
