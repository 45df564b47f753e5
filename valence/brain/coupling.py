"""Stage brain: theta–gamma coupling. Signals, a cohort and a target in; how strongly the phase of one band steers the
amplitude of another in each clip and channel, and its r with the target, as rows, out.

Modulation index of Tort et al. 2010, doi 10.1152/jn.00106.2010: 18 bins of phase, Kullback–Leibler divergence of mean
amplitude from a uniform one, divided by ln 18. It grows with noise and shrinks with length. So it is given in standard
deviations from the same index with the amplitude moved against the phase, around the clip, by every lag of a second or
more. Sharp waves and muscle couple bands, too: an index above chance is no proof of nested rhythms.
"""

from collections.abc import Callable

import numpy as np
import scipy.fft
from scipy.signal import hilbert

from valence.brain.cohort import BrainTarget, Cohort, over_subjects
from valence.brain.correlations import class_orders, correlations, share_as_large
from valence.brain.rows import NotPossible, Row
from valence.brain.subject_statistics import interval_of_mean
from valence.datasets.base import Dataset
from valence.features import Band, band_passed

THETA, GAMMA = Band("theta", 4, 8), Band("gamma", 30, 47)
N_BINS = 18
SHORTEST_LAG_S = 1.0
"""a lag at which theta of this bandwidth has forgotten its phase"""
SHORTEST_CLIP_S = 5.0
LOWEST_SFREQ = 100.0
"""Hz; phase of theta and envelope of gamma change slowly, so samples in between are left out"""
N_ORDERS = 2_000


def modulation_by_lag(phase: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    """Modulation index at every circular lag of the amplitude behind the phase.

    Parameters
    ----------
    phase : float, (n_times,), radians.
    amplitude : float, (n_times,), not negative.

    Returns
    -------
    float64, (n_times,): 0 … 1; the first is the index itself.
    """
    n = len(phase)
    bins = np.floor((phase + np.pi) / (2 * np.pi) * N_BINS).astype(int) % N_BINS
    inside = (bins == np.arange(N_BINS)[:, None]).astype(np.float64)
    products = scipy.fft.rfft(inside).conj() * scipy.fft.rfft(amplitude)
    sums = np.maximum(scipy.fft.irfft(products, n), 0)
    means = sums / np.maximum(inside.sum(axis=1), 1)[:, None]
    shares = means / np.maximum(means.sum(axis=0), 1e-300)
    # a share of 0 adds nothing: x·ln x → 0
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=0)
    return (np.log(N_BINS) - entropy) / np.log(N_BINS)


