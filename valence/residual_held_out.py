"""Clip features of several people to what of a residual encoding (`valence.residual_probes`) holds for other people.

In: samples of some subjects, or clip features of two groups of subjects. Out: the spread of a strength over subjects,
and the r of a component that was chosen on one group in the other.

Other people saw the same clips. What clips do to everybody in the same way is in both groups whatever the target is, so
a choice made in one group still needs a null that makes it: clips are permuted in both, the component chosen anew.
"""

from dataclasses import dataclass

import numpy as np

from valence.brain.rows import NotPossible
from valence.probes import ROUNDING, group_means
from valence.residual_probes import (
    N_COMPONENTS,
    N_PERMUTATIONS,
    permuted_targets,
    residual_basis,
    residual_components,
    residual_target,
)

N_RESAMPLES = 200
FEWEST_SUBJECTS = 3


@dataclass(frozen=True, kw_only=True)
class HeldOutResidual:
    """A residual component chosen in one group of people, in another."""

    r: float
    """with the sign that made it positive where it was chosen"""
    p: float
    """one-sided: share of permutations of clips within classes, the choice made anew, with as large an r"""
    null_mean: float
    null_95: float
    component: int
    """which was chosen, from 0"""
    n_components: int
    degrees: int
    """n_clips - n_classes"""
    direction: np.ndarray
    """float64, (D,), of length 1"""


def held_out_residual(
    choosing: np.ndarray,
    evaluating: np.ndarray,
    clip_values: np.ndarray,
    class_of_clip: np.ndarray,
    *,
    n_components: int = N_COMPONENTS,
    n_permutations: int = N_PERMUTATIONS,
    seed: int = 0,
) -> HeldOutResidual:
    """r of a target's residual with the component of other people's residuals that follows it best.

    Parameters
    ----------
    choosing, evaluating : (n_clips, D), clip features of two groups; clips with NaN in either are left out.
    clip_values : (n_clips,), of the target.
    class_of_clip : int, (n_clips,)

    Raises
    ------
    NotPossible : as `valence.residual_probes.residual_encoding`, and where the chosen direction says nothing here.
    """
    there = np.isfinite(choosing).all(axis=1) & np.isfinite(evaluating).all(axis=1)
    labels, values = np.asarray(class_of_clip)[there], np.asarray(clip_values, dtype=np.float64)[there]
    basis = residual_basis(labels)
    targets = residual_target(values, basis)[None]
    scores, directions = residual_components(choosing[there], basis, n_components=n_components)
    here = basis.T @ (evaluating[there].astype(np.float64) @ directions.T)
    size = np.linalg.norm(here, axis=0)
    here = np.divide(here, size, out=np.zeros_like(here), where=size > ROUNDING)
    null = _chosen_r(
        permuted_targets(tuple(values.tolist()), tuple(labels.tolist()), n_permutations, seed), scores, here
    )[0]
    observed, best, sign = (array[0] for array in _chosen_r(targets, scores, here))
    if not here[:, best].any():
        raise NotPossible("features of clips of one class do not differ along the chosen direction")
    return HeldOutResidual(
        r=float(observed),
        p=float((1 + (null >= observed - ROUNDING).sum()) / (1 + len(null))),
        null_mean=float(null.mean()),
        null_95=float(np.quantile(null, 0.95)),
        component=int(best),
        n_components=scores.shape[1],
        degrees=basis.shape[1],
        direction=directions[best] * sign,
    )


def _chosen_r(targets: np.ndarray, there: np.ndarray, here: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of targets (n, degrees) and scores (degrees, k) in two groups: r here, which component, the sign it had there."""
    r = targets @ there
    best = np.abs(r).argmax(axis=1)
    sign = np.sign(np.take_along_axis(r, best[:, None], axis=1)[:, 0])
    return np.einsum("nd,dn->n", targets, here[:, best]) * sign, best, sign


def residual_interval(
    features: np.ndarray,
    subjects: np.ndarray,
    clips: np.ndarray,
    clip_values: np.ndarray,
    class_of_clip: np.ndarray,
    *,
    n_components: int = N_COMPONENTS,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % of the largest |r| when subjects are drawn anew, components made and chosen anew in each.

    Noise of the features alone; NaN of fewer than three subjects. It is no test: without an effect the largest
    |r| is above 0, too.

    Parameters
    ----------
    features : (n, D), of samples.
    subjects, clips : (n,), whose sample it is and of which clip (an index into clip_values).
    """
    names, owner = np.unique(subjects, return_inverse=True)
    if len(names) < FEWEST_SUBJECTS:
        return np.nan, np.nan
    n_clips = len(clip_values)
    cells = owner * n_clips + clips
    counts = np.bincount(cells, minlength=len(names) * n_clips).reshape(len(names), n_clips)
    means = group_means(features, cells, len(names) * n_clips)
    sums = np.nan_to_num(means).reshape(len(names), n_clips, -1) * counts[:, :, None]
    there = counts.any(axis=0)
    basis = residual_basis(np.asarray(class_of_clip)[there])
    target = residual_target(np.asarray(clip_values)[there], basis)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_resamples)
    drawn = drawn[(drawn @ counts[:, there] > 0).all(axis=1)].astype(np.float64)
    clip_sums = (drawn @ sums[:, there].reshape(len(names), -1)).reshape(len(drawn), int(there.sum()), -1)
    residual = basis.T @ (clip_sums / (drawn @ counts[:, there])[:, :, None])
    vectors = np.linalg.eigh(residual @ residual.mT)[1][:, :, ::-1][:, :, :n_components]
    strengths = np.abs(np.einsum("bdk,d->bk", vectors, target)).max(axis=1)
    low, high = np.quantile(strengths, [0.025, 0.975])
    return float(low), float(high)
