"""Directions of features that are random but remove as much variance as a given one: the control of an ablation.

Taking a direction out of features changes them by as much as they vary along it. A direction uniform on the sphere has
the mean variance of all, where few of 128 dimensions vary and the one under study is among them: that it does less harm
says nothing of what the classifier uses. So directions d are drawn from the set |d| = 1, dᵀΣd = v, where the sphere
meets an ellipsoid of the covariance Σ; and orthogonal to the given one, as directions of much variance are otherwise
for the most part that one again.

In the eigenvectors of Σ, restricted to what is orthogonal, with variances λᵢ the set is Σcᵢ² = 1, Σλᵢcᵢ² = v. A draw of
normal gᵢ is moved onto it by cᵢ = gᵢ / √(1 + t(λᵢ - v)), with the one t for which Σ gᵢ²(λᵢ - v) / (1 + t(λᵢ - v)) = 0:
the left side falls monotonically from +∞ to -∞ between the two poles. These are normal values whose precision is a
straight line in λᵢ: of all distributions with the two sums given as expectations the one of largest entropy, here with
both exact in each draw.
"""

import numpy as np

from valence.brain.rows import NotPossible

SUPPORT = 1e-10
"""variance below this share of the largest is none: directions have no part there"""
EDGE = 1e-6
"""a variance nearer to the least or the largest than this share of their distance is that of one direction alone"""
N_HALVINGS = 60


def matched_directions(
    covariance: np.ndarray, direction: np.ndarray, n: int, random: np.random.Generator
) -> np.ndarray:
    """Random directions along which features with this covariance vary as much as along this one, orthogonal to it.

    Parameters
    ----------
    covariance : float64, (D, D), symmetric.
    direction : (D,), of length 1.

    Returns
    -------
    float64, (n, D), of length 1; dᵀΣd is that of the direction to within rounding.

    Raises
    ------
    NotPossible : where no orthogonal direction has as much variance, or as little.
    """
    seen = covariance @ direction
    variance = float(direction @ seen)
    across = np.outer(direction, seen)
    others = covariance - across - across.T + variance * np.outer(direction, direction)
    values, vectors = np.linalg.eigh(others)
    held = values > SUPPORT * np.trace(covariance)
    if held.sum() < 2:
        raise NotPossible("features vary in fewer than two orthogonal directions")
    values, vectors = values[held], vectors[:, held]
    margin = EDGE * (values[-1] - values[0])
    if not values[0] + margin < variance < values[-1] - margin:
        raise NotPossible(
            f"features vary by {variance:.3g} along the direction, and by {values[0]:.3g} to {values[-1]:.3g} along "
            "those orthogonal to it: none matches"
        )
    away = (values - variance) / (values[-1] - values[0])
    drawn = random.normal(size=(n, len(values)))
    precision = 1 + _root(drawn**2, away)[:, None] * away
    coordinates = drawn / np.sqrt(precision)
    # near a pole the root has few digits: the two sides of Σcᵢ²(λᵢ - v) = 0 are made equal
    sides = coordinates**2 * away
    over, under = sides[:, away > 0].sum(axis=1), -sides[:, away <= 0].sum(axis=1)
    coordinates[:, away > 0] *= np.sqrt(under / over)[:, None]
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
