"""Declared looks at a growing sample to the nominal level of each look, and looks so far to one p value.

In: the looks as fractions of the largest sample, a level, and how it is spent. Out: the level that a fixed-sample p has
to reach at each look so that the chance of ever reaching it under the null is the level (Lan & DeMets 1983, Biometrika
70:659). The joint distribution of the looks is integrated recursively (Armitage, McPherson & Rowe 1969, JRSS A 132:235)
for a standardised mean of independent increments; what the looks share, such as the same test subjects, makes them more
alike and the levels conservative.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import optimize, special, stats

from valence.errors import BadInput

OBRIEN_FLEMING, POCOCK, SQUARE = "obrien_fleming", "pocock", "square"
SPENDING = {
    OBRIEN_FLEMING: lambda t, alpha: 2 * stats.norm.sf(stats.norm.isf(alpha / 2) / np.sqrt(t)),
    POCOCK: lambda t, alpha: alpha * np.log(1 + (np.e - 1) * t),
    SQUARE: lambda t, alpha: alpha * t**2,
}
"""level of one side that may be spent by fraction t: next to nothing early on, nearly evenly, or between the two
(rho = 2 of Kim & DeMets 1987, Biometrika 74:149)"""
N_NODES = 160
"""of Gauss-Legendre integration over the values with which a sample goes on"""
LOWEST = -12.0
"""where a one-sided look has no lower bound"""
LEVELS = np.geomspace(1e-9, 0.31, 90)
"""that sequential p values are interpolated between; beyond .31 the levels of O'Brien and Fleming are not ordered"""


@lru_cache(maxsize=512)
def nominal_levels(
    fractions: tuple[float, ...], alpha: float, *, spending: str = OBRIEN_FLEMING, sides: int = 2
) -> np.ndarray:
    """The level of each look.

    Parameters
    ----------
    fractions : of the largest sample at each look, rising; at most 1. Looks left out later change nothing before them.
    alpha : chance of ever reaching a level under the null, over looks up to fraction 1.
    spending : a name of SPENDING.
    sides : 1 or 2, of the p values.

    Returns
    -------
    float array, (n_looks,), in the sides of the p values
    """
    _check(fractions, alpha, spending, sides)
    times = np.asarray(fractions)
    spent = sides * np.diff(SPENDING[spending](times, alpha / sides), prepend=0.0)
    levels = np.empty(len(times))
    nodes, weights = np.zeros(1), np.ones(1)  # the sample starts at 0
    before = 0.0
    for look, (now, increment) in enumerate(zip(times, spent)):
        bound = _bound(nodes, weights, before, now, increment, sides)
        levels[look] = sides * special.ndtr(-bound)
        nodes, weights = _carried_on(nodes, weights, before, now, bound, sides)
        before = now
    levels.setflags(write=False)
    return levels


def _bound(nodes: np.ndarray, weights: np.ndarray, before: float, now: float, increment: float, sides: int) -> float:
    """The standardised mean that is crossed for the first time at this look with the chance `increment`."""
    step, mean = np.sqrt((now - before) / now), nodes * np.sqrt(before / now)

    def too_often(bound: float) -> float:
        crossing = special.ndtr((mean - bound) / step)
        if sides == 2:
            crossing = crossing + special.ndtr((-bound - mean) / step)
        return float(np.log(max(weights @ crossing, 1e-300)) - np.log(max(increment, 1e-300)))

    return float(optimize.brentq(too_often, 0.0 if sides == 2 else -5.0, 36.0, xtol=1e-10))


def _carried_on(
    nodes: np.ndarray, weights: np.ndarray, before: float, now: float, bound: float, sides: int
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes over the values that go on, and their probabilities."""
    low, high = (-bound if sides == 2 else LOWEST), bound
    low, high = max(low, LOWEST), min(high, -LOWEST)
    unit, share = _legendre(N_NODES)
    there = (high + low) / 2 + (high - low) / 2 * unit
    step, mean = np.sqrt((now - before) / now), nodes * np.sqrt(before / now)
    density = np.exp(-(((there[:, None] - mean) / step) ** 2) / 2) @ weights / step / np.sqrt(2 * np.pi)
    return there, density * share * (high - low) / 2


@lru_cache(maxsize=1)
def _legendre(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(n)


def sequential_p(
    p: np.ndarray, fractions: tuple[float, ...], *, spending: str = OBRIEN_FLEMING, sides: int = 2
) -> np.ndarray:
    """The smallest level at which the looks so far would have stopped: a p value that holds whenever one stops.

    Parameters
    ----------
    p : float array, (…, n_looks), fixed-sample p of each look; NaN for looks not taken, or from which nothing follows.
    fractions : of the largest sample at each look.

    Returns
    -------
    float array, (…, n_looks): by each look, falling; 1 where it is above .31, or nothing was seen so far.
    """
    p = np.asarray(p, dtype=float)
    table = _levels_table(tuple(fractions), spending, sides)
    reached = np.ones_like(p)
    with np.errstate(divide="ignore"):
        for look in range(len(fractions)):
            ordered = np.log(table[:, look])
            found = np.exp(np.interp(np.log(p[..., look]), ordered, np.log(LEVELS), left=np.log(LEVELS[0])))
            reached[..., look] = np.where(p[..., look] < table[-1, look], found, 1.0)
    return np.minimum.accumulate(reached, axis=-1)


@lru_cache(maxsize=32)
def _levels_table(fractions: tuple[float, ...], spending: str, sides: int) -> np.ndarray:
    """(n_levels, n_looks), rising down each column."""
    table = np.stack([nominal_levels(fractions, float(alpha), spending=spending, sides=sides) for alpha in LEVELS])
    assert (np.diff(table, axis=0) >= 0).all()
    return np.maximum(table, 1e-300)


def _check(fractions: Sequence[float], alpha: float, spending: str, sides: int) -> None:
    times = np.asarray(fractions, dtype=float)
    rising = times.ndim == 1 and len(times) > 0 and bool((np.diff(times, prepend=0.0) > 0).all()) and times[-1] <= 1
    if not (rising and 0 < alpha < 0.5 and spending in SPENDING and sides in (1, 2)):
        raise BadInput(
            f"looks at {list(fractions)}, level {alpha}, spending {spending!r}, {sides} sides",
            allowed=f"rising fractions up to 1, a level below .5, {' or '.join(SPENDING)}, 1 or 2 sides",
            do="declare the looks in their order, as shares of the largest number of seeds",
        )
