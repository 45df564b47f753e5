"""Stage brain: when the brain follows the target. A cohort and a target in, r by second, its peaks and clusters out.

Second s of a clip is compared over clips; the first step ends at second `step_s`. In FACED the stretch is the last half
minute of each clip; where clips differ in length it is what all of them have, from their beginning.

The null is one of classes: values are given to the classes in other orders, and peaks and clusters are sought anew in
each. mne's one-sample test over subjects flips the sign of a subject's whole curve instead: it asks whether people
agree in how they respond to these clips, to which a hundred people give p = .001 for any nine values that happen to
correlate with what clips do. Nine values is what there is, so they are what is permuted.
"""

from typing import Any

import numpy as np

from valence.brain.class_null import ROUNDING, ClassNull, class_null
from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.correlations import correlations
from valence.brain.resampled import SUBJECTS, interval, resampled
from valence.brain.rows import NotPossible, Row
from valence.brain.time_clusters import THRESHOLD, channel_rows, cluster_rows, threshold_of

CURVE = "time curve"
"""analysis whose rows are there to be drawn"""
PEAKS = "time peak of a subject"
"""a row a subject and band, in the table alone"""
CHANNEL_MEAN, MEAN_R = "mean over channels", "mean |r| over channels"
N_SAMPLED = 2_000
N_FOR_SUBJECTS = 200
FEWEST_STEPS = 4


def common_steps(de: np.ndarray) -> int:
    """Steps that every clip has in somebody's recording, from the first: of (n_subjects, n_clips, n_chans, n_steps,
    n_bands)."""
    there = np.isfinite(de[:, :, 0, :, 0]).any(axis=0)
    return int(np.logical_and.accumulate(there.all(axis=0)).sum())


def cohort_curves(cohort: Cohort) -> np.ndarray:
    """Mean over subjects at every common step: float64, (n_clips, n_chans, n_steps, n_bands).

    Each subject's mean over clips at a step is taken off first, so that clips do not differ by who lacks them.
    Raises NotPossible for fewer than four common steps.
    """
    n_steps = common_steps(cohort.de)
    if n_steps < FEWEST_STEPS:
        raise NotPossible(f"clips have {n_steps} steps in common: no course in time")
    total, counts = (
        np.zeros((len(cohort.class_of_clip), len(cohort.ch_names), n_steps, len(cohort.band_names))),
        np.zeros(()),
    )
    for de in cohort.de:
        deviations, there = _deviations(de[:, :, :n_steps])
        total += deviations
        counts = counts + there
    return total / counts


