"""Many tables of paired differences at once: the numbers of `valence.stats.paired`, for whole sweeps and simulations.

In: float array (n_tables, n_seeds, n_subjects), no NaN. Out: one variance, interval or p a table. A resample of the
bootstrap is a weight on every (seed, subject) pair, so that 10,000 resamples of all tables are one matrix product.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from valence.errors import BadInput
from valence.stats.paired import EXACT_LIMIT, _bootstrap_weights, _signs

CHUNK = 4_000_000
"""numbers held at once in an intermediate array, 32 MB"""


class TwoWayVariances(NamedTuple):
    """Variance of the mean of every table; see `valence.stats.paired.TwoWayVariance`."""

    rows: np.ndarray
    columns: np.ndarray
    df: np.ndarray


def two_way_variances(tables: np.ndarray) -> TwoWayVariances:
    """`two_way_variance` of every table: each field float array, (n_tables,)."""
    tables = _checked(tables)
    _, n_rows, n_columns = tables.shape
    rows = tables.mean(axis=2).var(axis=1, ddof=1) / n_rows
    if n_columns < 2:
        return TwoWayVariances(rows, np.zeros_like(rows), np.full_like(rows, n_rows - 1))
    columns = tables.mean(axis=1).var(axis=1, ddof=1) / n_columns
    noise_df = (n_rows - 1) * (n_columns - 1)
    total = tables.var(axis=(1, 2)) * n_rows * n_columns
    # sums of squares add up in a balanced table
    rest = total - rows * (n_rows - 1) * n_rows * n_columns - columns * (n_columns - 1) * n_rows * n_columns
    noise = np.maximum(rest, 0.0) / noise_df / (n_rows * n_columns)
    beyond = columns - noise
    none = beyond <= 1e-12 * rows
    beyond = np.where(none, 0.0, beyond)
    spread = rows**2 / (n_rows - 1) + columns**2 / (n_columns - 1) + noise**2 / noise_df
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.maximum(1.0, (rows + beyond) ** 2 / spread)
    return TwoWayVariances(rows, beyond, np.where(none, n_rows - 1, df))


def two_way_intervals(
    tables: np.ndarray, *, confidences: Sequence[float] = (0.95,), n_bootstrap: int = 10_000, seed: int = 0
) -> np.ndarray:
    """`two_way_interval` of every table, from the same resamples.

    Returns
    -------
    float array, (n_tables, n_confidences, 2): low and high.
    """
    tables = _checked(tables)
    means, largest = tables.mean(axis=(1, 2)), np.abs(tables).max(axis=(1, 2))
    tails = (1 - np.asarray(confidences)) / 2
    levels = np.stack([tails, 1 - tails], axis=1)
    quantiles, sd = np.empty((len(tables), *levels.shape)), np.empty(len(tables))
    for part in _parts(len(tables), n_bootstrap):
        spread = bootstrap_means_of(tables[part], n_bootstrap=n_bootstrap, seed=seed) - means[part, None]
        sd[part] = spread.std(axis=1)
        quantiles[part] = np.moveaxis(np.quantile(spread, levels, axis=1), -1, 0)
    variance = two_way_variances(tables)
    known = sd > 1e-12 * largest
    scale = np.sqrt(variance.rows + variance.columns) / np.where(known, sd, 1.0)
    stretch = stats.t.isf(tails, variance.df[:, None]) / stats.norm.isf(tails) * (scale * known)[:, None]
    return means[:, None, None] + stretch[:, :, None] * quantiles


def bootstrap_means_of(tables: np.ndarray, *, n_bootstrap: int = 10_000, seed: int = 0) -> np.ndarray:
    """`bootstrap_means` of every table: subjects with replacement, then seeds, crossed; (n_tables, n_bootstrap)."""
    n_tables, n_rows, n_columns = tables.shape
    rows, columns = _bootstrap_weights(n_rows, n_columns, n_bootstrap, seed)
    flat = tables.reshape(n_tables, n_rows * n_columns)
    found = np.empty((n_tables, n_bootstrap))
    for part in _parts(n_bootstrap, n_rows * n_columns):
        weights = rows[part, :, None] * columns[part, None, :]
        found[:, part] = flat @ weights.reshape(-1, n_rows * n_columns).T
    return found


def sign_flips(tables: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """`sign_flip` of every table: float array, (n_tables,)."""
    tables = _checked(tables)
    _, n_rows, _ = tables.shape
    means, observed = tables.mean(axis=2), _deflated(tables)
    signs = _signs(n_rows, seed)
    exceeding = np.empty(len(tables))
    for part in _parts(len(tables), len(signs)):
        flipped = np.abs(means[part] @ signs.T) / n_rows
        exceeding[part] = (flipped >= observed[part, None] * (1 - 1e-9)).sum(axis=1)
    drawn = n_rows > EXACT_LIMIT
    p = (exceeding + drawn) / (len(signs) + drawn)
    return np.where(observed <= 1e-12 * np.abs(tables).max(axis=(1, 2)), 1.0, p)


def _deflated(tables: np.ndarray) -> np.ndarray:
    """|mean| of every table after the deduction for columns, as in `valence.stats.paired`."""
    n_rows = tables.shape[1]
    mean, variance = np.abs(tables.mean(axis=(1, 2))), two_way_variances(tables)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = mean / np.sqrt(variance.rows + variance.columns)
        fewer = variance.df < n_rows - 1
        t[fewer] = stats.t.isf(stats.t.sf(t[fewer], variance.df[fewer]), n_rows - 1)
        ratio = t**2 / (n_rows - 1)
        deflated = np.sqrt(np.mean(tables.mean(axis=2) ** 2, axis=1) * ratio / (1 + ratio))
    return np.where((variance.columns == 0) | (mean == 0), mean, np.minimum(mean, deflated))


def _parts(n: int, width: int) -> Iterator[slice]:
    step = max(1, CHUNK // width)
    return (slice(begin, min(begin + step, n)) for begin in range(0, n, step))


def _checked(tables: np.ndarray) -> np.ndarray:
    tables = np.asarray(tables, dtype=float)
    if tables.ndim != 3 or tables.shape[1] < 2 or tables.shape[2] < 1 or not np.isfinite(tables).all():
        raise BadInput(
            f"differences of shape {tables.shape}, {int((~np.isfinite(tables)).sum())} of them not finite",
            allowed="finite numbers, (n_tables, n_seeds, n_subjects), with 2 seeds or more",
            do="leave out comparisons with one seed, and pair seeds and subjects first",
        )
    return tables
