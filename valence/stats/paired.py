"""Paired differences to an estimate, an interval and a p value, when both seeds and subjects were sampled.

In: a table of differences, (n_seeds, n_subjects): one trained network a seed, tested on every subject. Row s is one
network, so its entries move together; column u is one subject, so its entries move together too. The differences obey
d_su = delta + a_s + b_u + e_su, and three mistakes are possible, each measured in tests/valence/stats:

- flipping every (seed, subject) pair as if independent ignores a_s and b_u: false positive rate .05-.65 for .05;
- flipping seeds and nothing else ignores b_u, the luck of the test subjects, which all seeds share: .05-.87;
- a plain percentile bootstrap of 5 seeds is too narrow where networks differ most: coverage .84 for .95.

Everything here therefore rests on one two-way variance of the mean, `two_way_variance`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import stats

EXACT_LIMIT = 14
"""up to this many rows all sign assignments are enumerated (2**13 after symmetry), beyond it they are drawn"""
N_FLIPS = 10_000
MIN_TEST_SUBJECTS = 4
"""Fewest test subjects with which interval and p hold for new subjects.

With spread dominated by subjects and 10 seeds, a nominal .95 interval covers .37 / .88 / .94 / .95 at 1 / 2 / 3 / 4
subjects, and p < .05 comes up in .61 / .12 / .06 / .045 of the nulls.
"""


@dataclass(frozen=True, kw_only=True)
class PairedDifferences:
    """What is left after pairing."""

    table: np.ndarray
    """float array, (n_seeds, n_subjects), balanced accuracy of one arm minus the other's, finite"""
    seeds: tuple[int, ...]
    subjects: tuple[str, ...]
    n_missing: int
    """seeds that an arm was asked for and that could not be paired"""

    @property
    def n_seeds(self) -> int:
        return len(self.seeds)

    @property
    def n_subjects(self) -> int:
        return len(self.subjects)


def complete(table: pd.DataFrame) -> pd.DataFrame:
    """The table without subjects that have no value at all, then without seeds that lack one of the others."""
    present = table.notna().to_numpy()
    if present.size and present.all():
        return table
    subjects = np.flatnonzero(present.any(axis=0))
    seeds = np.flatnonzero(present[:, subjects].all(axis=1)) if len(subjects) else subjects
    return table.iloc[seeds, subjects]


def pair(arm: pd.DataFrame, reference: pd.DataFrame) -> PairedDifferences:
    """Pair two tables (seeds x subjects, NaN where missing) by seed and by test subject.

    A seed without a value for every subject is left out and counted, since a mean over other subjects would not be the
    same quantity.
    """
    aligned = _difference(arm, reference)
    whole = complete(aligned)
    return PairedDifferences(
        table=whole.to_numpy(dtype=float),
        seeds=tuple(int(seed) for seed in whole.index),
        subjects=tuple(str(subject) for subject in whole.columns),
        n_missing=len(aligned) - len(whole),
    )


