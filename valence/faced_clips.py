"""Recordings: the end of every clip of one FACED recording. BDF file, spans and steps in, clips in µV out.

Filters: each clip is read with `margin_s` of signal on both sides, the reach of mne's FIR band-pass (33 s at 0.05 Hz),
so that inside the clip the result is that of filtering the whole recording. On 1/f noise with a drift the two differ by
1e-13 of the root mean square, with margins of 10 s by 5 % and without any, as the authors filter, by 45 %.
What mixes channels (interpolation, ICA, average reference) is done once, on all clips of the subject together: it
commutes with what works along time, and bad channels and components are then the same in all clips.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from valence.dataset_checks import PLAUSIBLE_RMS_UV
from valence.errors import BadInput
from valence.faced_bdf import CH_NAMES, N_COMMON, open_bdf, standard_name
from valence.faced_stimuli import STIMULI
from valence.processing import Processing, process, to_raw
from valence.raw_steps import NOTCH_SLOPE_HZ, slopes_hz

if TYPE_CHECKING:
    import mne

TAIL_S = 30.0
"""the end of every clip, which is all that the authors use"""
DURATION_TOLERANCE_S = 1.0
"""the 3,444 published spans differ by -0.5 to 0.9 s from the durations of the clips, but for the longer clip 22"""
OFFICIAL = Processing(
    name="faced-official", low_hz=0.05, high_hz=47.0, sfreq_hz=250.0, interpolate="detected", reference="average"
)
"""the authors' pipeline without its ocular ICA, whose choice of components cannot be repeated: they fixed no seed"""


@dataclass(frozen=True)
class Span:
    """When a clip was on, seconds from the start of the recording."""

    onset_s: float
    offset_s: float


def margin_s(processing: Processing, sfreq: float) -> int:
    """Whole seconds of signal that the filters reach to either side of a sample, and one more for the resampling."""
    slopes = slopes_hz(processing.low_hz, processing.high_hz)
    if processing.high_hz:
        slopes = (*slopes, sfreq / 2 - processing.high_hz)
    # 3.3 / slope is the length of mne's Hamming windows; filters one after the other add their reach
    reach = 3.3 / 2 / min(slopes) if slopes else 0.0
    reach += 3.3 / 2 / (NOTCH_SLOPE_HZ / 2) if processing.notch_hz else 0.0
    return 1 + math.ceil(reach)


def at_one_rate(processing: Processing) -> Processing:
    """The same steps at 250 Hz where they name no rate: recordings have 1,000 or 250 Hz, and a data set has one."""
    return dataclasses.replace(processing, sfreq_hz=processing.sfreq_hz or OFFICIAL.sfreq_hz)


def read_clips(
    path: Path, spans: Sequence[Span | None], processing: Processing, *, bads: Sequence[str] = ()
) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """The last 30 s of every clip of a recording, processed.

    Parameters
    ----------
    path : BDF file with the 30 common channels.
    spans : of clips 1, 2, …; None where a clip has none.
    processing : the steps; `sfreq_hz` 0 keeps the rate of the file.
    bads : channels that the data set marks bad.

    Returns
    -------
    float64 arrays, (30, n_times), µV, one a clip; n_times is 0 where the recording does not hold its last 30 s.
    Repairs: one sentence for everything mended or left out, with the file's name.

    Raises
    ------
    BadInput : naming the file, where it is damaged, lacks a channel, or no clip can be read.
    """
    raw, to_uv, repairs = open_bdf(path)
    sfreq = raw.info["sfreq"]
    along_time = dataclasses.replace(processing, interpolate="", reference="", ica_components=0)
    cuts: list[np.ndarray] = []
    notes: dict[str, list[int]] = {}
    for clip, span in enumerate(spans, start=1):
        left_out = _unreadable(span, raw.n_times / sfreq)
        if span is None or left_out:
            repairs.append(f"{path}: clip {clip} is left out: {left_out}")
            cuts.append(np.zeros((N_COMMON, 0)))
            continue
        cut, said = _cut(raw, to_uv, span, along_time)
        cuts.append(cut)
        for sentence in said:
            notes.setdefault(sentence, []).append(clip)
    for sentence, clips in notes.items():
        repairs.append(f"{path}: {sentence} (clips {', '.join(str(clip) for clip in clips)})")
    n_times = [cut.shape[1] for cut in cuts]
    if not any(n_times):
        raise BadInput(
            f"{path}: no clip can be read", allowed="recordings of the clips", do="remove the subject's files"
        )
    x = _plausible(np.concatenate(cuts, axis=1), path, repairs)
    across_channels = dataclasses.replace(processing, low_hz=0.0, high_hz=0.0, notch_hz=0.0, sfreq_hz=0.0)
    joined = to_raw(x, sfreq=processing.sfreq_hz or sfreq, ch_names=CH_NAMES)
    joined.info["bads"] = [name for name in CH_NAMES if name in {standard_name(bad) for bad in bads}]
    done, said = process(joined, across_channels)
    repairs += [f"{path}: {sentence}" for sentence in said]
    return np.split(done.get_data() * 1e6, np.cumsum(n_times)[:-1], axis=1), tuple(repairs)


