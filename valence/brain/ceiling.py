"""Stage brain: how much of what could be predicted is. A cohort and a target in; ceilings, and r over its ceiling, out.

The same ridge is fitted to two halves of the subjects. As far as their predictions differ, they are noise of the few
people that were recorded. With the correlation of halves ρ, that of the whole cohort with another as large is
2ρ / (1 + ρ) (Spearman–Brown), and no target can correlate higher with the predictions than its root.

Only the part of a prediction that comes from the features counts. The training mean is the same in both halves by
design, so that with it two ridges that have learnt nothing would agree.
"""

from collections.abc import Sequence

import numpy as np

from valence.brain.cohort import BrainTarget, Cohort, check_halves, have_all_clips, over_subjects
from valence.brain.correlations import spearman_brown
from valence.brain.ridge import CLASS_OUT, CLIP_OUT, Fold, flat, linear_folds, predicted, protocols, ridge_r
from valence.brain.rows import NotPossible, Row, or_reason
from valence.cell import derive_seed
from valence.intervals import correlation

N_HALVES = 50
N_BOOTSTRAP = 100


def rows(cohort: Cohort, target: BrainTarget) -> list[Row]:
    """Ceiling and r over it, leaving a clip and a class out; reliability of the reports where there are some."""
    found: list[Row] = []
    for name in (CLIP_OUT, CLASS_OUT):
        with or_reason(found, analysis="noise ceiling", protocol=name):
            found += _of_protocol(cohort, target, name)
    with or_reason(found, analysis="reliability of reports", protocol="split-half over subjects", item=target.name):
        found.append(_of_reports(cohort, target))
    return found


def from_features(folds: Sequence[Fold], target: np.ndarray) -> np.ndarray:
    """Predictions less the training mean of their fold, pooled: (n_predictions,)."""
    predictions, _, _ = predicted(folds, target)
    means = [np.full(len(fold.test), target[fold.train].mean()) for fold in folds]
    return predictions - np.concatenate(means)


def ceiling_of_halves(one: np.ndarray, other: np.ndarray, groups: np.ndarray, target: np.ndarray) -> float:
    """Correlation of what two tensors, (n_clips, n_features), predict with the same clips left out."""
    return correlation(*(from_features(linear_folds(x, groups), target) for x in (one, other)))


def _of_protocol(cohort: Cohort, target: BrainTarget, name: str) -> list[Row]:
    """The ceiling, and r over it."""
    groups = protocols(cohort)[name]
    means, y = cohort.subject_means(), target.clip_values
    if len(means) < 4:
        raise NotPossible(f"{len(means)} subjects: it takes four or more for two halves")
    random = np.random.default_rng(derive_seed(cohort.name, "brain/ceiling"))
    pairs = [np.array_split(random.permutation(len(means)), 2) for _ in range(N_HALVES)]
    for pair in pairs:
        check_halves(means, *pair)
    agreed = [_halves(means, one, other, groups, y) for one, other in pairs]
    half = float(np.tanh(np.mean(np.arctanh(np.clip(agreed, -0.999999, 0.999999)))))
    if not half > 0:
        raise NotPossible(f"predictions of halves of the subjects do not agree (r {half:+.2f}): there is no ceiling")
    r = ridge_r(linear_folds(flat(cohort.clip_means()), groups), y)
    ceiling = float(np.sqrt(spearman_brown(half)))
    draws = np.array([_draw(means, groups, y, random) for _ in range(N_BOOTSTRAP)])
    there = draws[np.isfinite(draws).all(axis=1)]
    enough = len(there) > N_BOOTSTRAP / 2
    limits = np.percentile(there, [2.5, 97.5], axis=0) if enough else np.full((2, 2), np.nan)
    lost = f"; {N_BOOTSTRAP - len(there)} draws had none" if len(there) < N_BOOTSTRAP else ""
    rows = [
        Row(
            analysis=analysis,
            protocol=name,
            value=value,
            ci_low=float(low),
            ci_high=float(high),
            n=len(means),
            null=f"interval over subjects, drawn within each half with replacement{lost}",
            note=f"r of halves {half:.2f}, mean of {N_HALVES} splits, Spearman–Brown; r {r:+.2f}",
        )
        for analysis, value, (low, high) in zip(
            ("noise ceiling", "ridge over ceiling"), (ceiling, r / ceiling), limits.T, strict=True
        )
    ]
    if r <= 0:
        reason = f"r is {r:+.2f}: below 0 it is no share of a ceiling"
        rows[1] = Row(analysis="ridge over ceiling", protocol=name, reason=reason)
    return rows


def _halves(means: np.ndarray, one: np.ndarray, other: np.ndarray, groups: np.ndarray, y: np.ndarray) -> float:
    return ceiling_of_halves(flat(over_subjects(means[one])), flat(over_subjects(means[other])), groups, y)


def _draw(means: np.ndarray, groups: np.ndarray, y: np.ndarray, random: np.random.Generator) -> tuple[float, float]:
    """Ceiling, and r over it, of a draw of subjects, none in both halves; nan where the halves do not agree."""
    parts = np.array_split(random.permutation(len(means)), 2)
    one, other = (part[random.integers(len(part), size=len(part))] for part in parts)
    half = _halves(means, one, other, groups, y) if have_all_clips(means, one, other) else float("nan")
    if not half > 0:
        return float("nan"), float("nan")
    ceiling = float(np.sqrt(spearman_brown(half)))
    everybody = flat(over_subjects(means[np.concatenate([one, other])]))
    return ceiling, ridge_r(linear_folds(everybody, groups), y) / ceiling


def _of_reports(cohort: Cohort, target: BrainTarget) -> Row:
    """Split-half reliability of the mean rating that the target is."""
    scale = {"behaviour": "valence"}.get(target.name, target.name)
    given = cohort.ratings.get(scale)
    if given is None:
        raise NotPossible(f"the target {target.name} is no report, or the data set has no reports")
    given = given[np.isfinite(given).all(axis=1)]
    if len(given) < 4:
        raise NotPossible(f"{len(given)} subjects rated every clip: it takes four or more for two halves")
    random = np.random.default_rng(derive_seed(cohort.name, "brain/reports"))
    values = []
    for _ in range(N_HALVES):
        one, other = np.array_split(random.permutation(len(given)), 2)
        values.append(spearman_brown(correlation(given[one].mean(axis=0), given[other].mean(axis=0))))
    return Row(
        analysis="reliability of reports",
        protocol="split-half over subjects",
        item=target.name,
        value=float(np.mean(values)),
        n=len(given),
        note=f"mean of {N_HALVES} random halves, Spearman–Brown, of the mean rating over subjects",
    )
