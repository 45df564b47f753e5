"""Stage brain: the headline. A cohort and a target in; r of nested ridge by what is left out, against all permutations.

Clips of a class are much alike, so leaving a clip out still leaves its class in; leaving the class out asks whether the
order of classes carries over to one that was never seen. Both are always there.
"""

from collections.abc import Callable

import numpy as np

from valence.brain.cohort import BrainTarget, Cohort, check_halves, over_subjects
from valence.brain.correlations import share_as_large
from valence.brain.permutations import Orders, class_orders, refitted, sample
from valence.brain.resampled import SUBJECTS, interval
from valence.brain.ridge import CLASS_OUT, CLIP_OUT, flat, linear_folds, protocols, ridge_r
from valence.brain.rows import NotPossible, Row
from valence.cell import derive_seed

N_HALVES = 10
"""splits into subjects to fit on and subjects to test on"""
N_ORDERS_OF_HALVES = 10_000
N_ORDERS_OF_TRIALS = 1_000
BIAS = "pooled predictions: r without an effect is below 0, see the analysis ridge null"
RIDGE, NULL, HISTOGRAM = "ridge", "ridge null", "ridge null histogram"
BINS = np.linspace(-1, 1, 41)


def rows(cohort: Cohort, target: BrainTarget) -> list[Row]:
    """Nested ridge on the cohort tensor, by protocol."""
    orders = class_orders(target.clip_values, cohort.class_of_clip)
    found = []
    for name, groups in protocols(cohort).items():
        found += _on_the_tensor(cohort, target.clip_values, name, groups, orders)
    return found


def class_level_rows(cohort: Cohort, target: BrainTarget) -> list[Row]:
    """Nested ridge on the mean tensor of each class, leaving a class out. Raises NotPossible without class values."""
    if target.class_values is None:
        raise NotPossible("the target has no value for each class")
    n_classes = len(cohort.classes)
    values = target.class_values
    orders = class_orders(values, np.arange(n_classes))
    x = _by_class(cohort, cohort.clip_means())
    name = f"{CLASS_OUT}, class level"
    null = refitted(linear_folds(x, np.arange(n_classes)), orders)
    r = ridge_r(linear_folds(x, np.arange(n_classes)), values)

    def of(means: np.ndarray) -> float:
        return ridge_r(linear_folds(_by_class(cohort, means), np.arange(n_classes)), values)

    return _row_and_null(name, r, null, orders, n_classes, interval_over_subjects(cohort, of))


def new_subject_rows(cohort: Cohort, target: BrainTarget) -> list[Row]:
    """Fit on half of the subjects, test on the others: their mean tensor, and single recordings of them.

    Raises NotPossible for fewer than four subjects.
    """
    orders = class_orders(target.clip_values, cohort.class_of_clip)
    halves, single = sample(orders, N_ORDERS_OF_HALVES), sample(orders, N_ORDERS_OF_TRIALS)
    same = np.zeros(len(target.clip_values), dtype=np.int64)
    given = protocols(cohort)
    return [
        *_on_others(cohort, target, "new subjects, same clips", same, halves, of_trials=False),
        *_on_others(cohort, target, f"new subjects, {CLIP_OUT}", given[CLIP_OUT], halves, of_trials=False),
        *_on_others(cohort, target, f"new subjects, {CLASS_OUT}", given[CLASS_OUT], halves, of_trials=False),
        *_on_others(cohort, target, f"new subjects, {CLIP_OUT}, trials", given[CLIP_OUT], single, of_trials=True),
        *_on_others(cohort, target, f"new subjects, {CLASS_OUT}, trials", given[CLASS_OUT], single, of_trials=True),
    ]


def interval_over_subjects(cohort: Cohort, statistic: Callable[[np.ndarray], float]) -> tuple[float, float]:
    """95 % of an r over subjects, by the jackknife; (nan, nan) for fewer than three. See valence.brain.resampled.

    Parameters
    ----------
    statistic : mean tensor (n_clips, n_chans, n_bands) to r.
    """
    if len(cohort.subjects) < 3:
        return float("nan"), float("nan")

    def of_each(tensors: np.ndarray) -> np.ndarray:
        return np.array([[statistic(tensor)] for tensor in tensors])

    [low], [high] = interval(cohort.subject_means(), of_each, np.array([statistic(cohort.clip_means())]))
    return float(low), float(high)


