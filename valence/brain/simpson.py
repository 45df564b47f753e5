"""Stage brain: Simpson's paradox. A cohort and a target in; r over pooled subjects, within subjects and of their mean,
side by side as rows, out.
"""

import numpy as np
from scipy import stats

from valence.brain.cohort import BrainTarget, Cohort, over_subjects
from valence.brain.correlations import (
    class_orders,
    correlations,
    declared_cells,
    deviations,
    mean_where_there,
    share_as_large,
    stacked,
    subject_cells,
)
from valence.brain.resampled import SUBJECTS
from valence.brain.rows import Row

N_ORDERS = 1_000
UNCENTRED = "pooled, levels of subjects left in"
CENTRED = "pooled, each subject centred"
WITHIN = "mean of r within subjects"
OF_MEAN = "r of the mean over subjects"


def four_ways(x: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
    """r of subjects and clips with a target, four ways that Simpson's paradox keeps apart.

    Parameters
    ----------
    x : float, (n_subjects, n_clips, n_cells); NaN is left out.
    values : float, (n_clips,)

    Returns
    -------
    float64 (n_cells,) by name.
    """
    pooled = np.tile(values, len(x))
    return {
        UNCENTRED: correlations(x.reshape(-1, x.shape[-1]), pooled),
        CENTRED: correlations(deviations(x).reshape(-1, x.shape[-1]), pooled),
        WITHIN: mean_where_there(correlations(x, values), axis=0),
        OF_MEAN: correlations(over_subjects(x), values),
    }


def rows(cohort: Cohort, target: BrainTarget, *, seed: int = 0) -> list[Row]:
    """The four r side by side at the cells that the study names."""
    places = declared_cells(cohort)
    x, values = subject_cells(cohort)[..., list(places.values())], target.clip_values
    orders, words = class_orders(values, cohort.class_of_clip, n_orders=N_ORDERS, seed=seed)
    observed = four_ways(x, values)
    null = stacked(four_ways(x, order) for order in orders)
    without_one = stacked(four_ways(np.delete(x, subject, axis=0), values) for subject in range(len(x)))
    made = []
    for name, r in observed.items():
        # the jackknife, as valence.brain.resampled says; here for means over subjects and pooled samples, too
        error = np.nanstd(without_one[name], axis=0) * np.sqrt(len(x) - 1)
        reach = stats.t.ppf(0.975, len(x) - 1) * error
        for at, cell in enumerate(places):
            made.append(
                Row(
                    analysis="simpson",
                    protocol=name,
                    item=cell,
                    value=float(r[at]),
                    ci_low=float(r[at] - reach[at]),
                    ci_high=float(r[at] + reach[at]),
                    p=share_as_large(abs(r[at]), np.abs(null[name][:, at])),
                    n=len(values) if name == OF_MEAN else len(x) * (1 if name == WITHIN else len(values)),
                    null=f"p: {words}; {SUBJECTS}",
                    note="a cell that the study chose on FACED: no test of its own there" * (cohort.name == "faced"),
                )
            )
    return made
