"""A kept cell and a target to rows: balanced accuracy without a direction, or with more of it, against matched ones.

Directions are estimated on the validation part and evaluated on the test part:
- class PC1: the first principal component of the class means;
- class axis: the covariance of class means and class values;
- residual: the component of clip features without class means that follows the target's residual best.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from valence.ablation import N_RANDOM, Ablation, ablate
from valence.brain.rows import NotPossible, Row
from valence.cell_probes import class_of_clip, clip_means
from valence.kept import TEST, VALIDATION
from valence.probes import ROUNDING, group_means, unit
from valence.residual_probes import residual_basis, residual_components, residual_target

if TYPE_CHECKING:
    from valence.kept import Kept
    from valence.targets import Target

DELTA, EXCESS, Z = "ablation", "ablation beyond matched directions", "ablation z"
STUDY_DELTA, STUDY_RANDOM, STUDY_Z = -0.0157, 0.0011, 7.7
STUDY_NOTE = (
    "the study takes the direction out of penultimate tokens of FACED checkpoints, its 20 random directions are "
    "uniform on the sphere, and its z counts a loss as positive"
)


def class_pc1(kept: "Kept", target: "Target") -> np.ndarray:
    """Direction (D,) of the largest variance of class means of the validation part."""
    means = _class_means(kept, target)
    _, singular, right = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    if singular[0] < ROUNDING:
        raise NotPossible("class means do not vary")
    return right[0]


def class_axis(kept: "Kept", target: "Target") -> np.ndarray:
    """Direction (D,) along which class means of the validation part go with the target's class values."""
    if target.class_values is None:
        raise NotPossible("the target has no values of classes")
    direction = unit(np.asarray(target.class_values, dtype=np.float64)) @ _class_means(kept, target)
    if np.linalg.norm(direction) < ROUNDING:
        raise NotPossible("class means do not go with the target in any direction")
    return direction / np.linalg.norm(direction)


def residual(kept: "Kept", target: "Target") -> np.ndarray:
    """Direction (D,) of the residual component of the validation part that follows the target's residual best."""
    if target.clip_values is None:
        raise NotPossible("the target has no values of clips")
    features = clip_means(kept, VALIDATION)
    there = np.isfinite(features).all(axis=1)
    basis = residual_basis(class_of_clip(kept, len(features))[there])
    wanted = residual_target(np.asarray(target.clip_values)[there], basis)
    scores, directions = residual_components(features[there], basis)
    return directions[int(np.abs(wanted @ scores).argmax())]


DIRECTIONS: dict[str, Callable[["Kept", "Target"], np.ndarray]] = {
    "residual": residual,
    "class axis": class_axis,
    "class PC1": class_pc1,
}


def _class_means(kept: "Kept", target: "Target") -> np.ndarray:
    features = clip_means(kept, VALIDATION)
    there = np.isfinite(features).all(axis=1)
    labels = class_of_clip(kept, len(features))[there]
    n_classes = kept.logits.shape[1] if target.class_values is None else len(target.class_values)
    means = group_means(features[there], labels, n_classes)
    if not np.isfinite(means).all():
        raise NotPossible("classes without validation clips")
    return means


def ablations(
    kept: "Kept", direction: np.ndarray, *, factors: Sequence[float] = (0.0,), n_random: int = N_RANDOM, seed: int = 0
) -> list[Ablation]:
    """A direction (D,) in the test part of a cell, one result a factor; the centre is that of validation features.

    Raises
    ------
    NotPossible : where features or weights were not kept, or the last layer is not one linear map of pooled features.
    """
    if kept.features is None:
        raise NotPossible("the cell's features of samples were not kept (--keep)")
    if kept.head is None:
        raise NotPossible("the last layer is not one linear map of the pooled features, or its weights were not kept")
    own, other = kept.part == TEST, kept.part == VALIDATION
    if not (own.any() and other.any()):
        raise NotPossible("no validation samples were kept: the direction has to be estimated on some")
    return ablate(
        kept.features[own],
        kept.logits[own],
        kept.labels[own],
        kept.subjects[own],
        kept.head[0],
        direction,
        kept.features[other].mean(axis=0, dtype=np.float64),
        factors=factors,
        n_random=n_random,
        seed=seed,
    )


