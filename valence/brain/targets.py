"""Stage brain: the name of a target and a cohort in, one value for each clip and class out."""

from typing import TYPE_CHECKING

import numpy as np

from valence.brain.cohort import BrainTarget, Cohort
from valence.errors import BadInput
from valence.registry import unknown_name
from valence.targets import TargetContext, make_target

if TYPE_CHECKING:
    from valence.axis import Axis

NAMES = {"axis": "vaxis", "behaviour": "behaviour", "rank": "rank", "arousal": "behaviour"}
"""name to the target of alignment that has its values; arousal is reported, as behaviour is"""


def brain_target(
    name: str, cohort: Cohort, axis: "Axis | None" = None, ratings: np.ndarray | None = None
) -> BrainTarget:
    """The target called so.

    Parameters
    ----------
    name : "axis" (class positions on it), "behaviour" (mean self-rated valence), "rank" (-1, 0, +1 by class), or
        "arousal" (mean self-rated arousal).
    axis : for "axis"; it may have more classes than the cohort, in any order.
    ratings : for "behaviour", (n_clips,), mean over people of the data set's choice; over the cohort where not given.

    Raises
    ------
    BadInput : for an unknown name, an axis that is missing or of other classes, ratings that are missing, and values
        that are the same for all clips.
    """
    if name not in NAMES:
        raise unknown_name("target", name, list(NAMES))
    if name in ("behaviour", "arousal"):
        if name == "arousal" or ratings is None:
            ratings = mean_rating(cohort, "valence" if name == "behaviour" else name)
        if ratings is None:
            raise BadInput(
                f"target {name}: the data set {cohort.name} has no self-reports of it",
                allowed="a data set with reports of its subjects",
                do="put them beside the recordings, or take --target rank or axis:FILE",
            )
    context = TargetContext(
        class_of_clip=cohort.class_of_clip,
        n_classes=len(cohort.classes),
        classes=cohort.classes,
        axis=axis,
        seed=0,
        ratings=ratings,
    )
    made = make_target(NAMES[name], context)
    assert made.clip_values is not None
    # a target of alignment has mean 0 over classes, and classes differ in how many clips they have
    values = (made.clip_values - made.clip_values.mean()) / made.clip_values.std()
    return BrainTarget(name=name, clip_values=values, class_values=made.class_values)


def mean_rating(cohort: Cohort, scale: str) -> np.ndarray | None:
    """Mean over the subjects who gave one: float64, (n_clips,), NaN for a clip without; None where nobody gave any."""
    given = cohort.ratings.get(scale)
    if given is None or not np.isfinite(given).any():
        return None
    there = np.isfinite(given)
    with np.errstate(invalid="ignore"):
        return np.where(there, given, 0.0).sum(axis=0) / there.sum(axis=0)
