"""Trained classifiers to what they use of a direction: features without it or with more of it, the last layer anew.

In: penultimate features and logits of test samples, the last layer's weight, a direction that was estimated on
validation samples. Out: the change of balanced accuracy, its interval over subjects, and the changes from random
directions along which features vary exactly as much (`valence.matched_directions`).

With W the weight, d the direction, m the centre and a the factor, f' = f + (a - 1)((f - m)·d) d, so that the logits
change by (a - 1)((f - m)·d) Wd; a = 0 takes the direction out. Only where the last layer is one linear map of the
pooled features.

Source: arXiv:2606.00129, directional ablation: a mean of -.0157 on 10 of 10 checkpoints, against 20 directions uniform
on the sphere, which remove less variance than the one under study.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valence.brain.rows import NotPossible
from valence.matched_directions import matched_directions

N_RANDOM = 200
N_RESAMPLES = 2_000
BLOCK = 4_000_000
"""logits of one class that are in memory at once, over directions and samples"""


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """One direction in one classifier, at one factor."""

    factor: float
    """0: taken out; 1: as it is; 2: twice as far from the centre"""
    balanced_accuracy: float
    """without any change"""
    delta: float
    """change of balanced accuracy"""
    ci_low: float
    ci_high: float
    """95 % of resamples of test subjects, the same before and after"""
    random_mean: float
    random_sd: float
    """of the change from matched random directions; these and what follows from them are NaN where there are none"""
    excess: float
    """delta - random_mean"""
    excess_low: float
    excess_high: float
    """95 % of resamples of test subjects, the same for all directions"""
    z: float
    """excess / random_sd; NaN where random directions all change as much"""
    p: float
    """two-sided: share of random directions, this one among them, at least as far from their mean"""
    n_random: int
    variance_share: float
    """of the features' variance, what lies along the direction, and along each random one"""
    unmatched: str
    """why there are no matched directions; empty where there are"""