def coupling(x_uv: np.ndarray, *, sfreq: float, phase_band: Band = THETA, amplitude_band: Band = GAMMA) -> np.ndarray:
    """Modulation index of each channel, in standard deviations from that at lags of a second and more.

    Parameters
    ----------
    x_uv : float, (n_chans, n_times), µV.
    sfreq : Hz, more than twice the higher edge of the amplitude's band.

    Returns
    -------
    float64, (n_chans,); NaN for a clip shorter than SHORTEST_CLIP_S and for a channel that is constant.

    Raises
    ------
    BadInput : where a band does not fit below half the sampling rate.
    """
    if x_uv.shape[1] < SHORTEST_CLIP_S * sfreq:
        return np.full(len(x_uv), np.nan)
    slow, fast = band_passed(np.asarray(x_uv, dtype=np.float64), sfreq=sfreq, bands=(phase_band, amplitude_band))
    step = max(1, int(sfreq // LOWEST_SFREQ))
    phase, amplitude = np.angle(hilbert(slow))[:, ::step], np.abs(hilbert(fast))[:, ::step]
    shortest = round(SHORTEST_LAG_S * sfreq / step)
    found = np.full(len(x_uv), np.nan)
    for channel, (angle, size) in enumerate(zip(phase, amplitude)):
        if size.max() > 1e-9:
            by_lag = modulation_by_lag(angle, size)
            moved = by_lag[shortest : len(by_lag) - shortest]
            found[channel] = (by_lag[0] - moved.mean()) / moved.std()
    return found


def coupling_of_cohort(
    cohort: Cohort, dataset: Dataset, *, on_subject: Callable[[int, int], object] = lambda done, total: None
) -> np.ndarray:
    """`coupling` of every subject, one recording in memory at a time.

    Returns
    -------
    float64, (n_subjects, n_clips, n_chans); NaN for clips and subjects without signals.

    Raises NotPossible where the data set has no signals of this cohort; BadInput as `Dataset.load` does.
    """
    if "windows" not in dataset.inputs:
        raise NotPossible(f"the data set {dataset.name} is here without its signals")
    keep = [dataset.ch_names.index(name) for name in cohort.ch_names]
    subjects = [name for name in cohort.subjects if name in set(dataset.subjects("windows"))]
    if not subjects:
        raise NotPossible("there are signals of none of these subjects")
    found = np.full((len(cohort.subjects), len(cohort.class_of_clip), len(keep)), np.nan)
    for done, subject in enumerate(subjects):
        on_subject(done, len(subjects))
        own = found[cohort.subjects.index(subject)]
        for clip, x_uv in enumerate(dataset.load(subject, "windows").clips):
            own[clip] = coupling(x_uv[keep], sfreq=dataset.loaded_sfreq)
    on_subject(len(subjects), len(subjects))
    return found


def rows(
    cohort: Cohort,
    target: BrainTarget,
    dataset: Dataset,
    *,
    on_subject: Callable[[int, int], object] = lambda done, total: None,
    seed: int = 0,
) -> list[Row]:
    """How much coupling there is, and its r with the target over clips in each channel. Slow: it reads all signals."""
    found = coupling_of_cohort(cohort, dataset, on_subject=on_subject)
    return coupling_rows(cohort, target, found, seed=seed)


def coupling_rows(cohort: Cohort, target: BrainTarget, found: np.ndarray, *, seed: int = 0) -> list[Row]:
    """Rows of `coupling_of_cohort`, (n_subjects, n_clips, n_chans)."""
    found = found[np.isfinite(found).any(axis=(1, 2))]
    if not len(found):
        raise NotPossible("no clip is long enough, or all signals are constant")
    means = over_subjects(found)
    of_subjects = np.nanmean(found, axis=(1, 2))
    low, high = interval_of_mean(of_subjects)
    orders, words = class_orders(target.clip_values, cohort.class_of_clip, n_orders=N_ORDERS, seed=seed)
    r, null = correlations(means, target.clip_values), correlations(means, orders)
    names = cohort.ch_names
    best, largest = int(np.nanargmax(np.abs(r))), np.nanmax(np.abs(null), axis=1)
    n = len(target.clip_values)
    level = Row(
        analysis="coupling",
        protocol="modulation index, standard deviations above other lags",
        item="mean over clips and channels",
        value=float(of_subjects.mean()),
        ci_low=low,
        ci_high=high,
        n=len(of_subjects),
        null="interval: t over subjects",
        note="0 without coupling; muscle and sharp waves couple bands as well",
    )
    strongest = Row(
        analysis="coupling",
        protocol="r with the target, best of all channels",
        item=names[best],
        value=float(r[best]),
        p=share_as_large(abs(r[best]), largest),
        n=n,
        null=f"largest |r| of {len(names)} channels, {words}",
    )
    size, of_null = float(np.nanmean(np.abs(r))), np.nanmean(np.abs(null), axis=1)
    mean = Row(
        analysis="coupling",
        protocol="r with the target, mean size",
        item="all channels",
        value=size,
        p=share_as_large(size, of_null),
        n=n,
        null=f"{words}, mean {of_null.mean():.3f}",
    )
    channels = [
        Row(
            analysis="coupling",
            protocol="r with the target",
            item=name,
            value=float(value),
            p=share_as_large(abs(value), np.abs(null[:, at])),
            n=n,
            null=f"{words}, this channel alone",
        )
        if np.isfinite(value)
        else Row(analysis="coupling", protocol="r with the target", item=name, reason="a constant channel")
        for at, (name, value) in enumerate(zip(names, r))
    ]
    return [level, strongest, mean, *channels]
