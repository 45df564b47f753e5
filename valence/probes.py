"""Features to encoding strengths: how far a trained classifier orders the classes as a target does.

Source: "convergence without coercion" in arXiv:2606.00129. Nine class means give nine points, so a strength has a wide
null; it is compared between cells, never read alone.
"""

import numpy as np


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
    means, values = means[there], np.asarray(class_values, dtype=np.float64)[there]
    if len(values) < 3:
        return None
    left, singular, _ = np.linalg.svd(means - means.mean(0), full_matrices=False)
    component = left[:, 0] * singular[0]
    if singular[0] < 1e-12 or np.ptp(values) < 1e-12:
        return None
    return float(abs(np.corrcoef(component, values)[0, 1]))
