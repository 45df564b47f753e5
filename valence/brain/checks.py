"""Stage brain: what a cohort is checked for. A data set or a cohort in; nothing, or BadInput, out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from valence.errors import BadInput
from valence.montage import positions
from valence.registry import unknown_name

if TYPE_CHECKING:
    from valence.brain.cohort import Cohort
    from valence.datasets.base import Dataset

FEWEST_PER_SIGN = 5
"""clips of the negative and of the positive classes: with fewer, leaving some out leaves no valence to learn"""


def scalp_channels(dataset: "Dataset", drop: Sequence[str] = ()) -> tuple[str, ...]:
    """Channels to analyse, in their order. Raises BadInput for unknown names to drop, and unknown positions."""
    for name in drop:
        if name not in dataset.ch_names:
            raise unknown_name("channel", name, list(dataset.ch_names))
    left = tuple(name for name in dataset.ch_names if name not in {*drop, *dataset.off_scalp})
    if not left:
        raise BadInput(f"data set {dataset.name}: no channel is left", allowed="1 or more", do="drop fewer channels")
    try:
        positions(left)
    except BadInput as error:
        raise BadInput(
            f"data set {dataset.name}: {str(error).splitlines()[0]}",
            allowed="electrodes of the 10-20 system and its extensions to 10-10 and 10-5, CB1 and CB2",
            do="name these channels by their sites, or leave them out with --drop-channels NAME,NAME",
        ) from error
    return left


def checked_reports(dataset: "Dataset", subjects: tuple[str, ...]) -> dict[str, np.ndarray]:
    """What subjects reported. Raises BadInput where it is not of the shape that the contract says."""
    found = dataset.reports(subjects)
    for scale, values in found.items():
        if np.shape(values) != (len(subjects), dataset.n_clips):
            raise BadInput(
                f"data set {dataset.name}: reports of {scale} have the shape {np.shape(values)}",
                allowed=f"{(len(subjects), dataset.n_clips)}: a row a subject, NaN where there is no report",
                do="correct the method reports of the data set",
            )
    return found


def check_cohort(cohort: "Cohort") -> None:
    """Raise BadInput where no analysis would have an answer: see `load_cohort`."""
    signs = cohort.signs[cohort.class_of_clip]
    counts = {"negative": int((signs < 0).sum()), "positive": int((signs > 0).sum())}
    if min(counts.values()) < FEWEST_PER_SIGN:
        raise BadInput(
            f"data set {cohort.name}: {counts['negative']} clips of negative and {counts['positive']} of positive"
            f" classes ({', '.join(cohort.classes)})",
            allowed=f"{FEWEST_PER_SIGN} or more of either sign",
            do="take a data set with more clips; name its classes by the stories' emotions with the fact `emotions`",
        )
    means = cohort.clip_means()
    if missing := [str(clip + 1) for clip in np.flatnonzero(~np.isfinite(means).all(axis=(1, 2)))]:
        raise BadInput(
            f"data set {cohort.name}: no subject has a recording of clip {', '.join(missing)}",
            allowed="a recording or more of each clip",
            do="fetch the missing files",
        )
    constant = np.ptp(means, axis=0) <= 1e-9 * np.abs(means).max(axis=0)
    if constant.any():
        cells = [f"{cohort.ch_names[channel]} {cohort.band_names[band]}" for channel, band in np.argwhere(constant)]
        more = f" and {len(cells) - 8} more" if len(cells) > 8 else ""
        raise BadInput(
            f"data set {cohort.name}: the same for all clips: {', '.join(cells[:8])}{more}",
            allowed="features that differ between clips",
            do="compute the features again, or leave the channels out with --drop-channels NAME,NAME",
        )
