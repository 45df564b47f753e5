"""Stage brain: how many people a correlation of the cohort's mean rests on. A cohort and a target in, rows out.

A mean over subjects is as good as its worst subject: one whose γ is muscle varies ten times as much between clips as
another, and what the mean does over clips is then what this one did. Three answers, for the study's cells and the
strongest ones: r of the median over subjects, r without the subject whose absence lowers it most, and how many subjects
have to be left out, the most influential first, until half of it is gone. Which subjects these are is read off the same
clips, so the last two describe; the first two protocols of cells (as they are, every subject of one scale) test.
"""

from typing import Any

import numpy as np

from valence.brain.class_null import CLIPS, ROUNDING, class_null, levels
from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.correlations import STUDY_CELLS, cells_of, correlations
from valence.brain.resampled import without_one
from valence.brain.rows import NotPossible, Row

N_STRONGEST = 5
FEWEST_SUBJECTS = 4
MOST_LEFT_OUT = 0.5
"""of the subjects, when counting how many carry an r"""


def rows(cohort: Cohort, target: BrainTarget) -> list[Row]:
    """Three rows for each of the study's cells and the strongest ones."""
    if len(cohort.subjects) < FEWEST_SUBJECTS:
        raise NotPossible(f"it takes {FEWEST_SUBJECTS} subjects, not {len(cohort.subjects)}")
    level, names = levels(cohort, target)[CLIPS], cells_of(cohort)
    null = class_null(level.values, level.labels)
    r = null.r(level.features)
    by_name = {name.lower(): place for place, name in enumerate(names)}
    study = [by_name[name.lower()] for name in STUDY_CELLS if name.lower() in by_name]
    strongest = np.argsort(-np.abs(r), kind="stable")[:N_STRONGEST].tolist()
    found = []
    for place in dict.fromkeys([*study, *strongest]):
        assert level.of_subjects is not None, "clips have subjects"
        of_cell = level.of_subjects[:, :, place]
        about: dict[str, Any] = {"analysis": "influence", "item": names[place], "n": len(level.values)}
        centred = of_cell - np.nanmean(of_cell, axis=1, keepdims=True)
        median = np.nanmedian(centred, axis=0)[:, None]
        permuted = np.concatenate([np.abs(block[:, 0]) for block in null.blocks(median)])
        of_median = float(null.r(median)[0])
        p = float(np.mean(permuted >= abs(of_median) - ROUNDING))
        found.append(Row(**about, protocol="median over subjects", value=of_median, p=p, null=null.words))
        found += _rows_without(cohort, of_cell, level.values, about, float(r[place]))
    return found


def _rows_without(cohort: Cohort, of_cell: np.ndarray, values: np.ndarray, about: dict, r: float) -> list[Row]:
    left, order = leave_out_most_influential(of_cell, values)
    names, spread = [cohort.subjects[subject] for subject in order], np.nanstd(of_cell, axis=1)
    times = [f"{spread[subject] / np.median(spread):.1f}" for subject in order]
    without = Row(
        **about,
        protocol="without the most influential subject",
        value=float(left[0]),
        note=f"{r:+.3f} with {names[0]}, whose spread over clips is {times[0]} times the median subject's",
    )
    about = about | {"protocol": "subjects that carry half of r"}
    if abs(left[-1]) >= abs(r) / 2 and np.sign(left[-1]) == np.sign(r):
        return [without, Row(**about, reason=f"half of r is still there without {len(left)} of {len(of_cell)}")]
    several = [f"{name} ({ratio})" for name, ratio in zip(names[:8], times, strict=False)]
    note = f"of {len(of_cell)}; spread over clips against the median subject's: {', '.join(several)}"
    return [without, Row(**about, value=float(len(left)), note=note)]


def leave_out_most_influential(of_cell: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Leave out, one after the other, the subject without whom r of the mean over the rest is lowest, sign apart.

    Parameters
    ----------
    of_cell : float, (n_subjects, n_clips), NaN where a subject has no recording.
    values : (n_clips,)

    Returns
    -------
    r : float64, (n_left_out,), after each; it ends once |r| is below half of what it was or the sign has changed, or
        at half of the subjects.
    order : subjects in the order in which they were left out.
    """
    centred = of_cell - np.nanmean(of_cell, axis=1, keepdims=True)
    full = float(correlations(np.nanmean(centred, axis=0)[:, None], values)[0])
    kept, order, found = list(range(len(of_cell))), [], []
    while len(kept) > len(of_cell) * (1 - MOST_LEFT_OUT):
        left = [correlations(block, values)[:, 0] for block in without_one(of_cell[kept][:, :, None])]
        r = np.concatenate(left) * np.sign(full)
        if len(r) != len(kept):
            raise NotPossible("some clips are recorded of one subject alone")
        lowest = int(np.argmin(r))
        order.append(kept.pop(lowest))
        found.append(float(r[lowest] * np.sign(full)))
        if r[lowest] < abs(full) / 2:
            break
    return np.array(found), order
