"""Encoding strengths and balanced accuracies of classifiers to whether better ones encode a target more.

In: of every cell its balanced accuracy, what its features offer a target (the first component of class means, or the
first few residual components), its point and its group. Out: r over points, within groups and between them, slopes, a
mixed model, how many independent points they are worth, and a null of random directions.

Networks of one architecture are alike: in their accuracy and in what they encode, for reasons that need have nothing to
do with each other. Two architectures are then two points, however many networks of each there are, and a pooled r is
near 1 by the way in which the two differ. Within groups that difference is gone; the null keeps it, as a random
direction is encoded alike by alike networks too.

Source: arXiv:2606.00129: r = .885 over 36 checkpoints of 2 architectures, null of 1,000 directions with a mean of -.03
and a standard deviation of .62, p = .066; its revision withdraws the r as pseudo-replicated.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from valence.brain.rows import NotPossible
from valence.grouped_points import effective_n, membership, mixed_slope, p_of_r
from valence.intervals import correlation, fisher_interval
from valence.probes import ROUNDING, unit

N_RANDOM = 1_000
FEWEST_POINTS = 4
FEWEST_IN_GROUP = 3
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Correlated:
    """A correlation of strength and balanced accuracy."""

    r: float
    ci_low: float
    ci_high: float
    """Fisher's 95 % interval, as if points were independent within what was taken away"""
    n: int
    """points, or groups"""
    slope: float
    """balanced accuracy by strength"""
    p: float = np.nan
    """one-sided, share of random directions with as large an r"""
    null_mean: float = np.nan
    null_sd: float = np.nan
    percentile: float = np.nan
    """of r among random directions, 0 to 100"""


@dataclass(frozen=True, kw_only=True)
class Convergence:
    """Strength against balanced accuracy over points in groups."""

    strengths: np.ndarray
    """float64, (n_points,)"""
    balanced_accuracy: np.ndarray
    groups: tuple[str, ...]
    """of each point"""
    pooled: Correlated
    within: Correlated | None
    """group means taken away; None where no group has two points"""
    between: Correlated | None
    """of group means; None below three groups"""
    by_group: dict[str, Correlated] = field(default_factory=dict)
    """of groups with three points or more"""
    effective_n: float
    """independent points that have as wide a null: Clifford, Richardson and Hémon 1989, doi 10.2307/2532039"""
    effective_p: float
    """two-sided, Student's t with effective_n - 2 degrees of freedom; 1 below that"""
    mixed_slope: float
    mixed_low: float
    mixed_high: float
    """balanced accuracy by strength with a random intercept for each group, 95 %; NaN where it cannot be fitted"""
    mixed_words: str
    n_random: int

    @property
    def pseudo_replicated(self) -> bool:
        """r would be significant of independent points, and is not of as many as these are worth."""
        n, r = self.pooled.n, self.pooled.r
        return p_of_r(r, n) < ALPHA <= self.effective_p

    @property
    def words(self) -> str:
        """What a reader must know of the pooled r."""
        n_groups = len(set(self.groups))
        told = f"{self.pooled.n} points of {n_groups} groups, worth {self.effective_n:.1f} independent ones"
        within = self.within
        if within is not None:
            told += f"; within groups r {within.r:+.2f} [{within.ci_low:+.2f}, {within.ci_high:+.2f}]"
        if self.pseudo_replicated:
            told += "; the pooled r tells groups apart and is no evidence: its points are pseudo-replicated"
        return told


def strengths_of(components: Sequence[np.ndarray], directions: np.ndarray) -> np.ndarray:
    """Largest |r| of every direction with the components of every cell: (n_directions, n_cells).

    components : of each cell (k, m), rows of length 1, centred as the directions (n_directions, m) are.
    """
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    scaled = np.divide(directions, lengths, out=np.zeros_like(directions), where=lengths > 0)
    return np.stack([np.abs(scaled @ own.T).max(axis=1) for own in components], axis=1)


