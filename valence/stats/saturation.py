"""Features of networks trained without alignment to whether they already order the classes along the axis.

In: clip features of one classifier's baseline cells, one array a seed, and the class values of an axis. Out: how far
the first principal component of the class means follows the axis, in each seed and on average, and its exact null.

Nine classes are nine points, and a random order of them has |r| up to .67 in 95 of 100 cases: a strength is read beside
its null alone. The null permutes the class values, in the same way for all seeds, as networks of several seeds learn
from the same data: where their components are alike, their mean is no surer than one of them.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from valence.errors import BadInput
from valence.probes import group_means

MOST_EXACT = 9
"""up to so many classes all permutations of the values are enumerated, 362,880 of 9; beyond, N_DRAWN are drawn"""
N_DRAWN = 100_000
CHUNK = 40_320
"""permutations that are held in memory at once"""
QUANTILE = 0.95


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """How far one classifier's baseline encodes an axis."""

    strengths: np.ndarray
    """float64, (n_seeds,), |correlation| of PC1 of the class means with the class values; NaN where they do not vary"""
    strength: float
    """mean over seeds"""
    p: float
    """share of the permutations of class values, the true order among them, with a mean strength at least as large"""
    null_mean: float
    null_95: float
    """95th percentile of the mean strength over permutations"""
    n_permutations: int
    exact: bool
    """all permutations were tried"""
    n_classes: int
    """classes that have features in every seed"""
    p_floor: float = np.nan
    """smallest p that so many classes, with these values, can give"""


def baseline_saturation(
    clip_features: Sequence[np.ndarray], class_of_clip: np.ndarray, class_values: np.ndarray, *, seed: int = 0
) -> Saturation:
    """Encoding strength of an axis in networks that were not aligned to it.

    Parameters
    ----------
    clip_features : of each seed, (n_clips, D), mean penultimate features of test samples; NaN for a clip without any.
        D may differ between seeds.
    class_of_clip : int, (n_clips,), class of each clip.
    class_values : (n_classes,), positions on the axis, in any scale.
    seed : of the permutations drawn where there are too many to enumerate.

    Returns
    -------
    Saturation: NaN throughout where the class means vary in no seed.

    Raises
    ------
    BadInput : for no seeds, shapes that do not fit, values that are not finite or all equal, or fewer than three
        classes with features.
    """
    labels, values = np.asarray(class_of_clip), np.asarray(class_values, dtype=np.float64)
    features = [np.asarray(one, dtype=np.float64) for one in clip_features]
    _check(features, labels, values)
    means = [_class_means(one, labels, len(values)) for one in features]
    there = np.logical_and.reduce([np.isfinite(one).all(axis=1) for one in means])
    if there.sum() < 3 or np.ptp(values[there]) == 0:
        raise BadInput(
            f"features of {there.sum()} classes, with {len(set(values[there]))} different values",
            allowed="three classes or more that have clips in every seed, with values that differ",
            do="take a split whose test part has clips of all classes",
        )
    components = np.stack([_component(one[there]) for one in means])
    varies = np.isfinite(components).all(axis=1)
    strengths = np.full(len(means), np.nan)
    strengths[varies] = np.abs(components[varies] @ _unit(values[there]))
    if not varies.any():
        return _nothing(strengths, int(there.sum()))
    null, exact = _null(components[varies], values[there], seed=seed)
    strength = float(strengths[varies].mean())
    reached = int((null >= strength * (1 - 1e-9)).sum())
    return Saturation(
        strengths=strengths,
        strength=strength,
        p=reached / len(null) if exact else (reached + 1) / (len(null) + 1),
        null_mean=float(null.mean()),
        null_95=float(np.quantile(null, QUANTILE)),
        n_permutations=len(null),
        exact=exact,
        n_classes=int(there.sum()),
        p_floor=_floor(values[there], len(null)),
    )


def _floor(values: np.ndarray, n_orders: int) -> float:
    """Share of the orders in which the values, or their mirror image, stand as they do."""
    unit = _unit(values)
    same = 1
    for _, count in zip(*np.unique(unit, return_counts=True)):
        same *= math.factorial(count)
    mirrored = np.allclose(np.sort(unit), np.sort(-unit))
    return same * (2 if mirrored else 1) / n_orders


def _check(features: Sequence[np.ndarray], labels: np.ndarray, values: np.ndarray) -> None:
    shapes = sorted({one.shape for one in features})
    fits = bool(shapes) and all(len(shape) == 2 and shape[0] == len(labels) and shape[1] for shape in shapes)
    fits = fits and values.ndim == labels.ndim == 1 and len(labels) > 0
    if not (fits and labels.min() >= 0 and labels.max() < len(values) and np.isfinite(values).all()):
        raise BadInput(
            f"features of the shapes {', '.join(map(str, shapes)) or 'of no seed'}, {labels.size} clips of classes up "
            f"to {labels.max() if labels.size else 'none'}, values {values.tolist()}",
            allowed="of each seed (n_clips, D), a class for each clip, a finite value for each class",
            do="take features and classes of the same data set",
        )


def _class_means(features: np.ndarray, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Mean over the clips of a class that have features, (n_classes, D); NaN rows for classes without any."""
    known = np.isfinite(features).all(axis=1)
    return group_means(features[known], labels[known], n_classes)


def _component(means: np.ndarray) -> np.ndarray:
    """First principal component of class means, a centred unit vector (n_classes,); NaN where they do not vary."""
    left, singular, _ = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    if singular[0] <= 1e-12 * max(np.abs(means).max(), 1e-300):
        return np.full(len(means), np.nan)
    return _unit(left[:, 0])


def _unit(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    return centred / np.linalg.norm(centred)


def _null(components: np.ndarray, values: np.ndarray, *, seed: int) -> tuple[np.ndarray, bool]:
    """Mean strength over seeds for each permutation of the values, and whether these are all."""
    n_classes = len(values)
    exact = n_classes <= MOST_EXACT
    unit = _unit(values)
    orders = _all_orders(n_classes) if exact else _drawn_orders(n_classes, seed)
    null = [np.abs(components @ unit[chunk].T).mean(axis=0) for chunk in orders]
    return np.concatenate(null), exact


def _all_orders(n_classes: int) -> Iterator[np.ndarray]:
    """All permutations of range(n_classes), int8, in chunks (at most CHUNK, n_classes)."""
    orders = itertools.permutations(range(n_classes))
    for begin in range(0, math.factorial(n_classes), CHUNK):
        size = min(CHUNK, math.factorial(n_classes) - begin)
        flat = itertools.chain.from_iterable(itertools.islice(orders, size))
        yield np.fromiter(flat, dtype=np.int8, count=size * n_classes).reshape(size, n_classes)


def _drawn_orders(n_classes: int, seed: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(seed)
    for begin in range(0, N_DRAWN, CHUNK):
        size = min(CHUNK, N_DRAWN - begin)
        yield random.permuted(np.tile(np.arange(n_classes, dtype=np.int64), (size, 1)), axis=1)


def _nothing(strengths: np.ndarray, n_classes: int) -> Saturation:
    return Saturation(
        strengths=strengths,
        strength=np.nan,
        p=np.nan,
        null_mean=np.nan,
        null_95=np.nan,
        n_permutations=0,
        exact=False,
        n_classes=n_classes,
    )
