"""Stage axis: what stands beside an axis, so that style, sampling or one lucky set cannot pass for valence."""

from collections.abc import Sequence

import numpy as np

from valence.axis_methods import Labelled, Method
from valence.axis_pca import SIGN_RULES, positions, sign
from valence.axis_resampling import leave_one_class_out, over_sets
from valence.axis_style import STYLE_LIMIT, noted_correlation, style_of_axis

AGREEMENT_LIMIT = 0.666
HELD_OUT_LIMIT = 0.666
"""as the limit of style: r over nine classes with two-sided p = .05"""


def notes_of_axis(
    labelled: Labelled,
    direction: np.ndarray,
    *,
    method: Method,
    sign_rule: str,
    texts: Sequence[str] | None,
    n_tokens: np.ndarray | None,
) -> dict[str, object]:
    """Checks as a JSON-able dict: sign, agreement of sets, held-out classes, style, and sentences under "warnings"."""
    means, classes, sets = labelled.means, labelled.classes, labelled.sets
    projections = labelled.centroids @ direction
    rules = [rule for rule in SIGN_RULES if rule != "joy" or "joy" in classes]
    signs = {rule: sign(projections, classes, rule=rule, codes=labelled.codes) for rule in rules}
    agree = len(set(signs.values())) == 1
    warnings = []
    if not agree:
        warnings.append(
            f'the sign is that of the rule "{sign_rule}"; positive against negative stories and "joy is positive" '
            "disagree here"
        )
    agreement = _agreement_of_sets(labelled, method, sign_rule)
    if agreement["correlation"] is not None and agreement["correlation"] < AGREEMENT_LIMIT:
        warnings.append(
            f"the story sets order the classes differently: r = {agreement['correlation']:.2f} between their axes"
        )
    held_out = _held_out(labelled, method, sign_rule)
    r_held_out = held_out["correlation_with_codes"]
    if isinstance(r_held_out, float) and r_held_out < HELD_OUT_LIMIT:
        warnings.append(
            f"a class that is left out of the fit does not fall where its stories belong: r = {r_held_out:.2f} over "
            f"the {len(classes)} classes"
        )
    style = style_of_axis(means @ direction, labelled.emotions, sets, classes=classes, texts=texts, n_tokens=n_tokens)
    for trait, by_set in style.items():
        warnings += [
            f"in set {set_name} the class positions follow {trait.replace('_', ' ')}: r = {value:.2f}"
            for set_name, value in by_set.items()
            if value is not None and abs(value) > STYLE_LIMIT
        ]
    return {
        "codes": [float(code) for code in labelled.codes],
        "sign_rule": sign_rule,
        "sign_rules_agree": agree,
        "sets": agreement,
        "over_sets": over_sets(labelled, direction, method=method),
        "held_out": held_out,
        "style": style,
        "warnings": warnings,
    }


def _agreement_of_sets(labelled: Labelled, method: Method, sign_rule: str) -> dict:
    """Axes fitted to each set alone: their positions, and cosine and correlation between the first two.

    held_out_correlation: positions of each set's classes on the axis of the other sets, against the classes' codes;
    its mean over sets.
    """
    names = sorted(set(labelled.sets))
    directions, by_set, explained = [], {}, {}
    for name, centroids in zip(names, labelled.means, strict=True):
        component, share = method.fit_labelled(_of_sets(labelled, labelled.sets == name))
        orientation = sign(centroids @ component, labelled.classes, rule=sign_rule, codes=labelled.codes)
        directions.append(component * orientation)
        by_set[str(name)] = [round(float(value), 6) for value in positions(centroids, directions[-1])]
        explained[str(name)] = round(share, 6)
    several = len(names) > 1
    return {
        "class_positions": by_set,
        "explained_variance": explained,
        "cosine": round(float(directions[0] @ directions[1]), 6) if several else None,
        "correlation": noted_correlation(*[np.array(by_set[str(name)]) for name in names[:2]]) if several else None,
        "held_out_correlation": held_out_set_correlation(labelled, method, labelled.codes, sign_rule=sign_rule),
    }


def held_out_set_correlation(
    labelled: Labelled, method: Method, values: np.ndarray, *, sign_rule: str = "stories"
) -> float | None:
    """Mean over sets of r between values (n_classes,) and a set's positions on the axis of the other sets.

    None for one set, or where a value or position is the same in all classes.
    """
    names = sorted(set(labelled.sets))
    if len(names) == 1:
        return None
    found = []
    for name, centroids in zip(names, labelled.means, strict=True):
        others = _of_sets(labelled, labelled.sets != name)
        direction, _ = method.fit_labelled(others)
        direction = direction * sign(
            others.centroids @ direction, labelled.classes, rule=sign_rule, codes=labelled.codes
        )
        found.append(noted_correlation(centroids @ direction, np.asarray(values, dtype=float)))
    return None if None in found else round(float(np.mean([r for r in found if r is not None])), 6)


def _held_out(labelled: Labelled, method: Method, sign_rule: str) -> dict[str, object]:
    """Positions of the classes left out in turn, and their r with the codes."""
    left_out = leave_one_class_out(labelled, method=method, sign_rule=sign_rule)
    if left_out is None:
        return {"class_positions": None, "correlation_with_codes": None}
    return {
        "class_positions": [round(float(value), 6) for value in left_out],
        "correlation_with_codes": noted_correlation(left_out, labelled.codes),
    }


def _of_sets(labelled: Labelled, rows: np.ndarray) -> Labelled:
    return Labelled(
        labelled.activations[rows], labelled.emotions[rows], labelled.sets[rows], labelled.classes, labelled.codes
    )
