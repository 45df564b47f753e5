"""Stage brain: features and values of clips in, Pearson's r out; and the values with their classes permuted."""

import math
from collections.abc import Iterable
from typing import TypeVar

import numpy as np

from valence.arrangements import arranged
from valence.brain.cohort import Cohort
from valence.brain.rows import NotPossible

STUDY_CELLS = ("PO3 gamma", "F7 beta", "O1 gamma", "P1 theta", "Pz theta")
"""what the study (arXiv:2606.00129) reports on FACED, then on SEED-V: elsewhere than there, fixed before the data"""
N_ORDERS = 2_000
"""class permutations drawn where all would be too many for what is refitted in each"""


def correlations(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """r over clips of every cell with one target, or with many.

    Parameters
    ----------
    features : float, (..., n_clips, n_cells); NaN where there is no recording of a clip, which is left out.
    values : float, (n_clips,) or (n_targets, n_clips).

    Returns
    -------
    float64, (..., n_cells) or (n_targets, ..., n_cells); NaN for a cell that is the same for all clips.
    """
    there = np.isfinite(features)
    n = np.maximum(there.sum(axis=-2), 1)
    x = np.where(there, features, 0.0)
    x = np.where(there, x - (x.sum(axis=-2) / n)[..., None, :], 0.0)
    spread = np.sqrt((x**2).sum(axis=-2))
    x /= np.where(spread > 1e-9 * (1 + np.nanmax(np.abs(features), initial=0)), spread, np.nan)[..., None, :]
    targets = np.atleast_2d(np.asarray(values, dtype=np.float64))
    targets = targets - targets.mean(axis=1, keepdims=True)
    product = _over_clips(x, targets)
    if there.all():
        scale = np.sqrt((targets**2).sum(axis=1)).reshape(-1, *[1] * (product.ndim - 1))
    else:  # the spread of the target over the clips that are there
        mask = there.astype(np.float64)
        scale = np.sqrt(np.maximum(_over_clips(mask, targets**2) - _over_clips(mask, targets) ** 2 / n, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.clip(product / np.where(scale > 0, scale, np.nan), -1, 1)
    return r if np.ndim(values) == 2 else r[0]


def _over_clips(x: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Σ over clips: (n_targets, ..., n_cells) of (..., n_clips, n_cells) and (n_targets, n_clips)."""
    moved = np.moveaxis(x, -2, 0)
    return (targets @ moved.reshape(len(moved), -1)).reshape(len(targets), *moved.shape[1:])


def class_orders(
    clip_values: np.ndarray,
    class_of_clip: np.ndarray,
    *,
    n_orders: int = N_ORDERS,
    seed: int = 0,
    same_size: bool = False,
) -> tuple[np.ndarray, str]:
    """The target with its classes permuted: the mean of a class is given to another, clips keep their residuals.

    Parameters
    ----------
    same_size : only classes of as many clips change places. For a number that depends on how many clips share a value,
        as r does not, others are no orders of the same target.

    Returns
    -------
    float64, (n, n_clips), and what they are in words. All distinct orders where there are no more than `n_orders`,
    which holds the order as it is once; else `n_orders` random ones, the order as it is in front of them.
    """
    labels, sizes = np.unique(class_of_clip, return_inverse=True, return_counts=True)[1:]
    means = np.bincount(labels, weights=clip_values) / sizes
    residuals = clip_values - means[labels]
    means = np.round(means, 12)
    if same_size and len(np.unique(sizes)) > 1:
        orders, words = _within_groups(means, sizes, n_orders, seed)
    else:
        orders, words = _orders(means, n_orders, seed)
    if np.abs(residuals).max() <= 1e-9 * np.abs(clip_values).max():
        return orders[:, labels], words
    return orders[:, labels] + residuals, words + ", differences within a class stay with their clips"


def _orders(means: np.ndarray, n_orders: int, seed: int) -> tuple[np.ndarray, str]:
    n_all = math.factorial(len(means)) // math.prod(math.factorial(n) for n in np.unique(means, return_counts=True)[1])
    if n_all <= n_orders:
        return arranged(means, seed)[0], f"all {n_all:,} class permutations"
    drawn = np.random.default_rng(seed).permuted(np.tile(means, (n_orders, 1)), axis=1)
    return np.concatenate([means[None], drawn]), f"{n_orders:,} of {n_all:,} class permutations"


def _within_groups(means: np.ndarray, groups: np.ndarray, n_orders: int, seed: int) -> tuple[np.ndarray, str]:
    rng = np.random.default_rng(seed)
    orders = np.tile(means, (n_orders + 1, 1))
    for group in np.unique(groups):
        orders[1:, groups == group] = rng.permuted(orders[1:, groups == group], axis=1)
    return orders, f"{n_orders:,} permutations of the classes of as many clips"


def share_as_large(observed: float, null: np.ndarray) -> float:
    """p: the share of a null, which holds the order as it is, that is at least as large."""
    return float(np.mean(np.asarray(null) >= observed - 1e-9))


Reliability = TypeVar("Reliability", float, np.ndarray)


def spearman_brown(halves: Reliability) -> Reliability:
    """Reliability of the whole by that of its halves: 2r / (1 + r)."""
    return 2 * halves / (1 + halves)


def cells_of(cohort: Cohort) -> tuple[str, ...]:
    """Names of the cells in the order of arrays (…, n_chans · n_bands): "PO3 gamma"."""
    return tuple(f"{channel} {band}" for channel in cohort.ch_names for band in cohort.band_names)


def subject_cells(cohort: Cohort) -> np.ndarray:
    """Mean over steps: float64, (n_subjects, n_clips, n_cells). Raises NotPossible for fewer than two subjects."""
    means = np.asarray(cohort.subject_means(), dtype=np.float64)
    if len(means) < 2:
        raise NotPossible(f"{len(means)} subject: it takes two or more")
    return means.reshape(*means.shape[:2], -1)


def deviations(x: np.ndarray) -> np.ndarray:
    """Each subject's own level taken away, (n_subjects, n_clips, n_cells): a mean over subjects of what is left does
    not depend on who has a recording of a clip."""
    return x - mean_where_there(x, axis=1)[:, None]


def mean_where_there(x: np.ndarray, axis: int) -> np.ndarray:
    """Mean over a dimension of what is not NaN; NaN where all of it is."""
    there = np.isfinite(x)
    n = there.sum(axis=axis)
    return np.where(there, x, 0.0).sum(axis=axis) / np.where(n > 0, n, np.nan)


def declared_cells(cohort: Cohort) -> dict[str, int]:
    """The cells that the study names, where the cohort has them: name to place among all cells.

    Raises NotPossible where it has none of them.
    """
    names = cells_of(cohort)
    found = {name: names.index(name) for name in STUDY_CELLS if name in names}
    if not found:
        raise NotPossible(f"none of the cells {', '.join(STUDY_CELLS)} is there")
    return found


def stacked(found: Iterable[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Many results as one, the new dimension first."""
    several = list(found)
    return {name: np.stack([one[name] for one in several]) for name in several[0]}
