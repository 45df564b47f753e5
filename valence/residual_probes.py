"""Clip features to what they hold of a target beyond the class: r of residual components with the target's residual.

Residuals are what is left of clip features and of a target's clip values when class means are taken away; 28 clips of 9
classes leave 19 degrees of freedom. The component that follows the target best is chosen among the first few, so its r
is large without any effect: the null permutes clips within classes and chooses anew each time.

A target with one value a class has no residual. Source: arXiv:2606.00129, "within-class residual r", whose number of
components is not reported.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from valence.brain.rows import NotPossible
from valence.probes import ROUNDING

N_COMPONENTS = 5
"""residual components among which the best is chosen"""
N_PERMUTATIONS = 5_000
FEWEST_DEGREES = 3


def residual_basis(class_of_clip: np.ndarray) -> np.ndarray:
    """Orthonormal contrasts between clips of one class: float64, (n_clips, n_clips - n_classes).

    Qᵀx are the coordinates of x without its class means; Q Qᵀ x is x minus its class means.
    """
    columns = []
    for label in np.unique(class_of_clip):
        places = np.flatnonzero(class_of_clip == label)
        for count in range(1, len(places)):  # Helmert: a clip against those before it
            column = np.zeros(len(class_of_clip))
            column[places[:count]], column[places[count]] = -1.0, count
            columns.append(column / np.sqrt(count * (count + 1)))
    return np.array(columns).reshape(-1, len(class_of_clip)).T


def residual_target(clip_values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Coordinates (degrees,) of a target's residual, of length 1.

    Raises NotPossible where clips of one class have one value, and for fewer than three degrees of freedom.
    """
    if basis.shape[1] < FEWEST_DEGREES:
        raise NotPossible(f"{basis.shape[1]} degrees of freedom between clips of one class, of {FEWEST_DEGREES} needed")
    values = np.asarray(clip_values, dtype=np.float64)
    residual = values @ basis
    size = np.linalg.norm(residual)
    if size <= ROUNDING * np.linalg.norm(values - values.mean()):
        raise NotPossible("the target has one value a class: nothing is left of it within classes")
    return residual / size


def residual_components(
    clip_features: np.ndarray, basis: np.ndarray, *, n_components: int = N_COMPONENTS
) -> tuple[np.ndarray, np.ndarray]:
    """First principal components of clip features without class means.

    Parameters
    ----------
    clip_features : (n_clips, D)
    basis : (n_clips, degrees), of `residual_basis`.

    Returns
    -------
    scores : float64, (degrees, k), orthonormal coordinates of the clips on each.
    directions : float64, (k, D), orthonormal directions of the features.

    Raises NotPossible where clips of one class do not differ.
    """
    residual = basis.T @ np.asarray(clip_features, dtype=np.float64)
    left, singular, right = np.linalg.svd(residual, full_matrices=False)
    kept = min(n_components, int((singular > ROUNDING * max(np.abs(clip_features).max(), 1e-300)).sum()))
    if not kept:
        raise NotPossible("features of clips of one class do not differ")
    return left[:, :kept], right[:kept]


@dataclass(frozen=True, kw_only=True)
class ResidualEncoding:
    """How far residual features follow a target's residual."""

    strength: float
    """largest |r| among the first components"""
    component: int
    """which of them, from 0"""
    p: float
    """share of permutations of clips within classes, the true order among them, whose largest |r| is as large"""
    null_mean: float
    null_95: float
    """mean and 95th percentile of the largest |r| over permutations"""
    n_components: int
    degrees: int
    """n_clips - n_classes"""
    n_permutations: int


def residual_encoding(
    clip_features: np.ndarray,
    clip_values: np.ndarray,
    class_of_clip: np.ndarray,
    *,
    n_components: int = N_COMPONENTS,
    n_permutations: int = N_PERMUTATIONS,
    seed: int = 0,
) -> ResidualEncoding:
    """Largest |r| of a target's residual with one of the first residual components, the choice inside the null.

    Parameters
    ----------
    clip_features : (n_clips, D); clips with NaN are left out.
    clip_values : (n_clips,), of the target.
    class_of_clip : int, (n_clips,)

    Raises
    ------
    NotPossible : where target or features have no residual, or fewer than three degrees of freedom are left.
    """
    there = np.isfinite(clip_features).all(axis=1)
    labels, values = np.asarray(class_of_clip)[there], np.asarray(clip_values, dtype=np.float64)[there]
    basis = residual_basis(labels)
    target = residual_target(values, basis)
    scores, _ = residual_components(clip_features[there], basis, n_components=n_components)
    r = np.abs(target @ scores)
    permuted = permuted_targets(tuple(values.tolist()), tuple(labels.tolist()), n_permutations, seed)
    null = np.abs(permuted @ scores).max(axis=1)
    return ResidualEncoding(
        strength=float(r.max()),
        component=int(r.argmax()),
        p=float((1 + (null >= r.max() - ROUNDING).sum()) / (1 + len(null))),
        null_mean=float(null.mean()),
        null_95=float(np.quantile(null, 0.95)),
        n_components=scores.shape[1],
        degrees=basis.shape[1],
        n_permutations=len(null),
    )


@lru_cache(maxsize=8)
def permuted_targets(
    values: tuple[float, ...], class_of_clip: tuple[int, ...], n_permutations: int, seed: int
) -> np.ndarray:
    """Residual coordinates of the target with clips permuted within classes: (n_permutations, degrees), length 1."""
    labels, random = np.array(class_of_clip), np.random.default_rng(seed)
    permuted = np.tile(values, (n_permutations, 1))
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        permuted[:, places] = random.permuted(permuted[:, places], axis=1)
    residual = permuted @ residual_basis(labels)
    return residual / np.linalg.norm(residual, axis=1, keepdims=True)
