"""Steps of processing: an mne Raw is changed in place, sentences on what was mended come out.

All filters are mne's FIR filters, applied once and forward with their delay taken out (zero phase), designed with
`scipy.signal.firwin` and a Hamming window. Their length is 3.3 seconds over the width of the narrowest slope in Hz.
"""

import math
import warnings
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from valence.bad_channels import find_bad_channels
from valence.errors import BadInput
from valence.preprocessing import resampled_n_times

if TYPE_CHECKING:
    import mne

MONTAGE = "colin27_1020"
MASTOIDS = ("A1", "A2", "M1", "M2")
FRONTAL = ("FP1", "FP2", "FPZ", "AF7", "AF8")
OCULAR_PEAKS = (*FRONTAL, "AF3", "AF4", "F7", "F8")
"""where eye movements are strongest on the scalp: blinks at the forehead, glances at the sides"""
NOTCH_SLOPE_HZ = 1.0
"""of both slopes of a notch together"""
MAX_BAD_SHARE = 0.5
"""a recording with more of its EEG channels bad is refused: too little is left to interpolate from"""
ICA_BAND_HZ = (1.0, 40.0)
"""components are fitted to this band: drift would take most of them"""
ICA_SFREQ_HZ = 100.0
ICA_SEED = 0
ICA_LEAST_S = 20.0
OCULAR_CORRELATION = 0.7
"""a component is ocular where its absolute correlation (1 to 10 Hz) with a frontal or EOG channel reaches this"""
RESAMPLE_PADDING = 100
"""samples by which a recording is continued at least, on both sides, before it is resampled"""
RANK_SHARE = 1e-8
"""an eigenvalue of the covariance below this share of the largest is no dimension of its own"""


def notch(raw: "mne.io.BaseRaw", mains_hz: float) -> list[str]:
    """Take out the mains frequency and its harmonics: notches f/200 Hz wide with slopes of half a hertz."""
    sfreq = raw.info["sfreq"]
    harmonics = np.arange(mains_hz, sfreq / 2 - NOTCH_SLOPE_HZ - sfreq / 800, mains_hz)
    said = _prepare_filter(raw, NOTCH_SLOPE_HZ / 2, f"{mains_hz:g}-Hz notch", constant_passes=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "filter_length .* is longer than the signal")
        raw.notch_filter(harmonics, picks=_eeg_and_eog(raw), trans_bandwidth=NOTCH_SLOPE_HZ, verbose="warning")
    return said


def slopes_hz(low_hz: float, high_hz: float) -> tuple[float, ...]:
    """Widths of the slopes below low_hz and above high_hz by mne's rule; 0 is no edge.

    The slope lies outside the pass band; the amplitude has fallen to one half in its middle. The upper one is narrower
    where half the sampling rate is nearer.
    """
    below = (min(max(low_hz / 4, 2.0), low_hz),) if low_hz else ()
    return (*below, max(high_hz / 4, 2.0)) if high_hz else below


def band_pass(raw: "mne.io.BaseRaw", low_hz: float, high_hz: float) -> list[str]:
    """Band-pass with mne's own slopes; an edge of 0 is none."""
    narrowest = min(*slopes_hz(low_hz, high_hz), raw.info["sfreq"] / 2 - high_hz)
    said = _prepare_filter(raw, narrowest, f"{low_hz or high_hz:g}-Hz filter", constant_passes=not low_hz)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "filter_length .* is longer than the signal")
        raw.filter(low_hz or None, high_hz or None, picks=_eeg_and_eog(raw), verbose="warning")
    return said


def _prepare_filter(raw: "mne.io.BaseRaw", slope_hz: float, name: str, *, constant_passes: bool) -> list[str]:
    """Say where a filter is longer than the recording, and then centre the channels that it would centre itself.

    mne continues a signal by its mirror image, turned over, for at most its own length and by zeros beyond. An offset
    makes a step there, which a high-pass longer than three signals carries into the recording.
    """
    length_s, recording_s = 3.3 / slope_hz, raw.n_times / raw.info["sfreq"]
    if length_s <= recording_s:
        return []
    if not constant_passes:
        raw.apply_function(lambda x: x - x.mean(), picks=_eeg_and_eog(raw), verbose="error")
    return [
        f"the {name} ({length_s:.3g} s) is longer than the recording ({recording_s:.3g} s): slow parts near its edge"
        " depend on how the ends are continued"
    ]


