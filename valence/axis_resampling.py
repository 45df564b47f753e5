"""Stage axis: how far an axis depends on its paraphrases, its story sets and each of its emotions.

Paraphrases are many: bootstrap. Story sets are few: all samples of as many sets, drawn with replacement, exactly, and
the jackknife where they are too many. Emotions are the classes themselves: each is left out in turn.
"""

import itertools
import math
from dataclasses import replace

import numpy as np

from valence.axis_methods import Labelled, Method
from valence.axis_pca import positions, sign

MOST_SETS_ENUMERATED = 6
"""462 different samples"""


def bootstrap_positions(
    labelled: Labelled, direction: np.ndarray, *, method: Method, n_bootstrap: int, seed: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Standard error (n_classes,) and 95 % interval (n_classes, 2) of the class positions.

    Resamples paraphrases within class and set and fits the direction again each time, its sign that of the fitted
    direction. The stories stay as they are: how far another set of stories would lead, `over_sets` tells. None, None
    for n_bootstrap 0.
    """
    if n_bootstrap == 0:
        return None, None
    random = np.random.default_rng(seed)
    groups = [
        np.flatnonzero((labelled.emotions == name) & (labelled.sets == set_name))
        for set_name in sorted(set(labelled.sets))
        for name in labelled.classes
    ]
    draws = np.empty((n_bootstrap, len(labelled.classes)))
    for draw in draws:
        rows = np.concatenate([random.choice(group, len(group)) for group in groups])
        draw[:] = _refitted(_some(labelled, rows), direction, method)
    return draws.std(axis=0, ddof=1), np.percentile(draws, [2.5, 97.5], axis=0).T


def over_sets(labelled: Labelled, direction: np.ndarray, *, method: Method) -> dict[str, object]:
    """Spread of the class positions over samples of the story sets, as a JSON-able dict.

    With S sets: how ("exact": every sample of S sets with replacement, weighted by how often it is drawn, so nothing
    is left to chance; "jackknife" above 6 sets; "one set" where nothing can be said), n_samples (different ones),
    standard_error and range (least and largest) of each class. Few sets bound this from below: 2 give 3 samples.
    """
    names = sorted(set(labelled.sets))
    if len(names) == 1:
        return {"how": "one set", "n_samples": 1, "standard_error": None, "range": None}
    exact = len(names) <= MOST_SETS_ENUMERATED
    everyone = range(len(names))
    samples: list[tuple[int, ...]] = (
        list(itertools.combinations_with_replacement(everyone, len(names)))
        if exact
        else [tuple(kept for kept in everyone if kept != left_out) for left_out in everyone]
    )
    rows_of = [np.flatnonzero(labelled.sets == name) for name in names]
    drawn = []
    for sample in samples:
        rows = np.concatenate([rows_of[index] for index in sample])
        # a set that is drawn twice is two sets
        copies = np.repeat([f"{copy:03d}" for copy in range(len(sample))], [len(rows_of[index]) for index in sample])
        drawn.append(_refitted(replace(_some(labelled, rows), sets=copies), direction, method))
    table = np.array(drawn)
    weights = np.array([_times_drawn(sample) for sample in samples], dtype=float) if exact else np.ones(len(samples))
    mean = np.average(table, axis=0, weights=weights)
    variance = np.average((table - mean) ** 2, axis=0, weights=weights) * (1 if exact else len(samples) - 1)
    return {
        "how": "exact" if exact else "jackknife",
        "n_samples": len(samples),
        "standard_error": _rounded(np.sqrt(variance)),
        "range": [_rounded(table.min(axis=0)), _rounded(table.max(axis=0))],
    }


def leave_one_class_out(labelled: Labelled, *, method: Method, sign_rule: str = "stories") -> np.ndarray | None:
    """Position of each class on an axis that was fitted, and signed, without it: float64 (n_classes,).

    In units of the other classes: their mean is 0 and their standard deviation 1, so that the nine axes share a scale.
    None where fewer than four classes, or no second positive or negative one, would be left to fit on.
    """
    classes, codes = labelled.classes, labelled.codes
    if len(classes) < 4 or (codes > 0).sum() < 2 or (codes < 0).sum() < 2:
        return None
    held_out = np.empty(len(classes))
    for left_out, name in enumerate(classes):
        others = tuple(other for other in classes if other != name)
        fewer = replace(
            _some(labelled, np.flatnonzero(labelled.emotions != name)), classes=others, codes=np.delete(codes, left_out)
        )
        projected = labelled.centroids @ method.fit_labelled(fewer)[0]
        rest = np.delete(projected, left_out)
        rule = sign_rule if sign_rule != "joy" or "joy" in others else "stories"
        orientation = sign(rest, others, rule=rule, codes=fewer.codes)
        held_out[left_out] = orientation * (projected[left_out] - rest.mean()) / rest.std()
    return held_out


def _some(labelled: Labelled, rows: np.ndarray) -> Labelled:
    """The texts at these rows."""
    return replace(
        labelled,
        activations=labelled.activations[rows],
        emotions=labelled.emotions[rows],
        sets=labelled.sets[rows],
    )


def _refitted(labelled: Labelled, direction: np.ndarray, method: Method) -> np.ndarray:
    """Class positions on a direction that is fitted again, with the sign of the first."""
    component, _ = method.fit_labelled(labelled)
    return positions(labelled.centroids, component * (1.0 if component @ direction >= 0 else -1.0))


def _times_drawn(sample: tuple[int, ...]) -> int:
    """Orders in which a sample can be drawn: its multinomial coefficient."""
    times = math.factorial(len(sample))
    for index in set(sample):
        times //= math.factorial(sample.count(index))
    return times


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 6) for value in values]
