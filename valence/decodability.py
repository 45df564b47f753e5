"""Features to what a straight line reads from them: cross-validated ridge on any target, with people, clips or classes
left out.

Left-out people saw the same clips: a classifier that tells clips apart has every target of clips decodable there, so
that r stands beside class orders of the target, which are as decodable. Leaving clips out, clips of the same class
remain; only leaving classes out asks for a target that was not memorised with its class. λ is chosen anew within the
training rows of each fold, and for each order of the null.

Leaving people out, rows are the clips of each subject; leaving clips or classes out, clips averaged over subjects, with
the folds of `valence.brain.ridge`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from valence.brain.correlations import share_as_large
from valence.brain.permutations import class_orders, refitted, sample
from valence.brain.ridge import CLASS_OUT, CLIP_OUT, LAMBDAS, Fold, linear_folds, ridge_r, row_correlations
from valence.brain.rows import NotPossible

SUBJECT_OUT = "leave-subject-out"
N_ORDERS = 1_000
FEWEST_SUBJECTS = 3


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """How well a target is decoded."""

    protocol: str
    r: float
    """of predictions with the target: pooled over clips; leaving subjects out, the mean of each one's own r"""
    p: float
    """one-sided, share of class orders with as large an r, whole pipeline refit"""
    null_mean: float
    null_95: float
    n: int
    """clips, or subjects left out"""
    words: str
    """the orders, in words"""
    ci_low: float = np.nan
    ci_high: float = np.nan
    """leaving subjects out: 95 % of Student's t over subjects; NaN elsewhere"""


@dataclass(frozen=True, eq=False)
class ClipFolds:
    """Ridge on clip features with clips, and with classes, left out."""

    clips: np.ndarray
    """int, the clips that have features"""
    labels: np.ndarray
    """int, class of each"""
    folds: dict[str, list[Fold]]
    """by protocol"""


def clip_folds(clip_features: np.ndarray, class_of_clip: np.ndarray) -> ClipFolds:
    """Folds of clip features (n_clips, D), clips with NaN left out; class_of_clip int, (n_clips,).

    Raises NotPossible for fewer than three classes.
    """
    clips = np.flatnonzero(np.isfinite(clip_features).all(axis=1))
    features, labels = np.asarray(clip_features, dtype=np.float64)[clips], np.asarray(class_of_clip)[clips]
    _check_classes(labels)
    groups = {CLIP_OUT: np.arange(len(labels)), CLASS_OUT: labels}
    return ClipFolds(clips, labels, {name: linear_folds(features, group) for name, group in groups.items()})


def decoded_clips(of: ClipFolds, target: np.ndarray, *, n_orders: int = N_ORDERS) -> tuple[Decoded, Decoded]:
    """A target, (n_clips,) values, with clips and with classes left out.

    Raises NotPossible where it is missing for some clips or does not vary.
    """
    values = _varying(np.asarray(target, dtype=np.float64)[of.clips])
    orders = sample(class_orders(values, of.labels), n_orders)
    found = [
        _decoded(name, ridge_r(folds, values), refitted(folds, orders), len(values), orders.words)
        for name, folds in of.folds.items()
    ]
    return found[0], found[1]


def _check_classes(labels: np.ndarray) -> None:
    if (n := len(np.unique(labels))) < 3:
        raise NotPossible(f"clips of {n} classes, of three needed")