def ablate(
    features: np.ndarray,
    logits: np.ndarray,
    labels: np.ndarray,
    subjects: np.ndarray,
    weight: np.ndarray,
    direction: np.ndarray,
    centre: np.ndarray,
    *,
    factors: Sequence[float] = (0.0,),
    n_random: int = N_RANDOM,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> list[Ablation]:
    """Take a direction out of features, or amplify it, and read the classifier's answers again.

    Random directions match the variance of these very samples, which takes no labels.

    Parameters
    ----------
    features : (n, D), of test samples.
    logits : (n, n_classes), as the classifier gave them.
    labels, subjects : (n,)
    weight : (n_classes, D), of the last layer.
    direction, centre : (D,), estimated on other samples.
    factors : of amplification; 0 takes the direction out.

    Returns
    -------
    One Ablation a factor.
    """
    random = np.random.default_rng(seed)
    own = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    covariance = np.atleast_2d(np.cov(features, rowvar=False, dtype=np.float64))
    try:
        matched, unmatched = matched_directions(covariance, own, n_random, random), ""
    except NotPossible as error:
        matched, unmatched = np.zeros((0, len(own))), str(error)
    directions = np.concatenate([own[None], matched])
    places = (np.asarray(features, dtype=np.float64) - centre) @ directions.T
    pushes = directions @ np.asarray(weight, dtype=np.float64).T
    tally = Tally(labels, subjects, n_classes=logits.shape[1])
    drawn = tally.resamples(n_resamples, random)
    before = tally.hits(np.asarray(logits, dtype=np.float32).argmax(axis=1)[None])[0]
    start = float(tally.balanced_accuracy(before[None])[0])
    found = []
    for factor in factors:
        hits = _changed_hits(logits, places.T, (factor - 1) * pushes, tally)
        low, high = tally.interval(hits[0] - before, drawn)
        deltas = tally.balanced_accuracy(hits) - start
        beyond = _beyond(deltas)
        excess = tally.interval(hits[0] - hits[1:].mean(axis=0), drawn) if len(matched) else (np.nan, np.nan)
        found.append(
            Ablation(
                factor=factor,
                balanced_accuracy=start,
                delta=float(deltas[0]),
                ci_low=low,
                ci_high=high,
                excess_low=excess[0],
                excess_high=excess[1],
                n_random=len(matched),
                variance_share=float(own @ covariance @ own / np.trace(covariance)),
                unmatched=unmatched,
                **beyond,
            )
        )
    return found


def _beyond(deltas: np.ndarray) -> dict[str, float]:
    """The first change against the others; NaN where there are none."""
    if len(deltas) < 3:
        return dict.fromkeys(("random_mean", "random_sd", "excess", "z", "p"), np.nan)
    mean, sd = float(deltas[1:].mean()), float(deltas[1:].std(ddof=1))
    away = np.abs(deltas - mean)
    excess = float(deltas[0] - mean)
    return {
        "random_mean": mean,
        "random_sd": sd,
        "excess": excess,
        "z": excess / sd if sd > 0 else np.nan,
        "p": float((away >= away[0] - 1e-12).mean()),
    }


def _changed_hits(logits: np.ndarray, places: np.ndarray, pushes: np.ndarray, tally: "Tally") -> np.ndarray:
    """Samples recognised after logits + place · push: (n_directions, n_cells).

    logits : (n, n_classes); places : (n_directions, n); pushes : (n_directions, n_classes).
    """
    classes = np.ascontiguousarray(np.asarray(logits, dtype=np.float32).T)
    places, pushes = places.astype(np.float32), pushes.astype(np.float32)
    size, found = max(1, BLOCK // len(logits)), []
    for start in range(0, len(places), size):
        place, push = places[start : start + size], pushes[start : start + size]
        largest = np.full(place.shape, -np.inf, dtype=np.float32)
        predicted = np.zeros(place.shape, dtype=np.int8 if len(classes) < 128 else np.int32)
        for label, base in enumerate(classes):
            changed = place * push[:, label, None]
            changed += base
            predicted[changed > largest] = label
            np.maximum(largest, changed, out=largest)
        found.append(tally.hits(predicted))
    return np.concatenate(found)


class Tally:
    """Which samples are of which subject and class: predictions to balanced accuracies, of all or of resamples.

    Parameters
    ----------
    labels, subjects : (n,)
    """

    def __init__(self, labels: np.ndarray, subjects: np.ndarray, *, n_classes: int):
        owner = np.unique(subjects, return_inverse=True)[1]
        self.n_subjects, self.n_classes = int(owner.max()) + 1, n_classes
        cells = owner * n_classes + labels
        self._order = np.argsort(cells, kind="stable")
        self._labels = np.asarray(labels)[self._order]
        self.cells, self._starts = np.unique(cells[self._order], return_index=True)
        self.totals = np.zeros(self.n_subjects * n_classes)
        self.totals[self.cells] = np.diff(np.append(self._starts, len(cells)))

    def hits(self, predicted: np.ndarray) -> np.ndarray:
        """Recognised samples by subject and class: float64, (k, n_subjects · n_classes) of predictions (k, n)."""
        right = (predicted[:, self._order] == self._labels).astype(np.int32)
        found = np.zeros((len(predicted), len(self.totals)))
        found[:, self.cells] = np.add.reduceat(right, self._starts, axis=1)
        return found

    def balanced_accuracy(self, hits: np.ndarray) -> np.ndarray:
        """Mean recall of the classes that occur: (k,) of hits (k, n_subjects · n_classes)."""
        totals = self._by_class(self.totals).sum(axis=0)
        recalled = self._by_class(hits).sum(axis=-2)[:, totals > 0] / totals[totals > 0]
        return recalled.mean(axis=1)

    def resamples(self, n: int, random: np.random.Generator) -> np.ndarray:
        """How often each subject is drawn, (n, n_subjects)."""
        return random.multinomial(self.n_subjects, np.full(self.n_subjects, 1 / self.n_subjects), size=n).astype(float)

    def interval(self, difference: np.ndarray, drawn: np.ndarray) -> tuple[float, float]:
        """95 % of resamples of subjects of a difference of hits, (n_subjects · n_classes,), as balanced accuracy.

        NaN below three subjects.
        """
        if self.n_subjects < 3:
            return np.nan, np.nan
        totals = drawn @ self._by_class(self.totals)
        recalls = np.divide(
            drawn @ self._by_class(difference), totals, out=np.full(totals.shape, np.nan), where=totals > 0
        )
        low, high = np.quantile(np.nanmean(recalls, axis=1), [0.025, 0.975])
        return float(low), float(high)

    def _by_class(self, values: np.ndarray) -> np.ndarray:
        return values.reshape(*values.shape[:-1], self.n_subjects, self.n_classes)
