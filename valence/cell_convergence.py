"""Kept cells and a target to rows: whether classifiers that were not aligned encode it the more the better they are.

Two readings of the same cells: classifiers, over their seeds, within families of architectures; and cells within
classifiers. Two encodings: class-PC1 against random directions of class values, and the best residual component against
clips permuted within classes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from valence.brain.rows import NotPossible, Row, or_reason
from valence.cell_probes import class_of_clip, class_position, clip_means
from valence.classifiers import CLASSIFIERS
from valence.convergence import N_RANDOM, Convergence, Correlated, convergence, random_classes
from valence.kept import TEST
from valence.metrics import balanced_accuracy, confusion
from valence.probes import unit
from valence.residual_probes import N_COMPONENTS, permuted_targets, residual_basis, residual_components, residual_target

if TYPE_CHECKING:
    from valence.kept import Kept
    from valence.targets import Target

CLASS, RESIDUAL = "convergence, class-PC1", "convergence, residual"
STUDY = {CLASS: 0.885, RESIDUAL: 0.738}
STUDY_NOTE = (
    "the study correlates 36 checkpoints of 2 architectures as if independent, and withdraws it; its null of 1,000 "
    "random directions has a mean of -.03 and a standard deviation of .62, p = .066"
)
CLASSIFIERS_IN_FAMILIES, CELLS_IN_CLASSIFIERS = "classifiers in families", "cells in classifiers"
UNALIGNED = "none"

Found = tuple[list[np.ndarray], np.ndarray, np.ndarray, str]
"""components of each cell, the target's direction, the null's, and what the null is"""


def rows(cells: "Sequence[Kept]", target: "Target", *, families: Mapping[str, str] | None = None) -> list[Row]:
    """Convergence over cells of the strategy none; others are left out.

    Parameters
    ----------
    families : of classifiers by name; None: those of the registry, and a classifier's own name where it has none.
    """
    own = [cell for cell in cells if cell.strategy == UNALIGNED]
    found: list[Row] = []
    for analysis, encode in ENCODINGS.items():
        with or_reason(found, analysis=analysis, item=target.name):
            encoded = encode(own, target)
            for protocol in (CLASSIFIERS_IN_FAMILIES, CELLS_IN_CLASSIFIERS):
                with or_reason(found, analysis=analysis, protocol=protocol, item=target.name):
                    one = of_cells(own, encoded, protocol, families or {})
                    found += _rows(one, analysis, protocol, target.name, encoded[3])
    return found


def of_cells(cells: "Sequence[Kept]", encoded: Found, protocol: str, families: Mapping[str, str]) -> Convergence:
    """Convergence by one of the two readings. Raises NotPossible below four points."""
    names = [cell.classifier for cell in cells]
    if protocol == CLASSIFIERS_IN_FAMILIES:
        groups, points = [families.get(name) or _family(name) for name in names], names
    else:
        groups, points = names, [f"{cell.classifier} {cell.cell_id}" for cell in cells]
    components, direction, null, _ = encoded
    return convergence(
        np.array([_accuracy(cell) for cell in cells]), components, direction, null, groups, points=points
    )


def _family(name: str) -> str:
    return CLASSIFIERS[name].family if name in CLASSIFIERS else name


def _accuracy(cell: "Kept") -> float:
    own = cell.part == TEST
    return balanced_accuracy(confusion(cell.labels[own], cell.logits[own].argmax(axis=1), cell.logits.shape[1]))


def _class_components(cells: "Sequence[Kept]", target: "Target") -> Found:
    if target.class_values is None or np.ptp(target.class_values) < 1e-12:
        raise NotPossible("the target has no values of classes, or one for all")
    components = []
    for cell in cells:
        features = clip_means(cell, TEST)
        labels = class_of_clip(cell, len(features))
        components.append(class_position(features, labels, len(target.class_values))[None])
    null = random_classes(len(target.class_values))
    words = f"{N_RANDOM:,} random directions, independent normal values of the classes"
    return components, unit(np.asarray(target.class_values, dtype=np.float64)), null, words


def _residual_components(cells: "Sequence[Kept]", target: "Target") -> Found:
    """The same clips in every cell: those that one of them lacks are left out."""
    if target.clip_values is None:
        raise NotPossible("the target has no values of clips")
    features = [clip_means(cell, TEST) for cell in cells]
    if not features:
        raise NotPossible("no cells of the strategy none")
    there = np.logical_and.reduce([np.isfinite(one).all(axis=1) for one in features])
    labels, values = class_of_clip(cells[0], len(there))[there], np.asarray(target.clip_values, dtype=np.float64)[there]
    basis = residual_basis(labels)
    components = [residual_components(one[there], basis)[0].T for one in features]
    null = permuted_targets(tuple(values.tolist()), tuple(labels.tolist()), N_RANDOM, 0)
    words = f"{N_RANDOM:,} permutations of clips within classes, the best of {N_COMPONENTS} components chosen in each"
    return components, residual_target(values, basis), null, words


def _rows(one: Convergence, analysis: str, protocol: str, item: str, words: str) -> list[Row]:
    found: list[Row] = []
    parts: dict[str, Correlated | None] = {"pooled": one.pooled, "within": one.within, "between": one.between}
    for part, number in parts.items():
        about = {"analysis": analysis, "protocol": f"{protocol}, {part} r", "item": item}
        with or_reason(found, **about):
            if number is None or not np.isfinite(number.r):
                raise NotPossible("no group has two points" if part == "within" else "fewer than three groups")
            null = f"one-sided, {words}: mean {number.null_mean:+.2f}, standard deviation {number.null_sd:.2f}"
            studied = part == "pooled"
            found.append(
                Row(
                    **about,
                    value=number.r,
                    ci_low=_number(number.ci_low),
                    ci_high=_number(number.ci_high),
                    p=number.p,
                    n=number.n,
                    null=f"{null}; interval: Fisher's, points as if independent",
                    reference=STUDY[analysis] if studied else None,
                    note=f"{one.words}; {STUDY_NOTE}" if studied else "",
                )
            )
    found.append(_mixed(one, analysis, protocol, item))
    for name, number in one.by_group.items():
        found.append(
            Row(
                analysis=analysis,
                protocol=f"{protocol}, r in {name}",
                item=item,
                value=number.r,
                ci_low=_number(number.ci_low),
                ci_high=_number(number.ci_high),
                n=number.n,
                null="interval: Fisher's, points as if independent",
                note=f"slope {number.slope:+.3f} of balanced accuracy by strength",
            )
        )
    return found


def _mixed(one: Convergence, analysis: str, protocol: str, item: str) -> Row:
    fitted = np.isfinite(one.mixed_slope)
    return Row(
        analysis=analysis,
        protocol=f"{protocol}, mixed slope",
        item=item,
        value=_number(one.mixed_slope),
        ci_low=_number(one.mixed_low),
        ci_high=_number(one.mixed_high),
        n=one.pooled.n,
        null=f"interval: Wald's, {one.mixed_words}" if fitted else "",
        note="balanced accuracy by strength" if fitted else "",
        reason="" if fitted else one.mixed_words,
    )


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


ENCODINGS: dict[str, Callable[["Sequence[Kept]", "Target"], Found]] = {
    CLASS: _class_components,
    RESIDUAL: _residual_components,
}
