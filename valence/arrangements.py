"""Stage axis: every order in which the values of the classes can be given to the classes."""

import itertools
import math
from functools import lru_cache

import numpy as np

MOST_ARRANGEMENTS = math.factorial(9)
"""362,880, of nine different values"""
N_SAMPLED = 100_000


@lru_cache(maxsize=4)
def _arrangements(counts: tuple[int, ...]) -> np.ndarray:
    """Every order of as many of 0, 1, … as counted: int8 array, (n_arrangements, sum of counts)."""
    n = sum(counts)
    if max(counts) == 1:
        return np.array(list(itertools.permutations(range(n))), dtype=np.int8)
    rows = np.full((1, n), -1, dtype=np.int8)
    for level, count in enumerate(counts):
        grown = []
        for row in rows:
            for places in itertools.combinations(np.flatnonzero(row < 0), count):
                placed = row.copy()
                placed[list(places)] = level
                grown.append(placed)
        rows = np.array(grown)
    return rows


def arranged(values: np.ndarray, seed: int) -> tuple[np.ndarray, bool]:
    """Values (n,) in every distinct order, (n_arrangements, n), and whether these are all.

    Where there are more than MOST_ARRANGEMENTS, N_SAMPLED random ones, with repetition.
    """
    levels, counts = np.unique(values, return_counts=True)
    n_arrangements = math.factorial(values.size) // math.prod(math.factorial(count) for count in counts.tolist())
    if n_arrangements <= MOST_ARRANGEMENTS:
        return levels[_arrangements(tuple(counts.tolist()))], True
    random = np.random.default_rng(seed)
    return random.permuted(np.tile(values, (N_SAMPLED, 1)), axis=1), False