def random_classes(
    n_classes: int, *, n: int = N_RANDOM, prototypes: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """Random directions as values of classes, centred: float64, (n, n_classes).

    Independent normal values; of prototypes (n_classes, d), such as an LLM's centroids, their projections on random
    directions of that space, which are alike for classes that are.
    """
    random = np.random.default_rng(seed)
    if prototypes is None:
        return unit(random.normal(size=(n, n_classes)))
    return unit(random.normal(size=(n, prototypes.shape[1])) @ prototypes.T)


def convergence(
    balanced_accuracy: np.ndarray,
    components: Sequence[np.ndarray],
    direction: np.ndarray,
    null: np.ndarray,
    groups: Sequence[str],
    *,
    points: Sequence[Hashable] | None = None,
) -> Convergence:
    """Strength of a direction against balanced accuracy.

    Parameters
    ----------
    balanced_accuracy : (n_cells,)
    components : of each cell (k, m): of k > 1 the best is taken, in every direction of the null as well.
    direction : (m,), the target: class values centred, or residual coordinates.
    null : (n_random, m), random directions or other orders of the target.
    groups : of each cell, the architecture or the family of its point.
    points : of each cell, which point it is a part of (a classifier, over seeds): strengths and balanced accuracies
        are means over cells. None: each cell is a point.

    Raises
    ------
    NotPossible : below four points, or where strengths or balanced accuracies are all the same.
    """
    if not len(components):
        raise NotPossible("no classifier")
    names: list[Hashable] = list(points if points is not None else range(len(components)))
    first = {name: names.index(name) for name in names}
    of_cell = np.array([list(first).index(name) for name in names])
    average = np.eye(len(first))[of_cell].T / np.bincount(of_cell)[:, None]
    of_point = tuple(groups[place] for place in first.values())
    y = average @ np.asarray(balanced_accuracy, dtype=np.float64)
    all_strengths = strengths_of(components, np.concatenate([direction[None], null])) @ average.T
    x = all_strengths[0]
    if len(y) < FEWEST_POINTS or np.ptp(x) < ROUNDING or np.ptp(y) < ROUNDING:
        raise NotPossible(f"{len(y)} classifiers, or all of one accuracy or strength: it takes {FEWEST_POINTS} or more")
    within_groups, between = membership(of_point)
    n_eff = effective_n(x, y, of_point)
    slope, low, high, words = mixed_slope(x, y, of_point)
    free = len(y) - len(between)
    return Convergence(
        strengths=x,
        balanced_accuracy=y,
        groups=of_point,
        pooled=_against(x, y, all_strengths[1:], np.eye(len(y)), n_interval=len(y), n=len(y)),
        within=_against(x, y, all_strengths[1:], within_groups, n_interval=free + 1, n=len(y)) if free > 1 else None,
        between=_against(x, y, all_strengths[1:], between, n_interval=len(between), n=len(between))
        if len(between) >= FEWEST_IN_GROUP
        else None,
        by_group=_by_group(x, y, of_point),
        effective_n=n_eff,
        effective_p=p_of_r(correlation(x, y), n_eff),
        mixed_slope=slope,
        mixed_low=low,
        mixed_high=high,
        mixed_words=words,
        n_random=len(null),
    )


def _against(
    x: np.ndarray, y: np.ndarray, null: np.ndarray, take: np.ndarray, *, n_interval: int, n: int
) -> Correlated:
    """r of strengths and accuracies after `take`, and of those of random directions (n_random, n_points)."""
    own, score = take @ x, take @ y
    r = correlation(own, score)
    others = unit(null @ take.T) @ unit(score)
    if not np.isfinite(r) or not len(others):
        return Correlated(r=r, ci_low=np.nan, ci_high=np.nan, n=n, slope=np.nan)
    low, high = fisher_interval(r, n_interval)
    reached = (others >= r - ROUNDING).sum()
    return Correlated(
        r=r,
        ci_low=low,
        ci_high=high,
        n=n,
        slope=float(np.polyfit(own, score, 1)[0]),
        p=float((1 + reached) / (1 + len(others))),
        null_mean=float(others.mean()),
        null_sd=float(others.std(ddof=1)) if len(others) > 1 else np.nan,
        percentile=float(100 * (others < r).mean()),
    )


def _by_group(x: np.ndarray, y: np.ndarray, groups: Sequence[str]) -> dict[str, Correlated]:
    found = {}
    for name in sorted(set(groups)):
        own = np.array([group == name for group in groups])
        if own.sum() >= FEWEST_IN_GROUP and np.ptp(x[own]) > ROUNDING and np.ptp(y[own]) > ROUNDING:
            r, n = correlation(x[own], y[own]), int(own.sum())
            low, high = fisher_interval(r, n)
            found[name] = Correlated(r=r, ci_low=low, ci_high=high, n=n, slope=float(np.polyfit(x[own], y[own], 1)[0]))
    return found
