r"""P-values of comparisons with the best of some groups, whom the values themselves have chosen.

The best of :math:`k` equal groups looks better than the others: it is the luckiest of them. That its test
against one of the others has a small p is therefore more likely than :math:`(k - 1) p`. How likely it is
follows from simulated tables of :math:`k` equal groups, tested as the given ones are: of the best of each table
the least p is kept, and :math:`p` is corrected to the share of tables whose least is no greater.

Once a group is worse by its corrected p, it is no rival of the best any more, and the next p is corrected
for one group less: the steps of Holm, with a simulated null in place of Bonferroni's sum. The chance
that any group is wrongly called worse stays at the level, be all groups equal or only some.

References:
    | Multiple Comparisons: Theory and Methods (Hsu, 1996), on comparisons with the best
    | Resampling-Based Multiple Testing (Westfall & Young, 1993), on the least p and its steps
"""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache

import numpy as np
from scipy.special import stdtr

TABLES = 9_999
EACH = 16  # up to so many groups each number has a null of its own; beyond, every EACH-th
AT_ONCE = 2**20  # values simulated at a time

Kind = tuple[int, int]  # how many values a group has, and which groups are paired with it


def after_selection(
    p: Sequence[float], best: Collection[object], others: Sequence[Collection[object]]
) -> list[float]:
    """P-values of the best group against each other one, corrected for its having been chosen.

    Arguments:
        p: Of the tests that there is no difference, two-sided; NaN where there is none.
        best: The seeds of the best group.
        others: The seeds of the groups that the p-values are of; those that are the best's are paired.
    """
    corrected, least = [math.nan] * len(p), 0.0
    order = sorted((value, j) for j, value in enumerate(p) if not math.isnan(value))
    kinds = _kinds([best, *others])
    for place, (value, j) in enumerate(order):
        left = [kinds[0], *(kinds[1 + i] for _, i in order[place:])]
        least = max(least, _corrected(value, left))
        corrected[j] = least
    return corrected


def _corrected(p: float, kinds: Sequence[Kind]) -> float:
    """The share of tables of equal groups in which the best has so small a p against any other."""
    if len(kinds) == 2:
        return p  # of two groups there is one pair, whichever is better
    missing = -len(kinds) % EACH if len(kinds) > EACH else 0  # more groups correct for more
    usual = Counter(sorted(kinds)).most_common(1)[0][0]
    least = least_p(tuple(sorted([*kinds, *[usual] * missing])))
    return max(p, float(1 + np.searchsorted(least, p, side="right")) / (1 + len(least)))


@lru_cache(maxsize=256)
def least_p(kinds: tuple[Kind, ...]) -> np.ndarray:
    """The least p of the best of equal groups, sorted, in TABLES simulated tables; always the same."""
    rng = np.random.default_rng(0)
    size = max(1, AT_ONCE // (len(kinds) * max(n for n, _ in kinds)))
    parts = [min(size, TABLES - start) for start in range(0, TABLES, size)]
    return np.sort(np.concatenate([_least_p(kinds, tables, rng) for tables in parts]))


def _least_p(kinds: Sequence[Kind], tables: int, rng: np.random.Generator) -> np.ndarray:
    n, pairing = (np.array(each) for each in zip(*kinds, strict=True))
    there = np.arange(n.max()) < n[:, None]  # (k, values)
    x = rng.normal(size=(tables, *there.shape)) * there
    mean = x.sum(-1) / n
    best = mean.argmin(1)[:, None]  # (tables, 1)
    difference = mean - np.take_along_axis(mean, best, 1)
    apart = x - np.take_along_axis(x, best[:, :, None], 1) - difference[:, :, None]
    error = (apart**2 * there).sum(-1) / (n - 1) / n  # squared; of pairs
    freedom = np.broadcast_to(n - 1.0, error.shape)
    paired = pairing == pairing[best]
    if not paired.all():  # Welch's
        own = ((x - mean[:, :, None]) ** 2 * there).sum(-1) / (n - 1) / n
        of_best = np.take_along_axis(own, best, 1)
        below = own**2 / (n - 1) + of_best**2 / (n[best] - 1)
        error = np.where(paired, error, own + of_best)
        freedom = np.where(paired, freedom, (own + of_best) ** 2 / below)
    with np.errstate(divide="ignore", invalid="ignore"):  # the best less itself
        p = 2 * stdtr(freedom, -difference / np.sqrt(error))
    np.put_along_axis(p, best, 1.0, 1)
    return p.min(1)


def _kinds(groups: Sequence[Collection[object]]) -> list[Kind]:
    """The kinds of groups by their seeds: two that have the same are paired."""
    numbers: dict[frozenset[object], int] = {}
    sets = [frozenset(group) for group in groups]
    return [(len(seeds), numbers.setdefault(seeds, len(numbers))) for seeds in sets]
