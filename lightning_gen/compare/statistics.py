r"""What a few seeds say about a mean, and about the difference of two.

Intervals are at 95 %. For few values they are Student's, :math:`\bar x \pm t_{n-1} s / \sqrt n`; from
`MANY` on they are those of the studentised bootstrap, which does not take the values for normal.
Differences are paired where two groups have the same seeds, else by Welch.

References:
    | Bootstrap Methods and their Application (Davison & Hinkley, 1997), section 5.2.1
    | The generalization of Student's problem when several different population variances are
      involved (Welch, 1947)
    | A simple sequentially rejective multiple test procedure (Holm, 1979)
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
MANY = 10  # values from which on the bootstrap has enough to draw from
RESAMPLES = 9999


class Summary(NamedTuple):
    """A mean over seeds; of one value there is no interval, and its ends are NaN."""

    n: int
    mean: float
    low: float
    high: float
    method: str


class Difference(NamedTuple):
    """The mean of A less the mean of B.

    `above` is the posterior probability that the true difference is above 0, by the t distribution
    that the prior 1/sigma leads to; `p` is of the test that it is 0, two-sided.
    """

    n: tuple[int, int]
    mean: float
    low: float
    high: float
    p: float
    above: float
    method: str


def summarise(values: Sequence[float]) -> Summary:
    """The mean of some values and its interval."""
    n = len(values)
    if n == 0:
        raise ValueError("there is no value to summarise")
    if n == 1:
        return Summary(1, float(values[0]), math.nan, math.nan, "one value")
    mean, error = _moments(values)
    low, high = _quantiles(values)
    name = "Student's t" if n < MANY else "bootstrap-t"
    return Summary(n, mean, mean - high * error, mean - low * error, name)


def difference(a: Mapping[int | str, float], b: Mapping[int | str, float]) -> Difference:
    """The difference of two groups of values by seed.

    They are paired where both have the same seeds, two at least: the difference is then that of the
    means. Values without a seed, or of one that their group has already, have a text of their own
    for a key, and are never paired.
    """
    if len(a) >= 2 and a.keys() == b.keys():
        return paired([a[seed] - b[seed] for seed in a])
    return welch(list(a.values()), list(b.values()))


def paired(differences: Sequence[float]) -> Difference:
    """The mean of differences of pairs."""
    n = len(differences)
    low, mean, high = _between(differences)
    _, error = _moments(differences)
    if n < MANY or error == 0:
        p, name = _two_sided(mean, error, n - 1), "paired t"
    else:
        place = float(np.mean(bootstrap_t(differences) <= mean / error))
        least = 1 / (RESAMPLES + 1)
        p, name = min(1.0, max(2 * min(place, 1 - place), least)), "paired bootstrap-t"
    return Difference((n, n), mean, low, high, p, _above(mean, error, n - 1), name)


def welch(a: Sequence[float], b: Sequence[float]) -> Difference:
    """The difference of the means of two groups that share no seeds and perhaps no variance."""
    n = len(a), len(b)
    if min(n) < 2:
        mean = float(np.mean(a) - np.mean(b))
        return Difference(n, mean, math.nan, math.nan, math.nan, math.nan, "too few values")
    (mean_a, error_a), (mean_b, error_b) = _moments(a), _moments(b)
    mean, error = mean_a - mean_b, math.hypot(error_a, error_b)
    below = error_a**4 / (n[0] - 1) + error_b**4 / (n[1] - 1)
    freedom = error**4 / below if below > 0 else float(sum(n) - 2)
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    p, above = _two_sided(mean, error, freedom), _above(mean, error, freedom)
    return Difference(n, mean, mean - half, mean + half, p, above, "Welch's t")


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected for their number, by Holm's steps; NaN stays, and counts for none."""
    known = sorted((value, k) for k, value in enumerate(p) if not math.isnan(value))
    corrected, least = [math.nan] * len(p), 0.0
    for rank, (value, k) in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * value))
        corrected[k] = least
    return corrected


def bootstrap_t(values: Sequence[float], resamples: int = RESAMPLES) -> np.ndarray:
    """Draws of (mean* - mean) / error*, sorted; a function of the values alone."""
    x = np.asarray(values, dtype=np.float64)
    drawn = x[np.random.default_rng(0).integers(len(x), size=(resamples, len(x)))]
    error = drawn.std(axis=1, ddof=1) / math.sqrt(len(x))
    spread = error > 1e-12 * max(float(np.abs(x).max()), 1e-300)  # not one value n times
    return np.sort((drawn.mean(axis=1)[spread] - x.mean()) / error[spread])


def _between(values: Sequence[float]) -> tuple[float, float, float]:
    """The low end, the mean and the high end of the interval of a mean; NaN for one value."""
    found = summarise(values)
    return found.low, found.mean, found.high


def _quantiles(values: Sequence[float]) -> tuple[float, float]:
    """Between which a studentised mean lies at LEVEL."""
    tails = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    if len(values) >= MANY:
        draws = bootstrap_t(values)
        if len(draws):
            low, high = np.quantile(draws, tails)
            return float(low), float(high)
    low, high = stats.t.ppf(tails, len(values) - 1)
    return float(low), float(high)


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """The mean and its standard error."""
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2:
        return float(x.mean()), math.nan
    return float(x.mean()), float(x.std(ddof=1)) / math.sqrt(len(x))


def _two_sided(mean: float, error: float, freedom: float) -> float:
    if error == 0:
        return float(mean == 0)
    return float(2 * stats.t.sf(abs(mean) / error, freedom))


def _above(mean: float, error: float, freedom: float) -> float:
    if error == 0:
        return 0.5 + 0.5 * float(np.sign(mean))
    return float(stats.t.cdf(mean / error, freedom))
