"""Statistics before and after the run: what a number of seeds can detect, and how many would be enough."""

import math
from collections.abc import Iterable
from functools import cache

import pandas as pd
from scipy import special, stats

PLANNING_SD = 0.010
"""sd of a paired difference in balanced accuracy between seeds, from the study's own rows"""
POWER = 0.8
MOST_SEEDS = 1000
"""a plan that needs more is answered with "more seeds cannot decide" """


def exact_floor(n_seeds: int) -> float:
    """Smallest two-sided p an exact sign-flip over seeds can give: 2 of the 2**n_seeds sign assignments."""
    return min(1.0, 2.0 / 2.0**n_seeds)


def seeds_for_floor(*, alpha: float = 0.05, family_size: int = 1) -> int:
    """Fewest seeds with which an exact sign-flip can fall below alpha after Holm over the family."""
    n_seeds = 1
    while exact_floor(n_seeds) * max(family_size, 1) >= alpha:
        n_seeds += 1
    return n_seeds


def minimum_detectable(
    n_seeds: int, *, sd: float = PLANNING_SD, power: float = POWER, alpha: float = 0.05, family_size: int = 1
) -> float:
    """Smallest true difference in balanced accuracy that a paired two-sided t-test finds with the given power.

    sd is that of the paired difference between seeds. With sd .010, power .8 and alpha .05: .017 at 5 seeds, .010 at
    10, .0066 at 20. A family larger than 1 divides alpha by its size, the first step of Holm. Infinite below 2 seeds.
    The exact sign-flip has a floor that this number does not know: see `exact_floor`.
    """
    if n_seeds < 2:
        return math.inf
    return _detectable_effect(n_seeds, power, alpha / max(family_size, 1)) * sd


@cache
def _detectable_effect(n_seeds: int, power: float, alpha: float) -> float:
    """The difference in units of its sd, by bisection (a root finder loses its way at alphas of .05 / 25)."""
    low, high = 0.0, 1.0
    while _power(high, n_seeds, alpha) < power:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if _power(middle, n_seeds, alpha) >= power else (middle, high)
    return high


def _power(effect: float, n_seeds: int, alpha: float) -> float:
    """Power of a two-sided paired t-test; NaN, which scipy gives at extreme noncentrality, is certainty.

    As statsmodels' TTestPower, which looks up the critical values anew in each of a search's many steps.
    """
    df, critical = n_seeds - 1, _critical(n_seeds, alpha)
    shift = effect * math.sqrt(n_seeds)
    value = float(1 - special.nctdtr(df, shift, critical) + special.nctdtr(df, shift, -critical))
    return 1.0 if math.isnan(value) else value


@cache
def _critical(n_seeds: int, alpha: float) -> float:
    return float(stats.t.isf(alpha / 2, n_seeds - 1))


def seeds_needed(
    delta: float,
    sd: float,
    *,
    subject_variance: float = 0.0,
    equivalence: float = 0.01,
    power: float = POWER,
    alpha: float = 0.05,
    family_size: int = 1,
) -> int | None:
    """Seeds that would decide: the given power at the larger of |delta| and the equivalence bound, after Holm.

    Parameters
    ----------
    delta : the difference seen; NaN counts as 0.
    sd : of the paired difference between seeds (mean over subjects).
    subject_variance : the part of the variance of the mean that comes from the choice of test subjects, which seeds
        do not reduce.

    Returns
    -------
    At least what the floor of the exact test asks for; None where not even 1,000 seeds would do, because the spread
    between test subjects is the limit.
    """
    effect = equivalence if math.isnan(delta) else max(abs(delta), equivalence)
    alpha_each = alpha / max(family_size, 1)

    def enough(n_seeds: int) -> bool:
        spread = math.sqrt(sd**2 + n_seeds * subject_variance)
        return spread == 0 or _power(effect / spread, n_seeds, alpha_each) >= power

    low = max(2, seeds_for_floor(alpha=alpha, family_size=family_size))
    if enough(low):
        return low
    high = MOST_SEEDS
    if not enough(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def power_table(
    n_seeds: Iterable[int], *, sd: float = PLANNING_SD, alpha: float = 0.05, family_size: int = 25
) -> pd.DataFrame:
    """What each number of seeds can show, before anything is run.

    Returns
    -------
    One row a number of seeds: n_seeds, minimum_detectable (one comparison), minimum_detectable_family (after Holm over
    the family), exact_floor (smallest p), reaches_alpha and reaches_alpha_family (whether the floor lies below alpha).
    """
    rows = [
        {
            "n_seeds": n,
            "minimum_detectable": minimum_detectable(n, sd=sd, alpha=alpha),
            "minimum_detectable_family": minimum_detectable(n, sd=sd, alpha=alpha, family_size=family_size),
            "exact_floor": exact_floor(n),
            "reaches_alpha": exact_floor(n) < alpha,
            "reaches_alpha_family": exact_floor(n) * family_size < alpha,
            "family_size": family_size,
            "sd": sd,
        }
        for n in n_seeds
    ]
    return pd.DataFrame(rows)
