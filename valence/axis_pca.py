"""Stage axis: class means, first principal component, sign and positions, as plain functions of arrays."""

import numpy as np

from valence.stories import NEGATIVE, POSITIVE

SIGN_RULES = ("stories", "joy")


def set_means(activations: np.ndarray, emotions: np.ndarray, sets: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """Mean activation of each class in each set: float64 array, (n_sets, n_classes, d_model), sets in sorted order."""
    names = sorted(set(sets))
    return np.stack(
        [[activations[(emotions == name) & (sets == set_name)].mean(axis=0) for name in classes] for set_name in names]
    )


def first_component(centroids: np.ndarray) -> tuple[np.ndarray, float]:
    """PC1 of (n_classes, d_model) centroids, as a unit vector of either sign, and its share of the variance."""
    _, singular_values, components = np.linalg.svd(centroids - centroids.mean(axis=0), full_matrices=False)
    variance = singular_values**2
    return components[0], float(variance[0] / variance.sum())


def positions(centroids: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Projections of (n_classes, d_model) centroids on a direction, z-scored over classes: (n_classes,)."""
    projected = centroids @ direction
    return (projected - projected.mean()) / projected.std()


def sign(projections: np.ndarray, classes: tuple[str, ...], *, rule: str) -> float:
    """+1.0 where larger projections, (n_classes,), are more positive by a rule, else −1.0.

    "stories": mean of the positive classes above mean of the negative ones; "joy": joy above the mean of all.
    """
    if rule == "joy":
        margin = projections[classes.index("joy")] - projections.mean()
    else:
        positive = [projections[classes.index(name)] for name in POSITIVE if name in classes]
        negative = [projections[classes.index(name)] for name in NEGATIVE if name in classes]
        margin = np.mean(positive) - np.mean(negative)
    return 1.0 if margin >= 0 else -1.0