def _on_the_tensor(cohort: Cohort, values: np.ndarray, name: str, groups: np.ndarray, orders: Orders) -> list[Row]:
    folds = linear_folds(flat(cohort.clip_means()), groups)
    null = refitted(folds, orders)

    def of(means: np.ndarray) -> float:
        return ridge_r(linear_folds(flat(means), groups), values)

    return _row_and_null(name, ridge_r(folds, values), null, orders, len(values), interval_over_subjects(cohort, of))


def _row_and_null(
    name: str,
    r: float,
    null: np.ndarray,
    orders: Orders,
    n: int,
    interval: tuple[float, float],
) -> list[Row]:
    """The observed r, and where the null lies."""
    floor = f"; p cannot be below {1 / len(null):.2g}" if len(null) < 1_000 else ""
    return [
        Row(
            analysis=RIDGE,
            protocol=name,
            value=r,
            ci_low=interval[0],
            ci_high=interval[1],
            p=share_as_large(r, null),
            n=n,
            null=f"one-sided, {orders.words}, whole pipeline refit{floor}; {SUBJECTS}",
            note=BIAS,
        ),
        _null_row(name, null, orders),
        *_histogram(name, null),
    ]


def _null_row(name: str, null: np.ndarray, orders: Orders) -> Row:
    low, high = np.percentile(null, [2.5, 97.5])
    return Row(
        analysis=NULL,
        protocol=name,
        value=float(null.mean()),
        ci_low=float(low),
        ci_high=float(high),
        n=len(null),
        null=f"mean and 95 % of r over {orders.words}",
    )


def _histogram(name: str, null: np.ndarray) -> list[Row]:
    """Share of permutations whose r lies in each bin."""
    counts, _ = np.histogram(null, bins=BINS)
    return [
        Row(analysis=HISTOGRAM, protocol=name, item=f"{low:.2f} to {high:.2f}", value=float(count / counts.sum()))
        for low, high, count in zip(BINS[:-1], BINS[1:], counts, strict=True)
        if count
    ]


def _on_others(
    cohort: Cohort, target: BrainTarget, name: str, groups: np.ndarray, orders: Orders, *, of_trials: bool
) -> list[Row]:
    """r on subjects that the ridge was not fitted to, mean over splits; of single recordings where of_trials."""
    means = cohort.subject_means()
    if len(means) < 4:
        raise NotPossible(f"{len(means)} subjects: it takes four or more to fit on some and test on others")
    random = np.random.default_rng(derive_seed(cohort.name, "brain/halves"))
    observed, null, n = [], np.zeros(len(orders.values)), 0
    for _ in range(N_HALVES):
        one, other = np.array_split(random.permutation(len(means)), 2)
        check_halves(means, one, other)
        tested = flat(means[other]) if of_trials else flat(over_subjects(means[other]))[None]
        folds = linear_folds(flat(over_subjects(means[one])), groups, tested=tested)
        n = sum(len(fold.test) for fold in folds)
        observed.append(ridge_r(folds, target.clip_values))
        null += refitted(folds, orders) / N_HALVES
    r = float(np.mean(observed))
    what = "single recordings" if of_trials else "the mean tensor"
    spread = f"mean over {N_HALVES} random halves, from {min(observed):+.2f} to {max(observed):+.2f}"
    words = f"one-sided, {orders.words}, whole pipeline refit in each half"
    return [
        Row(
            analysis=RIDGE,
            protocol=name,
            value=r,
            p=share_as_large(r, null),
            n=n,
            null=words,
            note=f"{spread}; tested on {what} of the other half",
        ),
        _null_row(name, null, orders),
    ]


def _by_class(cohort: Cohort, means: np.ndarray) -> np.ndarray:
    """Mean tensor of each class: (n_classes, n_features)."""
    return np.stack([flat(means)[cohort.class_of_clip == label].mean(axis=0) for label in range(len(cohort.classes))])
