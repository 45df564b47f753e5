"""Stage brain: right against left. A cohort and a target in, differences of homologous electrodes out.

The study prints "α right − left" of three pairs without a formula. What fits its numbers on the same feature files is
differential entropy right minus left, in nats, in clips of positive classes minus clips of negative classes; that is
what `rows` gives, of all pairs. In what it is different between people it is against the spread over subjects; in what
it says of valence, against the placements of −, 0 and + over the classes.
"""

import re

import numpy as np
from scipy import stats

from valence.brain.class_null import ROUNDING, class_null
from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.correlations import class_orders
from valence.brain.rows import NotPossible, Row
from valence.montage import positions

STUDY_PAIRS = (("F4", "F3"), ("F8", "F7"), ("Fp2", "Fp1"))
MIRROR_M = 0.02
"""how far from its partner's mirror image an electrode may lie"""
DIFFERENCE, CORRELATION = "positive - negative clips, nats", "r over clips"
_SITE = re.compile(r"(.*?)(\d+)(h?)", re.IGNORECASE)


def homologous_pairs(ch_names: tuple[str, ...]) -> list[tuple[int, int]]:
    """Right and left channel of every pair: even and odd number by name, mirror images by position.

    Raises BadInput for channels that the montage does not know, or a pair that its positions contradict.
    """
    by_name = {name.lower(): place for place, name in enumerate(ch_names)}
    places, pairs = positions(ch_names), []
    for name, left in by_name.items():
        match = _SITE.fullmatch(name)
        if not match or int(match[2]) % 2 == 0:
            continue
        right = by_name.get(f"{match[1]}{int(match[2]) + 1}{match[3]}")
        if right is not None and np.linalg.norm(places[right] * (-1, 1, 1) - places[left]) < MIRROR_M:
            pairs.append((right, left))
    return pairs


def right_minus_left(values: np.ndarray, pairs: list[tuple[int, int]]) -> np.ndarray:
    """(..., n_chans, n_bands) to (..., n_pairs, n_bands)."""
    right, left = np.array(pairs).T
    return values[..., right, :] - values[..., left, :]


def contrast_weights(codes: np.ndarray) -> np.ndarray:
    """Codes −1, 0, +1 of clips, (..., n_clips), to weights that give the mean of + minus the mean of −."""
    positive, negative = codes > 0, codes < 0
    return positive / positive.sum(axis=-1, keepdims=True) - negative / negative.sum(axis=-1, keepdims=True)


def rows(cohort: Cohort, target: BrainTarget) -> list[Row]:
    """Right minus left, positive minus negative clips, of all pairs and bands; and its correlation with the target."""
    pairs = homologous_pairs(cohort.ch_names)
    if not pairs:
        raise NotPossible("no two electrodes are mirror images of each other")
    names = [f"{cohort.ch_names[right]}-{cohort.ch_names[left]}" for right, left in pairs]
    items = [f"{name} {band}" for name in names for band in cohort.band_names]
    return [*_differences(cohort, pairs, items), *_correlations(cohort, target, pairs, items)]


def _differences(cohort: Cohort, pairs: list[tuple[int, int]], items: list[str]) -> list[Row]:
    codes = cohort.signs[cohort.class_of_clip].astype(np.float64)
    if not ((codes > 0).any() and (codes < 0).any()):
        raise NotPossible("the data set has no clips of positive or none of negative classes")
    weights = contrast_weights(codes)
    of_clips = right_minus_left(cohort.clip_means(), pairs).reshape(len(codes), -1)
    observed = weights @ of_clips
    orders, words = class_orders(codes, cohort.class_of_clip, n_orders=100_000)
    permuted = np.abs(contrast_weights(np.round(orders)) @ of_clips)
    p = (permuted >= np.abs(observed) - ROUNDING).mean(axis=0)
    of_subjects = right_minus_left(cohort.subject_means(), pairs).reshape(len(cohort.subjects), len(codes), -1)
    low, high, n = interval_over_subjects(of_subjects, codes)
    return [
        Row(
            analysis="asymmetry",
            protocol=DIFFERENCE,
            item=item,
            value=float(observed[place]),
            ci_low=float(low[place]),
            ci_high=float(high[place]),
            p=float(p[place]),
            n=n,
            null=f"p: {words} of -, 0 and +; interval: Student's t over subjects, clips fixed",
        )
        for place, item in enumerate(items)
    ]


def interval_over_subjects(values: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """95 % interval of the contrast by Student's t over subjects, and how many there are.

    values : float, (n_subjects, n_clips, n_cells). Subjects who lack a clip are left out.
    """
    contrasts = np.einsum("c,sck->sk", contrast_weights(codes), values)
    contrasts = contrasts[np.isfinite(contrasts).all(axis=1)]
    n = len(contrasts)
    if n < 2:
        nothing = np.full(values.shape[-1], np.nan)
        return nothing, nothing, n
    reach = stats.t.ppf(0.975, n - 1) * contrasts.std(axis=0, ddof=1) / np.sqrt(n)
    return contrasts.mean(axis=0) - reach, contrasts.mean(axis=0) + reach, n


def _correlations(cohort: Cohort, target: BrainTarget, pairs: list[tuple[int, int]], items: list[str]) -> list[Row]:
    """r of right minus left with the target over clips, of the study's pairs and the strongest."""
    of_clips = right_minus_left(cohort.clip_means(), pairs).reshape(len(cohort.class_of_clip), -1)
    null = class_null(target.clip_values, cohort.class_of_clip)
    r = null.r(of_clips)
    largest = np.concatenate([np.abs(block).max(axis=1) for block in null.blocks(of_clips)])
    study = {f"{right}-{left}".lower() for right, left in STUDY_PAIRS}
    top = int(np.argmax(np.abs(r)))
    return [
        Row(
            analysis="asymmetry",
            protocol=CORRELATION,
            item=item,
            value=float(r[place]),
            p=float(np.mean(largest >= abs(r[place]) - ROUNDING)),
            n=len(of_clips),
            null=f"largest |r| of {len(items)} pairs and bands, {null.words}",
            note="the strongest of all" if place == top else "",
        )
        for place, item in enumerate(items)
        if place == top or item.split()[0].lower() in study
    ]
