"""Stage brain: features of clips in, what nested ridge regression makes of any target out, as linear maps.

1. Groups of clips are left out in turn: a clip, a class, a film, a session.
2. Features are standardised by the training clips alone; the intercept is their mean target.
3. λ is chosen within the training clips: leave-one-clip-out error, closed form e = (I - H)y / (1 - diag H).
4. Predictions for the clips left out are pooled over folds and correlated with their targets.

For fixed features every prediction is linear in the target, and every inner error a quadratic form of it. That is what
`Fold` keeps, so that any number of targets cost matrix products (`valence.brain.permutations`).

The pooled correlation is biased downwards: the training mean lies on the other side of whatever is left out, so that a
ridge that has learnt nothing predicts high where the target is low. Its expectation without an effect is below 0, and p
has to come from a null that shares this, not from a table of r.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valence.brain.cohort import Cohort

LAMBDAS = np.logspace(-1, 5, 13)
"""penalties of standardised features: from next to none to all weights next to 0"""
CLIP_OUT, CLASS_OUT, FILM_OUT, SESSION_OUT = (f"leave-{what}-out" for what in ("clip", "class", "film", "session"))


@dataclass(frozen=True, eq=False)
class Fold:
    """Nested ridge with some clips left out."""

    train: np.ndarray
    """int, (n_train,), clips"""
    test: np.ndarray
    """int, (n_test,), the clips left out; once more for every recording where there are several"""
    predict: np.ndarray
    """float64, (n_lambdas, n_test, n_train): predictions by the targets of the training clips"""
    inner: np.ndarray
    """float64, (n_lambdas, n_train, n_train): leave-one-out errors by the targets of the training clips"""


def linear_folds(
    features: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    *,
    tested: np.ndarray | None = None,
    lambdas: np.ndarray = LAMBDAS,
) -> list[Fold]:
    """What nested ridge does with each group left out.

    Parameters
    ----------
    features : float64, (n_clips, n_features), of whom the ridge is fitted to.
    groups : (n_clips,), which clips are left out together; all the same: none is, and every clip is trained and tested
        on, which is for `tested` of other people.
    tested : float64, (n_recordings, n_clips, n_features), where predictions are for other recordings. Each is centred
        by its own mean over the training clips, so that what a person has everywhere is no prediction. NaN where a
        clip is missing: there is no prediction for it.
    """
    numbers = np.unique(np.asarray(groups), return_inverse=True)[1]
    names = np.unique(numbers)
    clips = np.arange(len(features))
    if len(names) == 1:
        return [_fold(features, clips, clips, tested, lambdas)]
    return [_fold(features, clips[numbers != name], clips[numbers == name], tested, lambdas) for name in names]


def _fold(
    features: np.ndarray, train: np.ndarray, test: np.ndarray, tested: np.ndarray | None, lambdas: np.ndarray
) -> Fold:
    mean, sd = features[train].mean(axis=0), features[train].std(axis=0)
    # what does not vary among the training clips is no feature of this fold
    weight = np.divide(1.0, sd, out=np.zeros_like(sd), where=sd > 1e-12 * (1 + np.abs(mean)))
    x = (features[train] - mean) * weight
    if tested is None:
        new = (features[test] - mean) * weight
    else:
        own = (tested - np.nanmean(tested[:, train], axis=1, keepdims=True)) * weight
        new, test = own[:, test].reshape(-1, features.shape[1]), np.tile(test, len(tested))
        there = np.isfinite(new).all(axis=1)
        new, test = new[there], test[there]
    values, vectors = np.linalg.eigh(x @ x.T)
    shrunk = 1 / (np.maximum(values, 0) + lambdas[:, None])
    n = len(train)
    # (K + λ)⁻¹, and what it leaves of the intercept, whose column K maps to 0
    inverse = (vectors * shrunk[:, None, :]) @ vectors.T
    predict = (new @ x.T) @ inverse + 1 / n
    residual = lambdas[:, None, None] * inverse - 1 / n  # I - H = λ(K + λ)⁻¹ - 11ᵀ/n
    leverage = np.diagonal(residual, axis1=1, axis2=2)
    return Fold(train, test, predict, residual / leverage[:, :, None])


def predicted(folds: Sequence[Fold], target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions for the clips left out, and the λ that each fold chose.

    Parameters
    ----------
    target : (n_clips,)

    Returns
    -------
    predictions, clips : (n_predictions,), pooled over folds, and which clip each is for.
    chosen : int, (n_folds,), index into the penalties.
    """
    chosen = np.array([np.argmin(((fold.inner @ target[fold.train]) ** 2).sum(axis=1)) for fold in folds])
    found = [fold.predict[index] @ target[fold.train] for fold, index in zip(folds, chosen, strict=True)]
    return np.concatenate(found), np.concatenate([fold.test for fold in folds]), chosen


def ridge_r(folds: Sequence[Fold], target: np.ndarray) -> float:
    """r of pooled predictions with the target of their clips."""
    predictions, clips, _ = predicted(folds, target)
    return float(row_correlations(predictions[None], target[clips][None])[0])


def row_correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's r of row with row: (n_rows, n) twice in, (n_rows,) out; 0 where a row is constant.

    A constant prediction says nothing of any target, which is r = 0 and neither missing nor best.
    """
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean(axis=1, keepdims=True)
    size = np.sqrt(np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", b, b))
    product = np.einsum("ij,ij->i", a, b)
    return np.divide(product, size, out=np.zeros_like(product), where=size > 1e-12)


def protocols(cohort: Cohort) -> dict[str, np.ndarray]:
    """Name of a protocol to the groups of clips that it leaves out together."""
    found = {
        CLIP_OUT: np.arange(len(cohort.class_of_clip)),
        CLASS_OUT: cohort.class_of_clip,
        FILM_OUT: np.unique(np.array(cohort.films), return_inverse=True)[1],
    }
    if cohort.sessions is not None and len(set(cohort.sessions.tolist())) > 1:
        found[SESSION_OUT] = cohort.sessions
    return found


def flat(means: np.ndarray) -> np.ndarray:
    """Features as a ridge takes them: (…, n_chans, n_bands) to (…, n_chans · n_bands)."""
    return means.reshape(*means.shape[:-2], -1)
