"""Directions of features that are random but remove as much variance as a given one: the control of an ablation.

Taking a direction out of features changes them by as much as they vary along it. A direction uniform on the sphere has
the mean variance of all, where few of 128 dimensions vary and the one under study is among them: that it does less harm
says nothing of what the classifier uses. So directions d are drawn from the set |d| = 1, dᵀΣd = v, where the sphere
meets an ellipsoid of the covariance Σ; and orthogonal to the given one, as directions of much variance are otherwise
for the most part that one again.

In the eigenvectors of Σ, restricted to what is orthogonal, with variances λᵢ the set is Σcᵢ² = 1, Σλᵢcᵢ² = v. Normal cᵢ
with the precisions 1 + t(λᵢ - v), scaled to length 1, have a density that depends on Σλᵢcᵢ² alone: among those with one
value of it they are uniform, whatever t is. The t with Σ (λᵢ - v) / (1 + t(λᵢ - v)) = 0 puts that value near v. Of
N_TRIED times as many draws the nearest are taken, and the last bit of the way the cᵢ of variances above v are scaled.
"""

import numpy as np

from valence.brain.rows import NotPossible

SUPPORT = 1e-10
"""variance below this share of all is none: directions have no part there"""
EDGE = 1e-6
"""a variance nearer to the least or the largest than this share of their distance is that of one direction alone"""
N_HALVINGS = 60
N_TRIED = 25
"""draws for each direction that is wanted"""


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
    variance = float(direction @ covariance @ direction)
    values, vectors = _orthogonal(covariance, direction)
    margin = EDGE * (values[-1] - values[0])
    if not values[0] + margin < variance < values[-1] - margin:
        raise NotPossible(
            f"features vary by {variance:.3g} along the direction, and by {values[0]:.3g} to {values[-1]:.3g} along "
            "those orthogonal to it: none matches"
        )
    away = (values - variance) / (values[-1] - values[0])
    drawn = random.normal(size=(N_TRIED * n, len(values))) / np.sqrt(1 + _root(away) * away)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    nearest = np.argpartition(np.abs(drawn**2 @ away), n - 1)[:n]
    coordinates = drawn[np.sort(nearest)]
    sides = coordinates**2 * away
    over, under = sides[:, away > 0].sum(axis=1), -sides[:, away <= 0].sum(axis=1)
    coordinates[:, away > 0] *= np.sqrt(under / over)[:, None]
    coordinates /= np.linalg.norm(coordinates, axis=1, keepdims=True)
    return coordinates @ vectors.T


def _orthogonal(covariance: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances (k,), ascending, and eigenvectors (D, k) of what is orthogonal to a direction and varies at all."""
    seen = covariance @ direction
    across = np.outer(direction, seen)
    others = covariance - across - across.T + (direction @ seen) * np.outer(direction, direction)
    values, vectors = np.linalg.eigh(others)
    held = values > SUPPORT * np.trace(covariance)
    if held.sum() < 2:
        raise NotPossible("features vary in fewer than two orthogonal directions")
    return values[held], vectors[:, held]


def _root(away: np.ndarray) -> float:
    """t with Σ away / (1 + t away) = 0, of away (D,) of both signs: the sum falls from +∞ to -∞ between the poles."""
    low, high = -1 / away.max(), -1 / away.min()
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2
        if (away / (1 + middle * away)).sum() > 0:
            low = middle
        else:
            high = middle
    return float((low + high) / 2)
