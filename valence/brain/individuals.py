"""Stage brain: single subjects. A cohort and a target in; r of each at cells chosen on the others, as rows, out."""

import numpy as np

from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.correlations import class_orders, deviations, subject_cells
from valence.brain.rows import NotPossible, Row
from valence.brain.subject_statistics import N_BEST, at_best_cells, mean_row, means_of_others, statistics


def rows(cohort: Cohort, target: BrainTarget, *, seed: int = 0) -> list[Row]:
    """Mean and spread over subjects, and each subject's own."""
    x = subject_cells(cohort)
    if len(x) < 3 or x.shape[-1] <= N_BEST:
        raise NotPossible(f"{len(x)} subjects and {x.shape[-1]} cells: it takes 3 and more than {N_BEST}")
    orders, words = class_orders(target.clip_values, cohort.class_of_clip, seed=seed)
    parts = {"own": x, "others": means_of_others(deviations(x))}
    found = statistics(parts, target.clip_values, orders, lambda r: at_best_cells(r["own"], r["others"]))
    best, note = f"{N_BEST} best cells of all other subjects", "the study chose its cells on everybody"
    return [
        mean_row("individual r", f"{best}, sign of the others", found["turned"], words, note=note),
        mean_row("individual r", f"{best}, sign as it is", found["raw"], words, note=note),
        *_distribution(cohort, found["turned"].of_subjects, best),
    ]


def _distribution(cohort: Cohort, r: np.ndarray, best: str) -> list[Row]:
    """How r is spread over subjects, and each subject's own."""
    protocol = f"{best}, sign of the others"
    known = r[np.isfinite(r)]
    told = {"sd over subjects": known.std(ddof=1), "share above 0": np.mean(known > 0)}
    told |= {f"{share} % quantile": np.quantile(known, share / 100) for share in (5, 25, 50, 75, 95)}
    spread = [
        Row(analysis="individual r", protocol=protocol, item=item, value=float(value), n=len(known))
        for item, value in told.items()
    ]
    n_clips = len(cohort.class_of_clip)
    return spread + [
        Row(analysis="individual r", protocol=protocol, item=name, value=float(value), n=n_clips)
        if np.isfinite(value)
        else Row(analysis="individual r", protocol=protocol, item=name, reason="no recording, or a constant one")
        for name, value in zip(cohort.subjects, r)
    ]
