"""Across classifiers: does the effect of a strategy depend on how well a classifier decodes without it?

In: paired differences and baselines of strategies x classifiers x seeds. Out: the slope of the difference on baseline
accuracy, its permutation p, and the accuracy from which on nothing is gained, with its interval.

The baseline of a classifier for the difference of a seed is that of all its *other* seeds. A baseline's luck stands in
its own difference with the opposite sign: with the same seeds on both sides every sweep without any effect falls with
baseline accuracy (regression to the mean). Classifiers are the units: of one classifier, seeds and strategies say the
same again, which a random intercept takes up; with the baseline as good as constant within a classifier, its slope and
error in a balanced table are those of a regression over classifiers, with n_classifiers - 2 degrees of freedom.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from valence.errors import BadInput

N_PERMUTATIONS = 10_000
N_BOOTSTRAP = 2_000
N_POINTS = 60
"""change points that are tried"""
LEAST_CLASSIFIERS = 5


@dataclass(frozen=True, kw_only=True)
class AcrossClassifiers:
    """Difference against baseline accuracy; both 0 to 1."""

    slope: float
    """change of the difference for one unit of baseline accuracy; negative where good classifiers gain less"""
    ci_low: float
    ci_high: float
    p: float
    """two-sided, from permutations of the classifiers"""
    reliability: float
    """share of the variance of the baselines between classifiers that is not luck of seeds"""
    slope_corrected: float
    """slope / reliability: what it would be on baselines without luck"""
    change_point: float
    """baseline accuracy from which on the difference stays the same"""
    change_low: float
    change_high: float
    """95 % bootstrap interval over classifiers"""
    p_change: float
    """of a difference that changes up to any point and is flat beyond, against flat throughout; the choice of the point
    is inside the permutations"""
    plateau: float
    """difference beyond the change point"""
    hinge_better: float
    """share of bootstrap samples of classifiers in which change point and plateau fit better than a straight line"""
    n_classifiers: int
    n_seeds: int

    @property
    def finding(self) -> str:
        """In words: nothing without a slope; "saturates" asks for both tests, and a better fit than a line in 95 of 100
        samples."""
        if self.p >= 0.05:
            return "no trend"
        if self.slope > 0:
            return "grows"
        return "saturates" if self.p_change < 0.05 and self.hinge_better >= 0.95 else "falls"


def across_classifiers(differences: np.ndarray, baselines: np.ndarray, *, seed: int = 0) -> AcrossClassifiers:
    """Slope and change point.

    Parameters
    ----------
    differences : float array, (n_classifiers, n_seeds), mean over test subjects and, where pooled, over strategies.
    baselines : float array of the same shape, balanced accuracy without alignment, of the same seeds.
    seed : of permutations and resamples.

    Raises
    ------
    BadInput : for other shapes, numbers that are not finite, fewer than 5 classifiers or 2 seeds, or equal baselines.
    """
    y, own = np.asarray(differences, dtype=float), np.asarray(baselines, dtype=float)
    _check(y, own)
    n_classifiers, n_seeds = own.shape
    x = (own.sum(axis=1, keepdims=True) - own) / (n_seeds - 1)
    slope, margin = _slope(x, y)
    orders = _orders(n_classifiers, seed)
    low, high = np.quantile(x.mean(axis=1), [0.1, 0.9])
    points = np.linspace(low, high, N_POINTS)
    hinge = _hinges(x, points)
    gained = _explained(hinge, y, np.arange(n_classifiers)[None])[0]
    best = int(gained.argmax())
    reached = np.abs(_slopes(x, y, orders)) >= abs(slope) * (1 - 1e-9)
    changed = _explained(hinge, y, orders).max(axis=1) >= gained[best] * (1 - 1e-9)
    drawn, better = _resampled(x, y, points, seed)
    reliability = _reliability(own)
    return AcrossClassifiers(
        slope=slope,
        ci_low=slope - margin,
        ci_high=slope + margin,
        p=(int(reached.sum()) + 1) / (len(orders) + 1),
        reliability=reliability,
        slope_corrected=slope / reliability if reliability > 0 else np.nan,
        change_point=float(points[best]),
        change_low=float(np.quantile(drawn, 0.025)),
        change_high=float(np.quantile(drawn, 0.975)),
        p_change=(int(changed.sum()) + 1) / (len(orders) + 1),
        plateau=_plateau(hinge[best], y),
        hinge_better=better,
        n_classifiers=n_classifiers,
        n_seeds=n_seeds,
    )


def _check(y: np.ndarray, own: np.ndarray) -> None:
    fits = y.ndim == 2 and y.shape == own.shape and y.shape[0] >= LEAST_CLASSIFIERS and y.shape[1] >= 2
    if not (fits and np.isfinite(y).all() and np.isfinite(own).all() and np.ptp(own.mean(axis=1)) > 0):
        raise BadInput(
            f"differences {y.shape} and baselines {own.shape} of classifiers x seeds",
            allowed=f"the same shape, {LEAST_CLASSIFIERS} classifiers with different baselines, 2 seeds, all finite",
            do="run more classifiers or seeds, or leave out those with failed cells",
        )


def _slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope over all seeds, and half of its 95 % interval from what classifiers deviate."""
    centred = x - x.mean(axis=0)
    slope = float((centred * y).sum() / (centred**2).sum())
    means, values = x.mean(axis=1), y.mean(axis=1)
    rest = values - values.mean() - slope * (means - means.mean())
    df = len(x) - 2
    error = np.sqrt((rest**2).sum() / df / ((means - means.mean()) ** 2).sum())
    return slope, float(stats.t.isf(0.025, df) * error)


