"""Stage brain: a cohort and a target in; how well random halves of the subjects agree, as rows, out."""

import numpy as np

from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.correlations import spearman_brown, subject_cells
from valence.brain.likeness import divided
from valence.brain.rows import NotPossible, Row

N_HALVES = 500


def rows(cohort: Cohort, target: BrainTarget, *, seed: int = 0) -> list[Row]:
    """Agreement of random halves of the subjects, and by Spearman–Brown that of cohorts as large as this one."""
    x = subject_cells(cohort)
    if len(x) < 4:
        raise NotPossible(f"{len(x)} subjects: two halves take 4")
    found = divided(x, target.clip_values, len(x) // 2, N_HALVES, seed)
    made = []
    for name, r in found.items():
        told = np.array([r.mean(), *np.quantile(r, [0.025, 0.975])])
        for protocol, (value, low, high) in (("halves", told), ("Spearman-Brown", spearman_brown(told))):
            made.append(
                Row(
                    analysis="split-half",
                    protocol=f"{name}, {protocol}",
                    item="subjects",
                    value=float(value),
                    ci_low=float(low),
                    ci_high=float(high),
                    n=len(x),
                    null=f"interval: 95 % of {N_HALVES} random halves",
                    note="levels of channels and bands, the same in everybody, make most of it"
                    * (name == "whole tensor"),
                )
            )
    return made
