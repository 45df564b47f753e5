"""Stage axis: class means, first principal component, sign and positions, as plain functions of arrays."""

import numpy as np

from valence.errors import BadInput
from valence.stories import NEGATIVE, POSITIVE

SIGN_RULES = ("stories", "joy")


def polarity(classes: tuple[str, ...]) -> np.ndarray:
    """What the stories of a class were written to be: float64 (n_classes,) of −1, 0 and +1."""
    return np.array([(name in POSITIVE) - (name in NEGATIVE) for name in classes], dtype=np.float64)


def set_means(activations: np.ndarray, emotions: np.ndarray, sets: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """Mean activation of each class in each set: float64 array, (n_sets, n_classes, d_model), sets in sorted order."""
    names = sorted(set(sets))
    return np.stack(
        [[activations[(emotions == name) & (sets == set_name)].mean(axis=0) for name in classes] for set_name in names]
    )


def first_component(centroids: np.ndarray) -> tuple[np.ndarray, float]:
    """PC1 of (n_classes, d_model) centroids, as a unit vector of either sign, and its share of the variance.

    Raises BadInput where all centroids are the same.
    """
    check_differ(centroids)
    _, singular_values, components = np.linalg.svd(centroids - centroids.mean(axis=0), full_matrices=False)
    variance = singular_values**2
    return components[0], float(variance[0] / variance.sum())


def check_differ(centroids: np.ndarray) -> None:
    """Raise BadInput where (n_classes, d_model) centroids are the same but for a millionth of their size."""
    if not np.sum((centroids - centroids.mean(axis=0)) ** 2) > 1e-12 * np.sum(centroids**2):
        raise BadInput(
            "axis: the activations of all classes are the same",
            allowed="activations that differ between classes",
            do="read another layer: at the last token, layer 0 is the full stop that every text ends with",
        )


def positions(centroids: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Projections of (n_classes, d_model) centroids on a direction, z-scored over classes: (n_classes,)."""
    projected = centroids @ direction
    return (projected - projected.mean()) / projected.std()


def sign(projections: np.ndarray, classes: tuple[str, ...], *, rule: str, codes: np.ndarray | None = None) -> float:
    """+1.0 where larger projections, (n_classes,), are more positive by a rule, else −1.0.

    "stories": mean of the positive classes above mean of the negative ones, by `codes` or else by `polarity`;
    "joy": joy above the mean of all. Raises BadInput where the rule has no such classes.
    """
    codes = polarity(classes) if codes is None else codes
    check_sign_rule(rule, classes, codes)
    if rule == "joy":
        margin = projections[classes.index("joy")] - projections.mean()
    else:
        margin = projections[codes > 0].mean() - projections[codes < 0].mean()
    return 1.0 if margin >= 0 else -1.0


def check_sign_rule(rule: str, classes: tuple[str, ...], codes: np.ndarray) -> None:
    """Raise BadInput for an unknown rule, or one that these classes cannot answer."""
    if rule not in SIGN_RULES:
        raise BadInput(f"sign rule {rule!r}", allowed=", ".join(SIGN_RULES), do="take one of these")
    if rule == "joy" and "joy" not in classes:
        raise BadInput(
            f'sign rule "joy" for the classes {", ".join(classes)}', allowed="classes with joy", do='take "stories"'
        )
    if rule == "stories" and not ((codes > 0).any() and (codes < 0).any()):
        raise BadInput(
            f"classes {', '.join(classes)}, with the codes {', '.join(f'{code:g}' for code in codes)}",
            allowed="at least one class coded positive and one negative: without them an axis has no sign",
            do="add stories of the missing side, or give codes",
        )
