"""Paired differences of thousands of sweeps with a known truth, as arrays."""

import numpy as np

STUDY = np.array(
    [
        *(-0.052, -0.009, -0.044, -0.018, -0.054, -0.022, -0.013, 0.0021, 0.0012, -0.093, -0.057, -0.397, -0.043),
        *(-0.043, -0.016, -0.010, 0.0066, -0.009, -0.010, -0.016, -0.401, -0.190, 0.0015, -0.045, -0.067),
    ]
)
"""the differences printed for the 25 rows of the study"""


def sweeps(random, n_sweeps, deltas, *, n_seeds=20, n_subjects=8, sd=0.01, subjects=0.0, noise=0.02, skewed=False):
    """(n_sweeps, n_comparisons, n_seeds, n_subjects) differences from a baseline that all comparisons share.

    sd of a difference between seeds, half of its variance from the baseline; sds of subjects and of noise. Seeds are
    normal, or shifted exponential where skewed.
    """
    n_comparisons = len(deltas)

    def networks(shape):
        drawn = random.exponential(size=shape) - 1 if skewed else random.normal(size=shape)
        return drawn * sd / np.sqrt(2)

    network = networks((n_sweeps, n_comparisons, n_seeds, 1)) - networks((n_sweeps, 1, n_seeds, 1))
    person = random.normal(0, 1, (n_sweeps, n_comparisons, 1, n_subjects)) * subjects
    rest = random.normal(0, noise, (n_sweeps, n_comparisons, n_seeds, n_subjects))
    return np.asarray(deltas, dtype=float)[:, None, None] + network + person + rest