def _deviations(de: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is there of (n_clips, ...), from its mean over clips, 0 where nothing is; and where there is something."""
    there = np.isfinite(de)
    filled = np.where(there, de, 0.0).astype(np.float64)
    mean = filled.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    return np.where(there, filled - mean, 0.0), there


def subject_curves(cohort: Cohort) -> np.ndarray:
    """Mean over channels: float64, (n_subjects, n_clips, n_steps, n_bands); NaN where there is no recording."""
    n_steps = common_steps(cohort.de)
    return np.stack([de[:, :, :n_steps].mean(axis=1, dtype=np.float64) for de in cohort.de])


def rows(cohort: Cohort, target: BrainTarget) -> list[Row]:
    """Curves, peaks and clusters of the cohort, and where single subjects have their peak."""
    curves = cohort_curves(cohort)
    values, labels = np.asarray(target.clip_values), cohort.class_of_clip
    null, sample = class_null(values, labels), class_null(values, labels, n_orders=N_SAMPLED)
    mean = curves.mean(axis=1)
    n_clips, n_steps, n_bands = mean.shape
    r = null.r(mean.reshape(n_clips, -1)).reshape(n_steps, n_bands)
    of_subjects = subject_curves(cohort)
    drawn = resampled_curves(of_subjects, values)
    found = _curve_rows(cohort, r, of_subjects, values)
    found += _peak_rows(cohort, r, _null_of_peaks(mean, null), drawn, CHANNEL_MEAN, null.words)
    strength, permuted = mean_strength(curves, sample)
    found += _peak_rows(cohort, strength, permuted, None, MEAN_R, sample.words)
    threshold = threshold_of(mean.reshape(n_clips, -1), sample)
    found.append(Row(analysis=THRESHOLD, protocol=CHANNEL_MEAN, value=threshold, null=sample.words))
    found += cluster_rows(cohort, mean, null, threshold)
    found += channel_rows(cohort, curves, sample)
    return found + _subject_rows(cohort, of_subjects, values)


def resampled_curves(of_subjects: np.ndarray, values: np.ndarray) -> np.ndarray:
    """r of the mean over channels by step, for subjects drawn anew: float64, (n_draws, n_steps, n_bands)."""
    n_clips, shape = of_subjects.shape[1], of_subjects.shape[2:]
    flat = of_subjects.reshape(*of_subjects.shape[:2], -1)
    found = [correlations(block.reshape(-1, n_clips, flat.shape[2]), values) for block in resampled(flat)]
    return np.concatenate(found).reshape(-1, *shape)


def mean_strength(curves: np.ndarray, null: ClassNull) -> tuple[np.ndarray, np.ndarray]:
    """Mean |r| over channels: (n_steps, n_bands), and its largest over steps under each order: (n_orders, n_bands)."""
    n_clips, n_chans, n_steps, n_bands = curves.shape
    flat = curves.reshape(n_clips, -1)
    observed = np.abs(null.r(flat)).reshape(n_chans, n_steps, n_bands).mean(axis=0)
    permuted = [
        np.abs(block).reshape(-1, n_chans, n_steps, n_bands).mean(axis=1).max(axis=1)
        for block in null.blocks(flat, size=256)
    ]
    return observed, np.concatenate(permuted)


def _null_of_peaks(mean: np.ndarray, null: ClassNull) -> np.ndarray:
    """Largest |r| of any step under each order: float64, (n_orders, n_bands)."""
    blocks = null.blocks(mean.reshape(len(mean), -1))
    return np.concatenate([np.abs(block).reshape(len(block), *mean.shape[1:]).max(axis=1) for block in blocks])


def _curve_rows(cohort: Cohort, r: np.ndarray, of_subjects: np.ndarray, values: np.ndarray) -> list[Row]:
    flat = of_subjects.reshape(*of_subjects.shape[:2], -1)
    low, high = interval(flat, lambda left: correlations(left, values), r.ravel())
    low, high = low.reshape(r.shape), high.reshape(r.shape)
    return [
        Row(
            analysis=CURVE,
            protocol=CHANNEL_MEAN,
            item=f"{band} {(step + 1) * cohort.step_s:g} s",
            value=float(r[step, place]),
            ci_low=float(low[step, place]),
            ci_high=float(high[step, place]),
            n=len(cohort.class_of_clip),
            null=SUBJECTS,
        )
        for place, band in enumerate(cohort.band_names)
        for step in range(len(r))
    ]


def _peak_rows(
    cohort: Cohort, r: np.ndarray, permuted: np.ndarray, drawn: np.ndarray | None, protocol: str, words: str
) -> list[Row]:
    """Second and height of the largest |r| of each band; permuted (n_orders, n_bands), drawn (n_draws, …) or None."""
    found, n, bands = [], len(cohort.class_of_clip), cohort.band_names
    peaks = np.abs(r).argmax(axis=0)
    many = drawn is not None and len(cohort.subjects) > 1
    for place, band in enumerate(bands):
        height = float(r[peaks[place], place])
        ends: list[float | None] = [None, None]
        if drawn is not None and many:
            seconds = (np.abs(drawn[:, :, place]).argmax(axis=1) + 1) * cohort.step_s
            ends = np.quantile(seconds, [0.025, 0.975]).tolist()
        about: dict[str, Any] = {"analysis": "time peak", "item": band}
        found.append(
            Row(
                **about,
                protocol=f"second of the peak, {protocol}",
                value=float((peaks[place] + 1) * cohort.step_s),
                ci_low=ends[0],
                ci_high=ends[1],
                n=n,
                null="interval: the peak of subjects drawn anew, clips fixed" if many else "",
            )
        )
        for maxima, of in (
            (permuted[:, place], f"any of {len(r)} steps"),
            (permuted.max(axis=1), f"any of {len(r)} steps and {len(bands)} bands"),
        ):
            p = float(np.mean(maxima >= abs(height) - ROUNDING))
            about_r: dict[str, Any] = {
                "protocol": f"r at the peak, {protocol}",
                "null": f"largest |r| of {of}, {words}",
            }
            found.append(Row(**about, **about_r, value=height, p=p, n=n))
    return found


def _subject_rows(cohort: Cohort, of_subjects: np.ndarray, values: np.ndarray) -> list[Row]:
    """Median second of single subjects' peaks, and whether they lie nearer together than under other orders."""
    n_subjects, n_clips, n_steps, n_bands = of_subjects.shape
    if n_subjects < 2:
        return [Row(analysis="time peak", protocol="second of the peak, subjects", reason="one subject")]
    null = class_null(values, cohort.class_of_clip, n_orders=N_FOR_SUBJECTS)
    flat = of_subjects.reshape(n_subjects, n_clips, -1)
    shape = (n_subjects, n_steps, n_bands)
    seconds = _peaks(correlations(flat, values).reshape(shape)) * cohort.step_s
    spreads = np.stack([_peaks(correlations(flat, order).reshape(shape)).std(axis=0) for order in null.orders])
    spreads *= cohort.step_s
    medians = np.median(seconds[np.random.default_rng(0).integers(n_subjects, size=(1_000, n_subjects))], axis=1)
    found = [
        Row(analysis=PEAKS, protocol=subject, item=band, value=float(second), note="second of the largest |r|")
        for subject, of_bands in zip(cohort.subjects, seconds, strict=True)
        for band, second in zip(cohort.band_names, of_bands, strict=True)
    ]
    for place, band in enumerate(cohort.band_names):
        own, spread = seconds[:, place], float(seconds[:, place].std())
        low, high = np.quantile(medians[:, place], [0.025, 0.975])
        quarters = np.quantile(own, [0.25, 0.75])
        about: dict[str, Any] = {"analysis": "time peak", "item": band, "n": n_subjects}
        found.append(
            Row(
                **about,
                protocol="second of the peak, median of subjects",
                value=float(np.median(own)),
                ci_low=float(low),
                ci_high=float(high),
                null="interval: bootstrap over subjects",
                note=f"half of them between {quarters[0]:g} and {quarters[1]:g} s",
            )
        )
        found.append(
            Row(
                **about,
                protocol="second of the peak, sd over subjects",
                value=spread,
                p=float(np.mean(spreads[:, place] <= spread + ROUNDING)),
                null=f"{null.words}, nearer together",
                note=f"{spreads[:, place].mean():.1f} s in the mean of the null",
            )
        )
    return found


def _peaks(r: np.ndarray) -> np.ndarray:
    """(n_subjects, n_steps, n_bands) to the number, from 1, of the step with the largest |r|: (n_subjects, n_bands)."""
    return np.nan_to_num(np.abs(r)).argmax(axis=1) + 1
