"""p values to adjusted p values: Holm inside a declared family, Benjamini-Hochberg for exploration.

Holm is written out because statsmodels' multipletests collects garbage on every call, .1 s a family; the tests hold it
against that function.
"""

import numpy as np
from scipy import stats


def holm(p: np.ndarray, *, family_size: int = 0) -> np.ndarray:
    """Holm's step-down adjustment (Holm 1979, Scandinavian Journal of Statistics 6:65).

    Parameters
    ----------
    p : float array, (n_comparisons,). NaN, a comparison without a p value, stays NaN but counts in the family.
    family_size : comparisons declared before the run; where more than given, the absent ones count as p = 1.

    Returns
    -------
    float array, (n_comparisons,)
    """
    p = np.asarray(p, dtype=float)
    size = max(family_size, len(p))
    order = np.argsort(p, kind="stable")  # NaN comes last, as 1 would
    steps = np.maximum.accumulate(p[order] * (size - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """False discovery rate adjustment (Benjamini & Hochberg 1995, JRSS B 57:289); NaN stays NaN, counting as p = 1."""
    p = np.asarray(p, dtype=float)
    if len(p) == 0:
        return p
    return np.where(np.isnan(p), np.nan, stats.false_discovery_control(np.nan_to_num(p, nan=1.0), method="bh"))
