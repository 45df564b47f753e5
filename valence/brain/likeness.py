"""Stage brain: two groups of subjects in, how alike the means over them are, out."""

import numpy as np

from valence.brain.cohort import over_subjects
from valence.brain.correlations import correlations, stacked


def likeness(first: np.ndarray, second: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """How alike two cohort tensors are, (n_clips, n_cells) each: Pearson's r over what is named."""
    profiles = [(x - x.mean(axis=0)) / x.std(axis=0) for x in (first, second)]
    maps = [correlations(x, values) for x in (first, second)]
    pairs = {"whole tensor": (first, second), "clips, each cell z-scored": profiles, "map of r with the target": maps}
    return {name: float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for name, (a, b) in pairs.items()}


def divided(x: np.ndarray, values: np.ndarray, n_first: int, n_times: int, seed: int) -> dict[str, np.ndarray]:
    """`likeness` of the first `n_first` subjects of a random order with the rest, so often: (n_times,) by name."""
    rng = np.random.default_rng(seed)
    orders = (rng.permutation(len(x)) for _ in range(n_times))
    return stacked(
        {name: np.array(r) for name, r in of_groups(x, values, order[:n_first], order[n_first:]).items()}
        for order in orders
    )


def of_groups(x: np.ndarray, values: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """`likeness` of the means over some subjects and over others, of (n_subjects, n_clips, n_cells)."""
    a, b = over_subjects(x[first]), over_subjects(x[second])
    there = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    return likeness(a[there], b[there], values[there])
