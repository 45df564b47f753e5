"""A kept cell and a target to rows: what features and layers encode of the target. Each probe has a file of its own.

Clips, classes and subjects are those of the test part; what is chosen on other people is chosen on validation subjects.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from valence.brain.ridge import CLASS_OUT, CLIP_OUT
from valence.brain.rows import NotPossible, Row, or_reason
from valence.decodability import (
    SUBJECT_OUT,
    ClipFolds,
    Decoded,
    clip_folds,
    decoded_clips,
    decoded_subjects,
    folds_of_subjects,
)
from valence.gradient_split import variance_shares
from valence.kept import TEST, VALIDATION
from valence.probes import class_component, class_encodings, group_means
from valence.residual_held_out import held_out_residual, residual_interval
from valence.residual_probes import residual_encoding

if TYPE_CHECKING:
    from valence.kept import Kept
    from valence.targets import Target

CLASS, RESIDUAL, DECODED, LAYER, SHARES = (
    "class-PC1 encoding",
    "residual encoding",
    "decodability",
    "decodability by layer",
    "variance of features",
)


def rows(kept: "Kept", target: "Target", *, covariates: Mapping[str, np.ndarray] | None = None) -> list[Row]:
    """All probes of one cell.

    Parameters
    ----------
    covariates : further targets to decode, (n_clips,) each: arousal, order of presentation, …
    """
    found: list[Row] = []
    with or_reason(found, analysis=CLASS, item=target.name):
        found += _classes(kept, target)
    with or_reason(found, analysis=RESIDUAL, item=target.name):
        found += _residuals(kept, target)
    found += _decodability(kept, _targets(target, covariates or {}))
    with or_reason(found, analysis=SHARES):
        found += _shares(kept)
    return found


def class_of_clip(kept: "Kept", n_clips: int) -> np.ndarray:
    """Class of each clip, int64, (n_clips,); 0 for clips that the cell has no sample of, whose features are NaN."""
    labels = np.zeros(n_clips, dtype=np.int64)
    labels[kept.clips] = kept.labels
    return labels


def clip_means(kept: "Kept", part: str) -> np.ndarray:
    """Mean features of the samples of a part, (n_clips, D). Raises NotPossible where the cell does not keep them."""
    n_clips = int(kept.clips.max()) + 1 if kept.clip_features is None else len(kept.clip_features)
    if kept.features is None:
        if part == TEST and kept.clip_features is not None:
            return kept.clip_features
        raise NotPossible("the cell's features of samples were not kept (--keep)")
    own = kept.part == part
    if not own.any():
        raise NotPossible(f"no {part} samples were kept")
    return group_means(kept.features[own], kept.clips[own], n_clips)


def class_position(clip_features: np.ndarray, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """PC1 of class means over clips, (n_classes,). Raises NotPossible where a class has no clip or nothing varies."""
    there = np.isfinite(clip_features).all(axis=1)
    means = group_means(clip_features[there], labels[there], n_classes)
    if not np.isfinite(means).all():
        raise NotPossible("classes without test clips")
    component = class_component(means)
    if component is None:
        raise NotPossible("fewer than three classes, or features that are the same for all")
    return component


def _classes(kept: "Kept", target: "Target") -> list[Row]:
    if target.class_values is None or np.ptp(target.class_values) < 1e-12:
        raise NotPossible("the target has no values of classes, or one for all")
    features = clip_means(kept, TEST)
    component = class_position(features, class_of_clip(kept, len(features)), len(target.class_values))
    one = class_encodings(component[None], target.class_values)
    orders = f"{'all' if one.exact else 'drawn'} {one.n_orders:,} distinct orders of the classes"
    first = Row(
        analysis=CLASS,
        protocol="class orders",
        item=target.name,
        value=float(one.strengths[0]),
        p=float(one.p[0]),
        n=len(component),
        null=f"{orders}; mean {one.null_mean[0]:.2f}, 95 % below {one.null_95[0]:.2f}",
    )
    words = f"independent normal values of the classes, by Student's t with {len(component) - 2} degrees of freedom"
    return [first, replace(first, protocol="random directions", p=float(one.p_random[0]), null=words)]


def _residuals(kept: "Kept", target: "Target") -> list[Row]:
    if target.clip_values is None:
        raise NotPossible("the target has no values of clips")
    features, values, found = clip_means(kept, TEST), target.clip_values, []
    labels = class_of_clip(kept, len(features))
    one = residual_encoding(features, values, labels)
    low, high = None, None
    if kept.features is not None:
        own = kept.part == TEST
        low, high = residual_interval(kept.features[own], kept.subjects[own], kept.clips[own], values, labels)
    found.append(
        Row(
            analysis=RESIDUAL,
            protocol=f"best of {one.n_components} components",
            item=target.name,
            value=one.strength,
            ci_low=low,
            ci_high=high,
            p=one.p,
            n=one.degrees,
            null=f"{one.n_permutations:,} permutations of clips within classes, the component chosen in each; mean "
            f"{one.null_mean:.2f}, 95 % below {one.null_95:.2f}; interval: test subjects resampled, chosen in each",
            note="n is degrees of freedom: clips - classes; the study does not report how many components it tried",
        )
    )
    with or_reason(found, analysis=RESIDUAL, protocol="component of validation subjects", item=target.name):
        held = held_out_residual(clip_means(kept, VALIDATION), features, values, labels)
        found.append(
            Row(
                analysis=RESIDUAL,
                protocol="component of validation subjects",
                item=target.name,
                value=held.r,
                p=held.p,
                n=held.degrees,
                null=f"one-sided, clips permuted within classes, the component of {held.n_components} chosen in each; "
                f"mean {held.null_mean:+.2f}, 95 % below {held.null_95:+.2f}",
                note="n is degrees of freedom: clips - classes",
            )
        )
    return found


def _targets(target: "Target", covariates: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    own = {} if target.clip_values is None else {target.name: target.clip_values}
    return own | dict(covariates)


def _decodability(kept: "Kept", targets: Mapping[str, np.ndarray]) -> list[Row]:
    labels, own = class_of_clip(kept, int(kept.clips.max()) + 1), kept.part == TEST
    found = _decoded(DECODED, "", targets, lambda: clip_folds(clip_means(kept, TEST), labels))
    subjects = {"analysis": DECODED, "protocol": SUBJECT_OUT}
    with or_reason(found, **subjects):
        if kept.features is None:
            raise NotPossible("the cell's features of samples were not kept (--keep)")
        folds = folds_of_subjects(kept.features[own], kept.subjects[own], kept.clips[own], labels)
        for name, values in targets.items():
            with or_reason(found, **subjects, item=name):
                found.append(_row(DECODED, name, decoded_subjects(folds, values)))
    for layer, features in (kept.layers or {}).items():
        found += _decoded(LAYER, layer, targets, partial(clip_folds, features, labels))
    return found


def _decoded(analysis: str, layer: str, targets: Mapping[str, np.ndarray], make: Callable[[], ClipFolds]) -> list[Row]:
    found: list[Row] = []
    with or_reason(found, analysis=analysis, protocol=layer or f"{CLIP_OUT}, {CLASS_OUT}"):
        folds = make()
        for name, values in targets.items():
            with or_reason(found, analysis=analysis, protocol=layer or f"{CLIP_OUT}, {CLASS_OUT}", item=name):
                found += [_row(analysis, name, one, layer=layer) for one in decoded_clips(folds, values)]
    return found


def _row(analysis: str, name: str, one: Decoded, *, layer: str = "") -> Row:
    return Row(
        analysis=analysis,
        protocol=f"{layer}, {one.protocol}" if layer else one.protocol,
        item=name,
        value=one.r,
        ci_low=one.ci_low if np.isfinite(one.ci_low) else None,
        ci_high=one.ci_high if np.isfinite(one.ci_high) else None,
        p=one.p,
        n=one.n,
        null=f"one-sided, {one.words}, whole pipeline refit; mean {one.null_mean:+.2f}, 95 % below {one.null_95:+.2f}",
    )


def _shares(kept: "Kept") -> list[Row]:
    own = kept.part == TEST
    if kept.features is None:
        raise NotPossible("the cell's features of samples were not kept (--keep)")
    shares = variance_shares(kept.features[own], kept.labels[own], kept.clips[own])
    if shares is None:
        raise NotPossible("features do not vary")
    chance = {"between classes": shares.classes_by_chance, "between clips of a class": shares.clips_by_chance}
    values = {
        "between classes": shares.classes,
        "between clips of a class": shares.clips,
        "within clips": shares.samples,
    }
    return [
        Row(
            analysis=SHARES,
            item=item,
            value=value,
            n=int(own.sum()),
            note=f"{chance[item]:.3f} where features know neither" if item in chance else "",
        )
        for item, value in values.items()
    ]
