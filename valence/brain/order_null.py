"""Stage brain: drift. A cohort, a target and the orders of presentation in; what slow change of the EEG alone would
make of r, as rows, out.

Where clips of one valence came in blocks, slow drift follows valence in every subject, and permuted classes do not:
they break the blocks up. Here a subject's EEG keeps its place in time and is given the order of another subject. Drift
and the blocks stay, what clips do to the EEG is broken.
"""

import numpy as np

from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.confounds import known_orders
from valence.brain.correlations import correlations, declared_cells, mean_where_there, share_as_large, subject_cells
from valence.brain.rows import NotPossible, Row

N_DRAWS = 1_000
WORDS = f"{N_DRAWS:,} times, each subject given the order of another"


def all_pairs(x: np.ndarray, ranks: np.ndarray, values: np.ndarray) -> np.ndarray:
    """r of every subject's EEG under every subject's order.

    Parameters
    ----------
    x : float, (n_subjects, n_clips, n_cells)
    ranks : int, (n_subjects, n_clips), place at which each clip was shown.
    values : float, (n_clips,)

    Returns
    -------
    float64, (n_subjects, n_subjects, n_cells): order, then EEG.
    """
    in_time = np.take_along_axis(x, np.argsort(ranks, axis=1)[..., None], axis=1)
    return correlations(in_time, values[np.argsort(ranks, axis=1)])


def mean_under(x: np.ndarray, ranks: np.ndarray, givers: np.ndarray) -> np.ndarray:
    """Mean over subjects, (n_clips, n_cells), where each has the order of its giver, (n_subjects,)."""
    shown = np.argsort(ranks, axis=1)
    n_clips = x.shape[1]
    clip = np.take_along_axis(shown, ranks[givers], axis=1)  # what this subject saw where the giver saw each clip
    flat = x.reshape(-1, x.shape[-1])
    return flat[clip + n_clips * np.arange(len(x))[:, None]].mean(axis=0)


def rows(cohort: Cohort, target: BrainTarget, *, seed: int = 0) -> list[Row]:
    """r within subjects, the best cell per subject and r of the mean, against orders of others."""
    known = known_orders(cohort)
    assert cohort.presentation is not None
    ranks, x = cohort.presentation[known], subject_cells(cohort)[known]
    if (ranks == ranks[0]).all():
        raise NotPossible("everybody saw the clips in the same order: drift and clips cannot be told apart")
    rng = np.random.default_rng(seed)
    own = np.arange(len(x))
    givers = [own, *(rng.permutation(len(x)) for _ in range(N_DRAWS))]
    r = all_pairs(x, ranks, target.clip_values)
    best = np.fmax.reduce(np.abs(r), axis=-1)
    places = declared_cells(cohort)
    within = np.stack([mean_where_there(r[giver, own][:, list(places.values())], axis=0) for giver in givers])
    oracle = np.array([np.nanmean(best[giver, own]) for giver in givers])
    means = np.stack([correlations(mean_under(x, ranks, giver), target.clip_values) for giver in givers])
    made = [_row("mean of r within subjects", cell, within[:, at], len(x)) for at, cell in enumerate(places)]
    made.append(_row("best cell of each subject", "mean over subjects", oracle, len(x), one_sided=True))
    n_clips = len(target.clip_values)
    made += [_row("r of the mean over subjects", cell, means[:, at], n_clips) for cell, at in places.items()]
    largest = np.nanmax(np.abs(means), axis=1)
    return [*made, _row("largest |r| of the mean over subjects", "all cells", largest, n_clips, one_sided=True)]


def _row(protocol: str, item: str, values: np.ndarray, n: int, *, one_sided: bool = False) -> Row:
    """The first of (1 + N_DRAWS,) values against all of them."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    sides = values if one_sided else np.abs(values)
    return Row(
        analysis="order null",
        protocol=protocol,
        item=item,
        value=float(values[0]),
        p=share_as_large(float(sides[0]), sides),
        n=n,
        null=f"{WORDS}: mean {values[1:].mean():+.3f}, 95 % of them {low:+.3f} to {high:+.3f}",
        note="slow drift and blocks are inside the null",
    )