def _varying(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all() or np.ptp(values) <= 1e-12:
        raise NotPossible("the target is missing for some clips, or the same for all")
    return values


def _decoded(name: str, r: float, null: np.ndarray, n: int, words: str) -> Decoded:
    return Decoded(
        protocol=name,
        r=r,
        p=share_as_large(r, null),
        null_mean=float(null.mean()),
        null_95=float(np.quantile(null, 0.95)),
        n=n,
        words=words,
    )


@dataclass(frozen=True, eq=False)
class SubjectFold:
    """Ridge with one subject left out, of any target of clips v: linear in v."""

    test: np.ndarray
    """int, (n_test,), clips of the subject"""
    predict: np.ndarray
    """float64, (n_lambdas, n_test, n_clips): predictions by v"""
    errors: np.ndarray
    """float64, (n_lambdas, n_clips, n_clips): the sum of squared leave-one-out errors of training rows is vᵀ E v"""


def subject_folds(
    features: np.ndarray, clips: np.ndarray, subjects: np.ndarray, *, lambdas: np.ndarray = LAMBDAS
) -> list[SubjectFold]:
    """What ridge does with each subject left out.

    Features are standardised by the training rows; λ is for leave-one-row-out errors among them, in closed form,
    e = (I - H)y / (1 - diag H). One eigendecomposition a fold serves all λ and all targets.

    Parameters
    ----------
    features : float64, (n_rows, D), a row for each clip of each subject.
    clips : int, (n_rows,), from 0 without gaps.
    subjects : (n_rows,)
    """
    indicator = np.eye(int(clips.max()) + 1)[clips]
    return [_subject_fold(features, clips, indicator, subjects == subject, lambdas) for subject in np.unique(subjects)]


def _subject_fold(
    features: np.ndarray, clips: np.ndarray, indicator: np.ndarray, left_out: np.ndarray, lambdas: np.ndarray
) -> SubjectFold:
    train = ~left_out
    mean, sd = features[train].mean(axis=0), features[train].std(axis=0)
    weight = np.divide(1.0, sd, out=np.zeros_like(sd), where=sd > 1e-12 * (1 + np.abs(mean)))
    x, new = (features[train] - mean) * weight, (features[left_out] - mean) * weight
    y = indicator[train]
    share = y.mean(axis=0)
    squares, vectors = np.linalg.eigh(x.T @ x)
    z, z_new = x @ vectors, new @ vectors
    shrunk = 1 / (np.maximum(squares, 0) + lambdas[:, None])
    loads = shrunk[:, :, None] * (z.T @ y)
    leverage = 1 / len(x) + (z**2) @ shrunk.T
    residual = (y - share - z @ loads) / (1 - leverage.T)[:, :, None]
    return SubjectFold(clips[left_out], z_new @ loads + share, residual.mT @ residual)


def subject_r(folds: Sequence[SubjectFold], targets: np.ndarray) -> np.ndarray:
    """r over the clips of each left-out subject: (n_targets, n_subjects) of targets (n_targets, n_clips)."""
    rows, columns = np.triu_indices(targets.shape[1])
    twice = np.where(rows == columns, 1.0, 2.0)
    # vᵀEv of all folds and λ at once: products of two clips' values with a matrix of coefficients
    coefficients = np.concatenate([fold.errors[:, rows, columns] * twice for fold in folds])
    errors = ((targets[:, rows] * targets[:, columns]) @ coefficients.T).reshape(len(targets), len(folds), -1)
    found = []
    for fold, chosen in zip(folds, errors.argmin(axis=2).T, strict=True):
        predictions = np.empty((len(targets), len(fold.test)))
        for number in np.unique(chosen):
            of_it = chosen == number
            predictions[of_it] = targets[of_it] @ fold.predict[number].T
        found.append(row_correlations(predictions, targets[:, fold.test]))
    return np.stack(found, axis=1)


@dataclass(frozen=True, eq=False)
class SubjectFolds:
    """Ridge on samples with each subject left out."""

    clips: np.ndarray
    """int, the clips that have samples"""
    labels: np.ndarray
    """int, class of each"""
    folds: list[SubjectFold]


def folds_of_subjects(
    features: np.ndarray, subjects: np.ndarray, clips: np.ndarray, class_of_clip: np.ndarray
) -> SubjectFolds:
    """Folds of samples; those of one subject and clip are averaged first.

    Parameters
    ----------
    features : (n, D), of samples.
    subjects, clips : (n,), whose sample it is, and of which clip.
    class_of_clip : int, (n_clips,)

    Raises NotPossible for fewer than three subjects or classes.
    """
    names, owner = np.unique(subjects, return_inverse=True)
    if len(names) < FEWEST_SUBJECTS:
        raise NotPossible(f"{len(names)} subjects, of {FEWEST_SUBJECTS} needed")
    seen, place = np.unique(clips, return_inverse=True)
    labels = np.asarray(class_of_clip)[seen]
    _check_classes(labels)
    rows, of_row = np.unique(owner * len(seen) + place, return_inverse=True)
    means = _means(features, of_row, len(rows))
    return SubjectFolds(seen, labels, subject_folds(means, rows % len(seen), rows // len(seen)))


def decoded_subjects(of: SubjectFolds, target: np.ndarray, *, n_orders: int = N_ORDERS) -> Decoded:
    """A target, (n_clips,) values, with subjects left out.

    Raises NotPossible where it is missing for some clips or does not vary.
    """
    values = _varying(np.asarray(target, dtype=np.float64)[of.clips])
    orders = sample(class_orders(values, of.labels), n_orders)
    each = subject_r(of.folds, values[None])[0]
    null = subject_r(of.folds, orders.values[:, orders.labels] + orders.rest).mean(axis=1)
    reach = stats.t.ppf(0.975, len(each) - 1) * each.std(ddof=1) / np.sqrt(len(each))
    one = _decoded(SUBJECT_OUT, float(each.mean()), null, len(each), orders.words)
    return replace(one, ci_low=one.r - reach, ci_high=one.r + reach)


def _means(features: np.ndarray, groups: np.ndarray, n_groups: int) -> np.ndarray:
    """Means over groups, all of which occur; sorted sums, as adding at places is slow for wide features."""
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(n_groups))
    sums = np.add.reduceat(np.asarray(features, dtype=np.float64)[order], starts, axis=0)
    return sums / np.bincount(groups)[:, None]
