"""Features to encoding strengths: how far a trained classifier orders the classes as a target does.

Source: "convergence without coercion" in arXiv:2606.00129. Nine class means give nine points, so a strength has a wide
null: a random order of nine classes has |r| of .67 or more once in twenty. A strength is read beside its null, or
compared between cells, never alone.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from valence.arrangements import arranged

ROUNDING = 1e-9
"""correlations nearer than this are the same"""
BLOCK = 64
"""components whose correlations with all orders are in memory at once"""


def group_means(features: np.ndarray, groups: np.ndarray, n_groups: int) -> np.ndarray:
    """Mean features (n_groups, D), float64, of samples (n, D) by group (n,); nan rows for groups without samples."""
    counts = np.bincount(groups, minlength=n_groups)
    sums = np.zeros((n_groups, features.shape[1]))
    np.add.at(sums, groups, features.astype(np.float64))
    return np.divide(sums, counts[:, None], out=np.full_like(sums, np.nan), where=counts[:, None] > 0)


def axis_encoding(features: np.ndarray, labels: np.ndarray, class_values: np.ndarray) -> float | None:
    """Absolute Pearson correlation of the first principal component of the class means with the class values.

    Parameters
    ----------
    features : (n_samples, D), penultimate features.
    labels : (n_samples,), int64.
    class_values : (n_classes,), one value per class.

    Returns
    -------
    0 to 1, or None where fewer than three classes occur or where the means or the values do not vary.
    """
    means = group_means(features, labels, len(class_values))
    there = np.isfinite(means).all(1)
    component, values = class_component(means[there]), np.asarray(class_values, dtype=np.float64)[there]
    if component is None or np.ptp(values) < 1e-12:
        return None
    return float(abs(component @ unit(values)))


def class_component(means: np.ndarray) -> np.ndarray | None:
    """First principal component of class means (n_classes, D): their positions on it, centred and of length 1.

    None below three classes, and where the means do not vary.
    """
    if len(means) < 3:
        return None
    left, singular, _ = np.linalg.svd(means - means.mean(0), full_matrices=False)
    return unit(left[:, 0]) if singular[0] >= 1e-12 else None


def unit(values: np.ndarray) -> np.ndarray:
    """Values, or rows of them, centred and of length 1, so that a product of two is r; 0 where they do not vary."""
    centred = values - values.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-12)


@dataclass(frozen=True, kw_only=True)
class ClassEncodings:
    """Strengths of one target in several cells, and what they are worth. Arrays are float64, (n_cells,)."""

    strengths: np.ndarray
    """|r| of PC1 of the class means with the class values"""
    p: np.ndarray
    """share of the orders of the class values, the true one among them, with as large an |r|"""
    p_random: np.ndarray
    """share of random directions, independent normal values of the classes, with as large an |r|"""
    null_mean: np.ndarray
    null_95: np.ndarray
    """mean and 95th percentile of |r| over orders"""
    n_orders: int
    """distinct orders tried"""
    exact: bool
    """these are all"""


def class_encodings(components: np.ndarray, class_values: np.ndarray, *, seed: int = 0) -> ClassEncodings:
    """Strengths of class-PC1 in several cells, against all orders of the classes and against random directions.

    PC1 does not know the target, so every order costs one product. Of independent normal values, r with a fixed
    component follows Student's t with n_classes - 2 degrees of freedom: that null needs no draws.

    Parameters
    ----------
    components : float64, (n_cells, n_classes), of `class_component`.
    class_values : (n_classes,), that differ.
    seed : of the orders drawn where there are too many (`valence.arrangements`).
    """
    values = tuple(np.asarray(class_values, dtype=np.float64).tolist())
    strengths = np.abs(components @ unit(np.array(values)))
    orders, exact = _unit_orders(values, seed)
    p, mean, high = (np.empty(len(components)) for _ in range(3))
    for start in range(0, len(components), BLOCK):
        null = np.abs(components[start : start + BLOCK] @ orders)
        own = slice(start, start + len(null))
        reached = (null >= strengths[own, None] - ROUNDING).sum(axis=1)
        p[own] = reached / orders.shape[1] if exact else (reached + 1) / (orders.shape[1] + 1)
        mean[own], high[own] = null.mean(axis=1), np.quantile(null, 0.95, axis=1)
    degrees = components.shape[1] - 2
    with np.errstate(divide="ignore"):
        t = strengths * np.sqrt(degrees / np.maximum(1 - strengths**2, 0))
    return ClassEncodings(
        strengths=strengths,
        p=p,
        p_random=2 * stats.t.sf(t, degrees),
        null_mean=mean,
        null_95=high,
        n_orders=orders.shape[1],
        exact=exact,
    )


@lru_cache(maxsize=2)
def _unit_orders(values: tuple[float, ...], seed: int) -> tuple[np.ndarray, bool]:
    """Every order of the values, centred and of length 1: (n_classes, n_orders), and whether these are all."""
    orders, exact = arranged(unit(np.array(values)).round(12), seed)
    return np.ascontiguousarray(unit(orders).T), exact