def interpolate(raw: "mne.io.BaseRaw", *, detect: bool) -> list[str]:
    """Interpolate bad channels from the good ones by spherical splines (Perrin and others 1989).

    Bad are those in raw.info["bads"] and, with `detect`, those of `valence.bad_channels`. One without a position in
    the recording or in the standard montage stays as it is and stays marked.
    """
    import mne

    if raw.get_montage() is None:
        raw.set_montage(mne.channels.make_standard_montage(MONTAGE), match_case=False, on_missing="ignore")
    eeg = mne.pick_types(raw.info, eeg=True, exclude=[])
    names = [raw.ch_names[channel] for channel in eeg]
    positions = np.array([raw.info["chs"][channel]["loc"][:3] for channel in eeg])
    positions[~positions.any(axis=1)] = np.nan
    reasons = {name: "marked bad" for name in names if name in raw.info["bads"]}
    if detect:
        alone = np.array([name.upper() in MASTOIDS for name in names])
        x_uv = raw.get_data(picks=eeg, verbose="error") * 1e6
        found = find_bad_channels(x_uv, sfreq=raw.info["sfreq"], positions=positions, alone=alone)
        reasons = {names[channel]: reason for channel, reason in found.items()} | reasons
    if len(reasons) > MAX_BAD_SHARE * len(names):
        listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise BadInput(
            f"{len(reasons)} of {len(names)} channels are bad ({listed})",
            allowed=f"at most {MAX_BAD_SHARE:.0%} of the channels",
            do="check unit and reference of the recording, or leave it out",
        )
    unplaced = [name for name, position in zip(names, positions) if not np.isfinite(position).all()]
    placed = [name for name in names if name in reasons and name not in unplaced]
    others = [name for name in raw.ch_names if name in {*raw.info["bads"], *reasons} and name not in placed]
    if placed:
        raw.info["bads"] = [*placed, *others]
        # mne refuses channels of this type that have no place, even good ones
        raw.set_channel_types(dict.fromkeys(unplaced, "misc"), on_unit_change="ignore", verbose="error")
        raw.interpolate_bads(reset_bads=True, mode="accurate", verbose="error")
        raw.set_channel_types(dict.fromkeys(unplaced, "eeg"), on_unit_change="ignore", verbose="error")
    raw.info["bads"] = others
    return [
        f"interpolated {name}: {reasons[name]}"
        if name in placed
        else f"left {name} bad, its place is not known: {reasons[name]}"
        for name in names
        if name in reasons
    ]


def remove_ocular(raw: "mne.io.BaseRaw", n_components: int) -> list[str]:
    """Remove independent components that follow the eyes.

    FastICA (Hyvärinen 1999) with a fixed seed is fitted to the good EEG channels at 1 to 40 Hz and 100 Hz. A component
    is ocular where it correlates with an EOG channel as `OCULAR_CORRELATION` says, or does so with a frontal EEG
    channel and is itself strongest at one of `OCULAR_PEAKS`. At most as many components are fitted as the channels
    have dimensions. Frontal activity of the brain that is that alike would go too.
    """
    import mne

    eog = [raw.ch_names[channel] for channel in mne.pick_types(raw.info, eog=True)]
    guides = [name for name in raw.ch_names if name.upper() in FRONTAL and name not in raw.info["bads"]] + eog
    duration_s = raw.n_times / raw.info["sfreq"]
    if not guides or duration_s < ICA_LEAST_S:
        raise BadInput(
            f"ICA on {duration_s:.3g} s with {', '.join(guides) or 'no frontal and no EOG channel'}",
            allowed=f"{ICA_LEAST_S:g} s or more with one of {', '.join(FRONTAL)} or an EOG channel",
            do="leave ica_components at 0",
        )
    fitted, ica, said = _fit_ica(raw, n_components)
    _, scores = ica.find_bads_eog(fitted, ch_name=guides, measure="correlation", verbose="error")
    correlation = np.atleast_2d(np.asarray(scores)).T
    strongest = np.abs(correlation).argmax(axis=1)
    peaks = [ica.ch_names[channel] for channel in np.abs(ica.get_components()).argmax(axis=0)]
    ocular = []
    for component, (guide, peak) in enumerate(zip(strongest, peaks)):
        r, name = correlation[component, guide], guides[guide]
        if abs(r) >= OCULAR_CORRELATION and (name in eog or peak.upper() in OCULAR_PEAKS):
            ocular.append(component)
            said.append(
                f"removed independent component {component + 1} of {len(peaks)}: ocular (correlation {r:+.2f} with"
                f" {name}, strongest at {peak})"
            )
    if ocular:
        ica.apply(raw, exclude=ocular, verbose="error")
    return said