def _orders(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permuted(np.tile(np.arange(n), (N_PERMUTATIONS, 1)), axis=1)


def _slopes(x: np.ndarray, y: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Slopes with the differences of other classifiers, (n_orders,)."""
    centred = x - x.mean(axis=0)
    products = centred @ y.T / (centred**2).sum()
    return products[np.arange(len(x)), orders].sum(axis=1)


def _hinges(x: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How far below each point, (n_points, n_classifiers, n_seeds)."""
    return np.maximum(points[:, None, None] - x, 0.0)


def _explained(hinge: np.ndarray, y: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Sum of squares that each change point explains in each order of the differences, (n_orders, n_points)."""
    centred = hinge - hinge.mean(axis=(1, 2), keepdims=True)
    products = centred @ (y - y.mean()).T
    sums = np.stack([one[np.arange(len(y)), orders].sum(axis=1) for one in products], axis=1)
    return sums**2 / np.maximum((centred**2).sum(axis=(1, 2)), 1e-300)


def _plateau(hinge: np.ndarray, y: np.ndarray) -> float:
    centred = hinge - hinge.mean()
    return float(y.mean() - (centred * y).sum() / max((centred**2).sum(), 1e-300) * hinge.mean())


def _resampled(x: np.ndarray, y: np.ndarray, points: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """Change point of each bootstrap sample of classifiers, and the share in which it fits better than a line."""
    n = len(x)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), N_BOOTSTRAP).astype(float)
    gained = _weighted(_hinges(x, points), y, counts)
    line = _weighted(x[None], y, counts)[:, 0]
    return points[gained.argmax(axis=1)], float((gained.max(axis=1) > line).mean())


def _weighted(regressors: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sum of squares that each regressor explains in each sample, (n_samples, n_regressors)."""
    size = counts.sum(axis=1, keepdims=True) * y.shape[1]
    first, second = counts @ regressors.sum(axis=2).T, counts @ (regressors**2).sum(axis=2).T
    both, values = counts @ (regressors * y).sum(axis=2).T, (counts @ y.sum(axis=1))[:, None]
    spread = second - first**2 / size
    return np.where(spread > 1e-12, (both - first * values / size) ** 2 / np.maximum(spread, 1e-12), 0.0)


def _reliability(own: np.ndarray) -> float:
    """Of the mean over all seeds but one, from the analysis of variance; 0 or more."""
    n_seeds = own.shape[1]
    noise = own.var(axis=1, ddof=1).mean()
    true = max(own.mean(axis=1).var(ddof=1) - noise / n_seeds, 0.0)
    return float(true / (true + noise / (n_seeds - 1))) if true > 0 else 0.0
