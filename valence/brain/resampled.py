"""Stage brain: what other subjects would have given. A cohort in, its cohort tensor without a subject, or redrawn, out.

Clips stay as they are: an interval from here says how well this number of subjects fixes a number, for these clips.

Intervals are of the jackknife. A bootstrap draw repeats subjects and so has twice the noise of the cohort, which shifts
every |r| of it and narrows its spread: where clips differ by no more than noise, intervals of nominally 95 % covered
an r with .72 (± 1.96 bootstrap errors) or .57 (basic) of 30 subjects, percentiles a mean |r| with 1.00; the jackknife
with .92 to .98 (mean |r| up to 1.00) of 30 or 100 subjects, from no difference between clips to three times the noise.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

N_RESAMPLES = 1_000
BLOCK = 50
"""draws, or subjects left out, in memory at once"""
SUBJECTS = "interval: jackknife over subjects, clips fixed"


def interval(
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], observed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of a smooth statistic of the mean over subjects: Student's t times the jackknife's error.

    Parameters
    ----------
    values : as `without_one` takes them.
    statistic : of (n_draws, n_clips, ...), to (n_draws, n_statistics).
    observed : (n_statistics,)

    Returns
    -------
    low, high : float64, (n_statistics,); NaN where fewer than two subjects can be spared.
    """
    found = [statistic(block) for block in without_one(values)]
    n = sum(map(len, found))
    if n < 2:
        return np.full(np.shape(observed), np.nan), np.full(np.shape(observed), np.nan)
    # Tukey 1958, Ann Math Stat 29:614
    error = np.concatenate(found).std(axis=0) * np.sqrt(n - 1)
    reach = float(stats.t.ppf(0.975, n - 1)) * error
    return observed - reach, observed + reach


def without_one(values: np.ndarray) -> Iterator[np.ndarray]:
    """Mean over all subjects but one, each in turn, a block of them at a time.

    Parameters
    ----------
    values : float, (n_subjects, n_clips, ...), NaN where a subject has no recording of a clip. Each subject's mean over
        clips is taken off first: no correlation over clips sees it, and clips do not differ by who lacks them.

    Yields
    ------
    float64, (n_block, n_clips, ...); nothing for a subject without whom there would be no recording of a clip.
    """
    yield from _means(values, 1.0 - np.eye(len(values)))


def resampled(values: np.ndarray, *, n: int = N_RESAMPLES, seed: int = 0) -> Iterator[np.ndarray]:
    """Means over as many subjects drawn with replacement; in and out as `without_one`.

    For statistics that the jackknife cannot serve, such as the place of a maximum.
    """
    n_subjects = len(values)
    weights = np.random.default_rng(seed).multinomial(n_subjects, np.full(n_subjects, 1 / n_subjects), size=n)
    yield from _means(values, weights.astype(np.float64))


def _means(values: np.ndarray, weights: np.ndarray) -> Iterator[np.ndarray]:
    flat = values.reshape(*values.shape[:2], -1)
    there = np.isfinite(flat)
    counts = there.astype(np.float64)
    own = np.where(there, flat, 0.0).sum(axis=1, keepdims=True) / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    centred = np.where(there, flat - own, 0.0).reshape(len(flat), -1)
    counts = counts.reshape(len(flat), -1)
    for start in range(0, len(weights), BLOCK):
        of_block = weights[start : start + BLOCK]
        total = of_block @ counts
        kept = (total > 0).all(axis=1)
        yield ((of_block @ centred)[kept] / total[kept]).reshape(-1, *values.shape[1:])
