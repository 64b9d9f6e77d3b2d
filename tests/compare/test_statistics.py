"""Intervals and verdicts: closed forms, scipy, and a simulation in which the truth is known."""

import math

import numpy as np
import pytest
from scipy import stats

from lightning_gen.compare.pairs import Column, Pair
from lightning_gen.compare.statistics import (
    MANY,
    bootstrap_t,
    difference,
    holm,
    paired,
    summarise,
    welch,
)

COMPARISONS = 2000


def test_few_values_have_students_interval():
    found = summarise([1.0, 2.0, 3.0])  # mean 2, deviation 1: 2 ± 4.3027 / sqrt(3)
    assert (found.n, found.mean, found.method) == (3, 2.0, "Student's t")
    assert found.high - found.mean == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    low, high = stats.t.interval(0.95, 2, 2.0, 1 / math.sqrt(3))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_one_value_has_no_interval_and_none_no_summary():
    found = summarise([3.0])
    assert found.n == 1 and found.mean == 3 and math.isnan(found.low) and math.isnan(found.high)
    with pytest.raises(ValueError, match="no value"):
        summarise([])


def test_many_values_have_a_bootstrap_interval_that_leans_with_them():
    values = np.random.default_rng(0).exponential(size=40)
    found = summarise(values)
    assert found.method == "bootstrap-t" and found.low < found.mean < found.high
    assert found.high - found.mean > found.mean - found.low  # a long tail above


def test_the_bootstrap_comes_to_students_t_for_normal_values():
    values = stats.norm.ppf((np.arange(200) + 0.5) / 200)
    low, high = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    found = summarise(values)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)


def test_the_same_values_give_the_same_interval():
    values = list(np.random.default_rng(1).normal(size=15))
    assert summarise(values) == summarise(values)


@pytest.mark.parametrize("n", [2, 3, MANY, 30])
def test_values_that_are_all_the_same_have_an_interval_of_no_width(n):
    found = summarise([0.1] * n)
    assert found.low == pytest.approx(0.1) and found.high == pytest.approx(0.1)


def test_paired_differences_are_scipys_paired_test():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=6), rng.normal(1.0, 1.0, size=6)
    found, known = paired(a - b), stats.ttest_rel(a, b)
    assert found.p == pytest.approx(known.pvalue)
    interval = known.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_welch_is_scipys():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=4), rng.normal(1.0, 3.0, size=7)
    found, known = welch(a, b), stats.ttest_ind(a, b, equal_var=False)
    assert found.p == pytest.approx(known.pvalue)
    interval = known.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_the_probability_of_above_is_one_minus_the_one_sided_p():
    found = paired([0.5, 1.0, -0.2, 0.8])
    assert found.above == pytest.approx(1 - found.p / 2)
    assert paired([-v for v in (0.5, 1.0, -0.2, 0.8)]).above == pytest.approx(found.p / 2)


def test_the_interval_and_the_p_of_the_bootstrap_agree():
    rng = np.random.default_rng(4)
    decided = 0
    for _ in range(60):
        found = paired(rng.normal(0.45, 1.0, size=20))
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high) or abs(found.p - 0.05) < 0.002
        decided += found.p < 0.05
    assert 5 < decided < 55  # the test has power, and not too much


def test_groups_are_paired_where_all_seeds_are_shared_and_else_not():
    a = {1: 1.0, 2: 2.0, 3: 3.0}
    assert difference(a, {3: 3.6, 1: 1.5, 2: 2.4}).method == "paired t"
    assert difference(a, {1: 1.5, 2: 2.4}).n == (3, 2)  # of all values, as the means are
    assert difference({1: 1.0, "r/b": 2.0}, {1: 1.5, "r/d": 2.4}).method == "Welch's t"
    assert difference(a, {4: 1.5, 5: 2.4, 6: 3.6}).method == "Welch's t"
    assert difference(a, {1: 1.5, 2: 2.4, 6: 3.6}).n == (3, 3)
    assert difference(a, {1: 1.5, 2: 2.4, 6: 3.6}).method == "Welch's t"


