"""Directions of features that are random but remove as much variance as a given one: the control of an ablation.

Taking a direction out of features changes them by as much as they vary along it. A direction uniform on the sphere has,
of 128 dimensions of which few vary, next to no variance, and taking it out does nothing whatever the classifier uses.
So directions d are drawn from the set |d| = 1, dᵀΣd = v: where the sphere meets an ellipsoid of the covariance Σ.

In the eigenvectors of Σ with variances λᵢ the set is Σcᵢ² = 1, Σλᵢcᵢ² = v. A draw of normal gᵢ is moved onto it by
cᵢ = gᵢ / √(1 + t(λᵢ - v)), with the one t for which Σ gᵢ²(λᵢ - v) / (1 + t(λᵢ - v)) = 0: the left side falls
monotonically from +∞ to -∞ between the two poles. These are normal values whose precision is a straight line in λᵢ: of
all distributions with the two sums given as expectations the one of largest entropy, here with both exact in each draw.
"""

import numpy as np

from valence.brain.rows import NotPossible

SUPPORT = 1e-10
"""variance below this share of the largest is none: directions have no part there"""
EDGE = 1e-6
"""nearer to the least or largest variance than this share of their distance, there is one direction and no other"""
N_HALVINGS = 60


def matched_directions(covariance: np.ndarray, variance: float, n: int, random: np.random.Generator) -> np.ndarray:
    """Random directions d, |d| = 1, along which features with this covariance have this variance.

    Parameters
    ----------
    covariance : float64, (D, D), symmetric.
    variance : between the least and the largest that features have in any direction.

    Returns
    -------
    float64, (n, D); dᵀΣd is the variance to within rounding.

    Raises
    ------
    NotPossible : where no other direction has this variance.
    """
    values, vectors = np.linalg.eigh(covariance)
    held = values > SUPPORT * max(values[-1], 0)
    if not held.any():
        raise NotPossible("features do not vary")
    values, vectors = values[held], vectors[:, held]
    margin = EDGE * (values[-1] - values[0])
    if not values[0] + margin < variance < values[-1] - margin:
        raise NotPossible(
            f"a direction with variance {variance:.3g}, of {values[0]:.3g} to {values[-1]:.3g} in any: no other has it"
        )
    away = (values - variance) / (values[-1] - values[0])
    drawn = random.normal(size=(n, len(values)))
    precision = 1 + _root(drawn**2, away)[:, None] * away
    coordinates = drawn / np.sqrt(precision)
    coordinates /= np.linalg.norm(coordinates, axis=1, keepdims=True)
    return coordinates @ vectors.T


def _root(squares: np.ndarray, away: np.ndarray) -> np.ndarray:
    """t (n,) with Σᵢ squaresᵢ awayᵢ / (1 + t awayᵢ) = 0, of squares (n, D) > 0 and away (D,) of both signs."""
    low, high = np.full(len(squares), -1 / away.max()), np.full(len(squares), -1 / away.min())
    weighted = squares * away
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2
        above = (weighted / (1 + middle[:, None] * away)).sum(axis=1) > 0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return (low + high) / 2
