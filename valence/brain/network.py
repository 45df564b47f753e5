"""Stage brain: do the electrodes of the study's γ network go together more than others? A cohort in, mean r out.

r here is between electrodes, over clips; the target has no part in it. Neighbours see the same sources, and what all
electrodes share (muscle, arousal, drift) makes all of them go together: so the mean is held against sets of as many
electrodes with the same spread over the head, and given once more with the mean over channels taken off. The common
average reference of these recordings adds to it: it puts 1/n of every channel, artefacts with it, into all others, so
that their powers Σσ²/n² rise and fall together.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.resampled import SUBJECTS, interval
from valence.brain.rows import NotPossible, Row
from valence.montage import positions

SITES = ("PO3", "F7", "O1", "P3", "Oz", "O2", "P4", "PO4")
BAND = "gamma"
N_SETS = 2_000
N_TRIES = 200_000
SPREAD = 0.1
"""how far the mean distance within a random set may be from that of SITES, as a share of it"""
FEWEST_SETS = 20


def mean_correlation(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Mean r over clips between all pairs of a set of channels.

    Parameters
    ----------
    values : float, (..., n_clips, n_chans)
    chosen : int, (..., n_members), channels of one set or of several.

    Returns
    -------
    float64, (..., ) of the leading dimensions of values, then those of chosen.
    """
    centred = values - values.mean(axis=-2, keepdims=True)
    centred = centred / np.linalg.norm(centred, axis=-2, keepdims=True)
    r = np.swapaxes(centred, -1, -2) @ centred
    k = chosen.shape[-1]
    of_sets = r[..., chosen[..., :, None], chosen[..., None, :]]
    return (of_sets.sum(axis=(-1, -2)) - k) / (k * (k - 1))


def sets_of_same_spread(places: np.ndarray, chosen: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Random sets of as many channels whose mean distance is that of the chosen ones, within SPREAD.

    places : float64, (n_chans, 3), metres. Returns int, (n_sets, n_members). Raises NotPossible for too few of them.
    """
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
    wanted, k = _mean_distance(distance, chosen[None])[0], len(chosen)
    drawn = np.random.default_rng(seed).random((N_TRIES, len(places))).argpartition(k - 1, axis=1)[:, :k]
    near = np.abs(_mean_distance(distance, drawn) / wanted - 1) <= SPREAD
    found = np.unique(np.sort(drawn[near][:N_SETS], axis=1), axis=0)
    if len(found) < FEWEST_SETS:
        raise NotPossible(f"only {len(found)} other sets of {k} electrodes are as far apart as these")
    return found


def _mean_distance(distance: np.ndarray, sets: np.ndarray) -> np.ndarray:
    k = sets.shape[1]
    return distance[sets[:, :, None], sets[:, None, :]].sum(axis=(1, 2)) / (k * (k - 1))


def rows(cohort: Cohort, target: BrainTarget) -> list[Row]:
    """Mean r of the study's electrodes in γ, as it is and without the mean over channels."""
    by_name = {name.lower(): place for place, name in enumerate(cohort.ch_names)}
    missing = [site for site in SITES if site.lower() not in by_name]
    if missing or BAND not in cohort.band_names:
        raise NotPossible(f"the data set has no {', '.join(missing) or f'{BAND} band'}")
    chosen = np.array([by_name[site.lower()] for site in SITES])
    band = cohort.band_names.index(BAND)
    others = sets_of_same_spread(positions(cohort.ch_names), chosen)
    of_subjects = cohort.subject_means()[..., band]
    found = []
    for protocol, prepare in (("clips", _as_is), ("clips, mean over channels taken off", _without_mean)):
        values = prepare(cohort.clip_means()[..., band])
        observed, null = mean_correlation(values, chosen), mean_correlation(values, others)
        low, high = interval(of_subjects, partial(_of_one_set, prepare=prepare, chosen=chosen), observed[None])
        everyone = mean_correlation(values, np.arange(len(cohort.ch_names)))
        found.append(
            Row(
                analysis="network",
                protocol=protocol,
                item=f"{BAND}: {' '.join(SITES)}",
                value=float(observed),
                ci_low=float(low[0]),
                ci_high=float(high[0]),
                p=float((1 + (null >= observed).sum()) / (1 + len(null))),
                n=len(values),
                null=f"{len(null):,} random sets of {len(SITES)} electrodes as far apart, as large or larger",
                note=f"{null.mean():.3f} in the mean of these sets, {everyone:.3f} of all electrodes; {SUBJECTS}",
            )
        )
    return found


def _of_one_set(values: np.ndarray, *, prepare: Callable[[np.ndarray], np.ndarray], chosen: np.ndarray) -> np.ndarray:
    return mean_correlation(prepare(values), chosen[None])


def _as_is(values: np.ndarray) -> np.ndarray:
    return values


def _without_mean(values: np.ndarray) -> np.ndarray:
    return values - values.mean(axis=-1, keepdims=True)
