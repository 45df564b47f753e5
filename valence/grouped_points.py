"""Points in groups to what a relation between them is worth: how alike points of one group are, how many independent
points they stand for, and a slope with a random intercept for each group. Arrays of points in, numbers out.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy import stats

from valence.probes import unit


def membership(groups: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Matrices that take group means away (n, n), and that give group means (n_groups, n), groups sorted by name."""
    member = np.eye(len(set(groups)))[np.unique(np.array(groups), return_inverse=True)[1]]
    means = (member / member.sum(axis=0)).T
    return np.eye(len(groups)) - member @ means, means


def effective_n(x: np.ndarray, y: np.ndarray, groups: Sequence[str]) -> float:
    """Independent pairs whose r would vary as that of x and y without a relation, where groups have means of their own.

    1 + n² / (n + Σ_g n_g(n_g - 1) ρ_x ρ_y), with ρ the intraclass correlations.
    """
    sizes = np.unique(np.array(groups), return_counts=True)[1]
    alike = intraclass(x, groups) * intraclass(y, groups)
    n = len(x)
    return float(min(n, 1 + n**2 / (n + (sizes * (sizes - 1)).sum() * alike)))


def intraclass(values: np.ndarray, groups: Sequence[str]) -> float:
    """ICC(1) by analysis of variance, 0 to 1: how alike two values of one group are. 0 where groups cannot tell."""
    within, means = membership(groups)
    sizes = np.unique(np.array(groups), return_counts=True)[1]
    n, k = len(values), len(sizes)
    if k < 2 or n == k:
        return 0.0
    among = float((sizes * (means @ values - values.mean()) ** 2).sum()) / (k - 1)
    inside = float(((within @ values) ** 2).sum()) / (n - k)
    size = (n - (sizes**2).sum() / n) / (k - 1)
    total = among + (size - 1) * inside
    return float(np.clip((among - inside) / total, 0, 1)) if total > 0 else 0.0


def mixed_slope(x: np.ndarray, y: np.ndarray, groups: Sequence[str]) -> tuple[float, float, float, str]:
    """Slope of y by x with a random intercept for each group, its 95 % interval, and a remark.

    By restricted maximum likelihood (statsmodels); NaN with the reason where it cannot be fitted.
    """
    from statsmodels.regression.mixed_linear_model import MixedLM  # takes a second, and little else needs it
    from statsmodels.tools.sm_exceptions import ConvergenceWarning

    if len(set(groups)) < 2:
        return np.nan, np.nan, np.nan, "one group: there is nothing to mix"
    if len(set(groups)) == len(groups):
        return np.nan, np.nan, np.nan, "every point is a group of its own: there is nothing to mix"
    design = np.column_stack([np.ones(len(x)), unit(x)])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            fit = MixedLM(unit(y), design, groups=np.array(groups)).fit(reml=True)
        except np.linalg.LinAlgError as error:
            return np.nan, np.nan, np.nan, f"it cannot be fitted: {error}"
    scale = np.linalg.norm(y - y.mean()) / np.linalg.norm(x - x.mean())
    low, high = fit.conf_int()[1]
    doubtful = not fit.converged or any(issubclass(one.category, ConvergenceWarning) for one in told)
    words = f"random intercepts of {len(set(groups))} groups" + (", at the edge of what can be fitted" * doubtful)
    return float(fit.params[1] * scale), float(low * scale), float(high * scale), words


def p_of_r(r: float, n: float) -> float:
    """Two-sided p of r by Student's t, n independent points."""
    if not n > 2 or abs(r) >= 1:
        return 1.0 if not n > 2 else 0.0
    return float(2 * stats.t.sf(abs(r) * np.sqrt((n - 2) / (1 - r**2)), n - 2))