def rows(kept: "Kept", target: "Target", *, factors: Sequence[float] = (0.0,), n_random: int = N_RANDOM) -> list[Row]:
    """Every direction of `DIRECTIONS` at every factor: change, change beyond matched directions, z."""
    found: list[Row] = []
    for name, estimate in DIRECTIONS.items():
        try:
            each = ablations(kept, estimate(kept, target), factors=factors, n_random=n_random)
        except NotPossible as error:
            found += [
                Row(analysis=DELTA, protocol=_protocol(factor), item=f"{name}, {target.name}", reason=str(error))
                for factor in factors
            ]
            continue
        for one in each:
            found += _rows(
                one, name, f"{name}, {target.name}", n_subjects=len(np.unique(kept.subjects[kept.part == TEST]))
            )
    return found


def _protocol(factor: float) -> str:
    return "taken out" if factor == 0 else f"times {factor:g}"


def _rows(one: Ablation, name: str, item: str, *, n_subjects: int) -> list[Row]:
    studied = name == "residual" and one.factor == 0
    against = one.unmatched or (
        f"two-sided, {one.n_random} random directions with the same {one.variance_share:.2%} of the variance: "
        f"{one.random_mean:+.4f} ± {one.random_sd:.4f}"
    )
    change = Row(
        analysis=DELTA,
        protocol=_protocol(one.factor),
        item=item,
        value=one.delta,
        ci_low=_number(one.ci_low),
        ci_high=_number(one.ci_high),
        p=_number(one.p),
        n=n_subjects,
        null=f"{against}; interval: test subjects resampled",
        reference=STUDY_DELTA if studied else None,
        note=STUDY_NOTE if studied else "",
    )
    excess = replace(
        change,
        analysis=EXCESS,
        value=_number(one.excess),
        ci_low=_number(one.excess_low),
        ci_high=_number(one.excess_high),
        reference=STUDY_DELTA - STUDY_RANDOM if studied else None,
        reason=one.unmatched,
    )
    z = replace(
        change,
        analysis=Z,
        value=_number(one.z),
        ci_low=None,
        ci_high=None,
        null=against,
        reference=-STUDY_Z if studied else None,
        reason="" if np.isfinite(one.z) else one.unmatched or "random directions all change as much",
    )
    return [change, excess, z]


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def over_cells(found: Sequence[Ablation], item: str) -> Row:
    """One direction at one factor over cells: mean change, and in how many cells it is a loss.

    The interval is Student's t over cells, p an exact sign test. Cells share their test subjects, so neither is about
    other people. Raises NotPossible for fewer than three cells.
    """
    deltas = np.array([one.delta for one in found])
    if len(deltas) < 3:
        raise NotPossible(f"{len(deltas)} cells, of three needed")
    reach = stats.t.ppf(0.975, len(deltas) - 1) * deltas.std(ddof=1) / np.sqrt(len(deltas))
    below, changed = int((deltas < 0).sum()), int((deltas != 0).sum())
    z, random = (np.array([getattr(one, name) for one in found]) for name in ("z", "random_mean"))
    matched = np.isfinite(random)
    beyond = f"matched random directions {random[matched].mean():+.4f}" if matched.any() else "no matched directions"
    if np.isfinite(z).any():
        beyond += f"; mean z {z[np.isfinite(z)].mean():+.1f}"
    return Row(
        analysis=DELTA,
        protocol=f"{_protocol(found[0].factor)}, over cells",
        item=item,
        value=float(deltas.mean()),
        ci_low=float(deltas.mean() - reach),
        ci_high=float(deltas.mean() + reach),
        p=float(stats.binomtest(below, changed).pvalue) if changed else 1.0,
        n=len(deltas),
        null=f"sign test over cells that share their test subjects: a loss in {below} of {len(deltas)}; {beyond}",
        reference=STUDY_DELTA if found[0].factor == 0 and item.startswith("residual") else None,
        note=STUDY_NOTE if found[0].factor == 0 and item.startswith("residual") else "",
    )