def _fit_ica(raw: "mne.io.BaseRaw", n_components: int) -> tuple["mne.io.BaseRaw", "mne.preprocessing.ICA", list[str]]:
    """The filtered signal that an ICA was fitted to, the ICA, and a sentence where it did not converge."""
    import mne

    sfreq = raw.info["sfreq"]
    fitted = raw.copy().pick(_eeg_and_eog(raw), verbose="error")
    fitted.filter(ICA_BAND_HZ[0], min(ICA_BAND_HZ[1], 0.4 * sfreq), picks="all", verbose="error")
    if sfreq > ICA_SFREQ_HZ:
        fitted.resample(ICA_SFREQ_HZ, verbose="error")
    eigenvalues = np.linalg.eigvalsh(np.cov(fitted.get_data(picks=mne.pick_types(fitted.info, eeg=True))))
    rank = int((eigenvalues > RANK_SHARE * eigenvalues[-1]).sum())
    ica = mne.preprocessing.ICA(min(n_components, rank), method="fastica", random_state=ICA_SEED, verbose="error")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ica.fit(fitted, picks="eeg", verbose="error")
    failed = any("converge" in str(warning.message) for warning in caught)
    return fitted, ica, ["ICA did not converge"] if failed else []


def average_reference(raw: "mne.io.BaseRaw") -> None:
    """Subtract the mean of the good EEG channels from all of them."""
    import mne

    bads, good = raw.info["bads"], [raw.ch_names[channel] for channel in mne.pick_types(raw.info, eeg=True)]
    raw.info["bads"] = []  # mne leaves bad channels at the old reference
    raw.set_eeg_reference(good, projection=False, ch_type="eeg", verbose="error")
    raw.info["bads"] = bads


def resample(raw: "mne.io.BaseRaw", new_sfreq: float) -> None:
    """Resample by cutting or extending the spectrum, as mne does, with padding that keeps time exact.

    mne pads to a power of two, which is mostly no whole number of new samples and so stretches time by up to half of
    one. A rest at the end that is no whole number of new samples is cut off.

    Raises
    ------
    BadInput : as `valence.preprocessing.resampled_n_times`.
    """
    sfreq = raw.info["sfreq"]
    n_new = resampled_n_times(raw.n_times, sfreq=sfreq, new_sfreq=new_sfreq)
    n_times = round(n_new * sfreq / new_sfreq)
    if n_times < raw.n_times:
        raw.crop(tmax=n_times / sfreq, include_tmax=False, verbose="error")
    step = Fraction(n_new, n_times).denominator
    padding = math.ceil(RESAMPLE_PADDING / step) * step
    while scipy.fft.next_fast_len(n_times + 2 * padding) != n_times + 2 * padding:
        padding += step
    raw.resample(new_sfreq, npad=padding, method="fft", verbose="error")


def _eeg_and_eog(raw: "mne.io.BaseRaw") -> np.ndarray:
    import mne

    return mne.pick_types(raw.info, eeg=True, eog=True, exclude=[])