def _difference(arm: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """arm - reference, without the alignment of pandas where both have the same seeds and subjects."""
    if not (arm.index.equals(reference.index) and arm.columns.equals(reference.columns)):
        return arm - reference
    return pd.DataFrame(arm.to_numpy() - reference.to_numpy(), index=arm.index, columns=arm.columns)


@dataclass(frozen=True, kw_only=True)
class TwoWayVariance:
    """Variance of the mean of a table whose rows and columns were both sampled."""

    rows: float
    """from the row means: networks, plus noise; what a t-test over seeds would use"""
    columns: float
    """from the column means: what the choice of subjects adds beyond noise; 0 or more"""
    df: float
    """Satterthwaite's degrees of freedom of the sum"""

    @property
    def total(self) -> float:
        return self.rows + self.columns


def two_way_variance(table: np.ndarray) -> TwoWayVariance:
    """Variance of the mean under random rows and random columns.

    The unbiased estimate of the crossed random-effects model: variance of the row means / n_rows, plus variance of the
    column means / n_columns, minus the residual variance / (n_rows n_columns) that both contain; the second and third
    together are kept at 0 or more. Needs 2 rows or more.

    Source: Owen 2007, Annals of Applied Statistics 1:386; Satterthwaite 1946, Biometrics Bulletin 2:110.
    """
    n_rows, n_columns = table.shape
    rows = float(table.mean(axis=1).var(ddof=1) / n_rows)
    if n_columns < 2:
        return TwoWayVariance(rows=rows, columns=0.0, df=n_rows - 1)
    columns = float(table.mean(axis=0).var(ddof=1) / n_columns)
    residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    noise_df = (n_rows - 1) * (n_columns - 1)
    noise = float((residual**2).sum() / noise_df / table.size)
    beyond = columns - noise
    if beyond <= 1e-12 * rows:
        return TwoWayVariance(rows=rows, columns=0.0, df=n_rows - 1)
    spread = rows**2 / (n_rows - 1) + columns**2 / (n_columns - 1) + noise**2 / noise_df
    return TwoWayVariance(rows=rows, columns=beyond, df=max(1.0, (rows + beyond) ** 2 / spread))


@lru_cache(maxsize=8)
def _bootstrap_weights(n_rows: int, n_columns: int, n_bootstrap: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each column (drawn first) and each row is in each resample, as shares that sum to 1."""
    random = np.random.default_rng(seed)
    columns = random.multinomial(n_columns, np.full(n_columns, 1 / n_columns), n_bootstrap) / n_columns
    rows = random.multinomial(n_rows, np.full(n_rows, 1 / n_rows), n_bootstrap) / n_rows
    return rows, columns


def bootstrap_means(table: np.ndarray, *, n_bootstrap: int = 10_000, seed: int = 0) -> np.ndarray:
    """Means of resampled tables: subjects with replacement, then seeds with replacement, crossed.

    The same seeds are drawn for all subjects of a resample, because subjects of one seed share its network; drawing
    seeds anew within each subject would average a_s away. Returns float array, (n_bootstrap,).
    """
    rows, columns = _bootstrap_weights(*table.shape, n_bootstrap, seed)
    # einsum and not @: products this small gain nothing from BLAS threads and lose much beside busy workers
    return (np.einsum("bs,su->bu", rows, table) * columns).sum(axis=1)


def two_way_interval(
    table: np.ndarray, *, confidences: Sequence[float] = (0.95,), n_bootstrap: int = 10_000, seed: int = 0
) -> np.ndarray:
    """Interval of the mean from the hierarchical bootstrap, subjects then seeds, with calibrated width.

    The percentiles of the resampled means give the shape. Their spread is then scaled so that the variance is
    `two_way_variance` with its t quantile, because the raw bootstrap is wrong in both directions: with n seeds it
    loses (n - 1) / n of their variance and the tails of t, and it counts e_su three times.

    Coverage of a nominal .95 (2,000 simulated tables a point, 20 subjects, spread dominated by seeds / by subjects /
    by noise): raw percentiles .84 / .94 / 1.00 at 5 seeds and .91 / .93 / 1.00 at 10; this interval .95 / .95 / .97 at
    5 and .95 / .95 / .97 at 10. Over 2 to 20 seeds and 4 or 20 subjects it stays between .94 and .98. Below
    MIN_TEST_SUBJECTS it is too narrow for new subjects.

    Returns
    -------
    float array, (n_confidences, 2): low and high; NaN below 2 rows, since one network says nothing about the next.
    """
    n_rows, _ = table.shape
    if n_rows < 2:
        return np.full((len(confidences), 2), np.nan)
    mean = table.mean()
    spread = bootstrap_means(table, n_bootstrap=n_bootstrap, seed=seed) - mean
    sd = spread.std()
    if sd <= 1e-12 * np.abs(table).max():
        return np.full((len(confidences), 2), mean)
    tails = (1 - np.asarray(confidences)) / 2
    variance = two_way_variance(table)
    stretch = stats.t.isf(tails, variance.df) / stats.norm.isf(tails) * np.sqrt(variance.total) / sd
    return mean + stretch[:, None] * np.quantile(spread, np.stack([tails, 1 - tails], axis=1))


@lru_cache(maxsize=8)
def _signs(n_rows: int, seed: int) -> np.ndarray:
    """Sign assignments, (n_flips, n_rows): all that differ by more than a global sign, or 10,000 drawn."""
    if n_rows <= EXACT_LIMIT:
        tails = list(itertools.product((1.0, -1.0), repeat=n_rows - 1))
        return np.hstack([np.ones((len(tails), 1)), np.array(tails).reshape(len(tails), n_rows - 1)])
    return np.random.default_rng(seed).choice((1.0, -1.0), size=(N_FLIPS, n_rows))


def sign_flip(table: np.ndarray, *, seed: int = 0) -> float:
    """Two-sided p of mean 0: signs of whole rows are flipped; the columns' share of the luck is deducted first.

    Rows are the replicated units: for seeds, whole networks; transposed, whole subjects. Under "the arms are
    exchangeable within a seed" the test is exact without any deduction. The weaker and more useful null, "the mean over
    the population of subjects is 0", leaves b_u, which all rows share and no flip of rows can show. So the observed
    mean is first deflated: its t uses the two-way variance (read at the rows' degrees of freedom where the columns
    leave fewer), and the mean that would have that t by the row variance alone is compared with the flipped means.
    Without variance between columns nothing is deducted and this is the textbook test. Deflation only raises p.

    All assignments up to 14 rows, with the floor 2 / 2**n_rows (.0625 at 5, .002 at 10); beyond, 10,000 draws and
    p = (exceeding + 1) / (draws + 1). False positive rate at .05 with 10 seeds and 20 subjects, spread dominated by
    seeds / by subjects / by noise (2,000 simulated tables a point): .045 / .028 / .032; with 20 seeds .053 / .059 /
    .037.

    Source of the studentised flip under two-way clustering: MacKinnon, Nielsen & Webb 2021, JBES 39:505.

    Returns
    -------
    p, NaN below 2 rows, 1 where every difference is 0.
    """
    n_rows, _ = table.shape
    if n_rows < 2:
        return np.nan
    means = table.mean(axis=1)
    observed = _deflated(table)
    if observed <= 1e-12 * np.abs(table).max():
        return 1.0
    flipped = np.abs(_signs(n_rows, seed) @ means) / n_rows
    exceeding = int((flipped >= observed * (1 - 1e-9)).sum())
    return exceeding / len(flipped) if n_rows <= EXACT_LIMIT else (exceeding + 1) / (len(flipped) + 1)


def _deflated(table: np.ndarray) -> float:
    """|mean| after the deduction for columns; |mean| itself where they do not vary."""
    n_rows, _ = table.shape
    mean = abs(float(table.mean()))
    variance = two_way_variance(table)
    if variance.columns == 0 or mean == 0:
        return mean
    t = mean / np.sqrt(variance.total)
    if variance.df < n_rows - 1:
        t = stats.t.isf(stats.t.sf(t, variance.df), n_rows - 1)
    ratio = t**2 / (n_rows - 1)
    return float(min(mean, np.sqrt(np.mean(table.mean(axis=1) ** 2) * ratio / (1 + ratio))))