def test_of_one_value_there_is_no_test():
    found = difference({1: 1.0}, {1: 2.0})
    assert found.mean == -1 and math.isnan(found.p) and math.isnan(found.above)


def test_groups_without_any_spread_are_the_same_or_not():
    assert welch([1.0, 1.0], [1.0, 1.0]).p == 1
    assert welch([1.0, 1.0], [2.0, 2.0]).p == 0
    assert paired([0.0, 0.0, 0.0]).above == 0.5


def test_holms_steps():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    corrected = holm([math.nan, 0.02])
    assert math.isnan(corrected[0]) and corrected[1] == pytest.approx(0.02)


def test_draws_of_the_bootstrap_leave_out_those_without_spread():
    draws = bootstrap_t([0.0] * 9 + [1.0])
    assert np.isfinite(draws).all() and (np.diff(draws) >= 0).all()


def coverage(interval, truth):
    """The share of intervals that hold the truth."""
    ends = np.array([interval(k) for k in range(COMPARISONS)])
    return np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1]))


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 20])
def test_means_are_covered(n):
    rng = np.random.default_rng(n)

    def interval(k):
        found = summarise(rng.normal(10.0, 2.0, size=n))
        return found.low, found.high

    share = coverage(interval, 10.0)
    print(f"{share:.4f} of means of {n}")
    assert 0.93 < share < 0.97


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 20])
def test_paired_differences_are_covered(n):
    """Values of a seed move together, as a hard seed is hard for both."""
    rng = np.random.default_rng(100 + n)

    def interval(k):
        seed = rng.normal(0.0, 3.0, size=n)
        a, b = 12.0 + seed + rng.normal(size=n), 10.0 + seed + rng.normal(size=n)
        found = difference(dict(enumerate(a)), dict(enumerate(b)))
        assert found.method.startswith("paired")
        return found.low, found.high

    share = coverage(interval, 2.0)
    print(f"{share:.4f} of paired differences of {n}")
    assert 0.93 < share < 0.97


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "spread"), [((3, 3), 1.0), ((5, 5), 3.0), ((3, 5), 2.0), ((20, 20), 3.0)]
)
def test_differences_of_other_seeds_are_covered(n, spread):
    rng = np.random.default_rng(200 + sum(n))

    def interval(k):
        found = welch(rng.normal(12.0, spread, size=n[0]), rng.normal(10.0, 1.0, size=n[1]))
        return found.low, found.high

    share = coverage(interval, 2.0)
    print(f"{share:.4f} of differences of {n}")
    assert 0.93 < share < 0.97


@pytest.mark.slow
def test_verdicts_are_right_as_often_as_they_say():
    """Of models alike at most one in twenty is called better; of models far apart nearly all, and the right one."""
    rng, column = np.random.default_rng(5), Column("fid/digits@2000", "p")
    wrong = missed = reversed_ = 0
    for k in range(COMPARISONS):
        same = k % 2 == 0
        values = [rng.normal(10.0 if same or g else 20.0, 1.0, size=5) for g in range(2)]
        found = difference(*(dict(enumerate(v)) for v in values))
        verdict = Pair(column, "A", "B", found, p=found.p).verdict
        wrong += same and verdict != "not distinguishable at n = 5"
        missed += not same and verdict == "not distinguishable at n = 5"
        reversed_ += not same and verdict == "A is better"  # of a distance the lower
    print(f"wrong {wrong}, missed {missed}, reversed {reversed_} of {COMPARISONS // 2} each")
    assert wrong < 0.07 * COMPARISONS / 2 and missed < 5 and reversed_ == 0


@pytest.mark.slow
def test_holm_keeps_the_chance_of_any_wrong_verdict():
    """Five models alike, ten pairs: at most one table in twenty has a wrong verdict."""
    rng, wrong = np.random.default_rng(6), 0
    for _ in range(400):
        values = rng.normal(size=(5, 5))
        pairs = [paired(values[i] - values[j]).p for i in range(5) for j in range(i)]
        wrong += min(holm(pairs)) < 0.05
    assert wrong / 400 < 0.07
