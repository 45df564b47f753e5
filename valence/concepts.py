"""Stage axis: the same recipe for other concepts than valence, with short balanced texts to fit them on.

Arousal, politeness, certainty and formality come at three levels each, in two sets; within a set the texts of one item
share scene, build, person and, within three words, length over the levels. Levels of arousal hold as many pleasant as
unpleasant scenes. Formality shows in word length, which belongs to it.
"""

import csv
import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np

from valence.axis import Axis, fit_axis, labelled_texts
from valence.axis_methods import Labelled, choose_method
from valence.errors import BadInput
from valence.intervals import delong

LEVELS: Mapping[str, float] = MappingProxyType({"low": -1.0, "middle": 0.0, "high": 1.0})
"""levels of a concept and their codes"""
AROUSAL: Mapping[str, float] = MappingProxyType(
    {
        "anger": 1.0, "disgust": 0.0, "fear": 1.0, "sadness": -1.0, "neutral": -1.0,
        "amusement": 1.0, "inspiration": 0.0, "joy": 1.0, "tenderness": -1.0,
    }
)  # fmt: skip
"""the nine emotions by their place on the circumplex (Russell 1980, doi 10.1037/h0077714)"""


@dataclass(frozen=True)
class ConceptText:
    """One text at one level of a concept."""

    id: str
    concept: str
    level: str
    set: str
    text: str


@cache
def concept_texts() -> tuple[ConceptText, ...]:
    """All texts of all concepts."""
    table = importlib.resources.files("valence").joinpath("concepts.csv").read_text(encoding="utf-8")
    return tuple(ConceptText(**row) for row in csv.DictReader(table.splitlines()))


def concepts() -> tuple[str, ...]:
    """Names of the concepts, in the order of the table."""
    return tuple(dict.fromkeys(row.concept for row in concept_texts()))


def load_concept(name: str) -> tuple[ConceptText, ...]:
    """Texts of one concept. Raises BadInput for an unknown one."""
    if name not in concepts():
        raise BadInput(f"unknown concept {name!r}", allowed=", ".join(concepts()), do="take one of these")
    return tuple(row for row in concept_texts() if row.concept == name)


def fit_concept(
    activations: np.ndarray,
    labels: Sequence[str] | np.ndarray,
    sets: Sequence[str] | np.ndarray,
    *,
    codes: Mapping[str, float] = LEVELS,
    method: str = "mean_difference",
    **options,
) -> Axis:
    """The axis of a concept, by the recipe of valence.

    Parameters
    ----------
    activations : float array, (n_texts, d_model)
    labels, sets : (n_texts,), level and set of each text; every level in every set.
    codes : of each level: negative, 0 or positive; `AROUSAL` for arousal over the nine emotions.
    method : a name of `valence.axis_methods.METHODS`. "pca" finds what differs most between the levels, which over
        emotions is valence, whatever the codes.
    options : of `valence.axis.fit_axis`.

    Raises BadInput as `fit_axis`.
    """
    return fit_axis(
        activations,
        np.asarray(labels),
        np.asarray(sets),
        classes=tuple(codes),
        codes=tuple(codes.values()),
        method=method,
        **options,
    )


def held_out_separation(
    activations: np.ndarray,
    labels: Sequence[str] | np.ndarray,
    sets: Sequence[str] | np.ndarray,
    *,
    codes: Mapping[str, float] = LEVELS,
    method: str = "mean_difference",
) -> float:
    """How well a concept's axis sorts texts of a set that it was not fitted to: area under the curve, .5 is chance.

    Positive against negative levels, on the axis of the other sets; mean over sets. Raises BadInput as `fit_axis`, and
    for a single set.
    """
    labelled = labelled_texts(activations, np.asarray(labels), np.asarray(sets), tuple(codes), tuple(codes.values()))
    names = sorted(set(labelled.sets))
    if len(names) < 2:
        raise BadInput("texts of one set", allowed="two sets or more", do="hold some texts out as another set")
    row = choose_method(method)
    side = np.array([codes[str(label)] for label in labelled.emotions])
    areas = []
    for name in names:
        fitted, tried = labelled.sets != name, labelled.sets == name
        others = Labelled(
            labelled.activations[fitted],
            labelled.emotions[fitted],
            labelled.sets[fitted],
            labelled.classes,
            labelled.codes,
        )
        direction, _ = row.fit_labelled(others)
        projected = others.centroids @ direction
        if projected[others.codes > 0].mean() < projected[others.codes < 0].mean():
            direction = -direction
        tried &= side != 0
        areas.append(delong(labelled.activations[tried] @ direction, side[tried] > 0)[0])
    return float(np.mean(areas))