def _unreadable(span: Span | None, duration_s: float) -> str:
    """Why the last 30 s of a clip cannot be had, in words; "" where they can."""
    if span is None:
        return "it has no start and end in the recording"
    if span.offset_s - span.onset_s < TAIL_S:
        return f"it lasts {span.offset_s - span.onset_s:.1f} s, and {TAIL_S:g} s are used"
    if span.offset_s > duration_s:
        return f"it ends at {span.offset_s:.1f} s and the recording at {duration_s:.1f} s"
    return ""


def _cut(raw: "mne.io.BaseRaw", to_uv: float, span: Span, processing: Processing) -> tuple[np.ndarray, tuple[str, ...]]:
    """The end of one clip, (30, n_times) in µV, processed along time with its margins."""
    sfreq = raw.info["sfreq"]
    start = round((span.offset_s - TAIL_S) * sfreq)
    stop = start + round(TAIL_S * sfreq)
    # whole seconds: the clip then begins on a sample of the new rate as well
    before = math.floor(min(margin_s(processing, sfreq), start / sfreq))
    after = math.floor(min(margin_s(processing, sfreq), (raw.n_times - stop) / sfreq))
    x = raw.get_data(start=start - round(before * sfreq), stop=min(stop + round(after * sfreq), raw.n_times))
    done, said = process(to_raw(x * to_uv, sfreq=sfreq, ch_names=CH_NAMES), processing)
    rate = processing.sfreq_hz or sfreq
    first = round(before * rate)
    return done.get_data()[:, first : first + round(TAIL_S * rate)] * 1e6, said


def _plausible(x: np.ndarray, path: Path, repairs: list[str]) -> np.ndarray:
    """The signal in µV, where its amplitude says that the header's unit is wrong by the factor between V and µV."""
    low, high = PLAUSIBLE_RMS_UV
    rms = float(np.median(x.std(axis=1)))
    for factor, units in ((1.0, ""), (1e6, "V"), (1e-6, "a millionth of µV")):
        if low <= rms * factor <= high:
            if units:
                repairs.append(f"{path}: a median root mean square of {rms:.3g} µV shows numbers in {units}: converted")
            return x * factor
    raise BadInput(
        f"{path}: a median root mean square of {rms:.3g} µV",
        allowed=f"{low:g} to {high:g} µV, or a millionth or a million times that",
        do="correct the unit in the header, or remove the subject's files",
    )


def unusual_durations(spans: Sequence[Span | None], source: Path) -> tuple[str, ...]:
    """A sentence where clips lasted longer or shorter than published; sub036 to sub060 watched 84 s of clip 22."""
    told = [
        f"clip {clip} {span.offset_s - span.onset_s:.1f} s (published {stimulus.duration_s:g} s)"
        for clip, (span, stimulus) in enumerate(zip(spans, STIMULI), start=1)
        if span and abs(span.offset_s - span.onset_s - stimulus.duration_s) > DURATION_TOLERANCE_S
    ]
    return (f"{source}: lasted other than published: {', '.join(told)}",) if told else ()
