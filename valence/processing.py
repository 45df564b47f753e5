"""Raw recordings to cleaned ones: an mne Raw and a Processing in, a new Raw and sentences on what was mended out.

Steps, each optional, always in this order: notch, band-pass, bad channels, ocular components, reference, resampling.
They work on the channels of type EEG, mastoids among them; channels of type EOG go through the filters and the
resampling, and help to find ocular components. `valence.raw_steps` says what each step does exactly.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from valence import raw_steps
from valence.cell import canonical_hash, cast_fields
from valence.errors import BadInput
from valence.registry import unknown_name

if TYPE_CHECKING:
    import mne

INTERPOLATE = ("", "marked", "detected")
REFERENCE = ("", "average")
EOG_NAMES = ("EOG", "HEO", "VEO", "HEOG", "VEOG", "HEOR", "HEOL", "VEOU", "VEOL")


@dataclass(frozen=True, kw_only=True)
class Processing:
    """What is done to a raw recording before it is cut; 0, "" or False: the step is not done."""

    name: str = "as-stored"
    low_hz: float = 0.0
    """lower edge of the band-pass"""
    high_hz: float = 0.0
    """upper edge of the band-pass"""
    notch_hz: float = 0.0
    """mains frequency; it and its harmonics below half the sampling rate are taken out"""
    sfreq_hz: float = 0.0
    """the recording is resampled to this, last"""
    interpolate: str = ""
    """channels that are interpolated: those that the data set marks bad ("marked"), or these and the ones that
    `valence.bad_channels` finds ("detected")"""
    reference: str = ""
    """"average": the mean of all EEG channels is subtracted"""
    ica_components: int = 0
    """number of independent components that ocular ones are looked for among, at most the rank of the recording"""

    def __post_init__(self) -> None:
        cast_fields(self)
        for field in ("low_hz", "high_hz", "notch_hz", "sfreq_hz", "ica_components"):
            value = getattr(self, field)
            if not (math.isfinite(value) and value >= 0):
                raise self._refused(f"{field} is {value}", "0 (step not done) or a positive number")
        if self.low_hz and self.high_hz and self.low_hz >= self.high_hz:
            raise self._refused(f"low_hz is {self.low_hz:g}, high_hz {self.high_hz:g}", "low_hz below high_hz")
        if self.sfreq_hz and max(self.low_hz, self.high_hz) > self.sfreq_hz / 2:
            got = f"a band-pass of {self.low_hz:g} to {self.high_hz:g} Hz at sfreq_hz {self.sfreq_hz:g}"
            raise self._refused(got, "edges up to half of sfreq_hz")
        if self.ica_components == 1:
            raise self._refused("ica_components is 1", "0 (no ICA) or 2 and more")
        for field, known in (("interpolate", INTERPOLATE), ("reference", REFERENCE)):
            if getattr(self, field) not in known:
                raise unknown_name(field, getattr(self, field), list(known))

    def _refused(self, got: str, allowed: str) -> BadInput:
        return BadInput(f"processing {self.name!r}: {got}", allowed=allowed, do="correct the processing")

    @property
    def steps(self) -> bool:
        """Whether anything is done at all."""
        return self != Processing(name=self.name)

    @cached_property
    def hash(self) -> str:
        """8 hex digits over all fields but the name."""
        fields = dataclasses.asdict(self)
        fields.pop("name")
        return canonical_hash(fields, 8)

    def describe(self) -> str:
        """The steps in words, in their order, for a paragraph on methods."""
        return "; ".join(_in_words(self)) or "signals as stored"


def to_raw(x_uv: np.ndarray, *, sfreq: float, ch_names: Sequence[str]) -> "mne.io.RawArray":
    """A recording as mne holds it.

    Parameters
    ----------
    x_uv : float array, (n_chans, n_times), µV.
    sfreq : samples per second, Hz.
    ch_names : channels; those of `EOG_NAMES` become EOG channels, all others EEG channels with their standard position.
    """
    import mne

    types = ["eog" if name.upper() in EOG_NAMES else "eeg" for name in ch_names]
    info = mne.create_info(list(ch_names), sfreq, types, verbose="error")
    return mne.io.RawArray(np.asarray(x_uv, dtype=np.float64) * 1e-6, info, verbose="error")


def process(raw: "mne.io.BaseRaw", processing: Processing) -> tuple["mne.io.BaseRaw", tuple[str, ...]]:
    """Clean a recording.

    Parameters
    ----------
    raw : continuous recording in mne's volts, with channel types and bad channels as the data set marks them.
    processing : the steps.

    Returns
    -------
    A new, loaded Raw with the same channels, and a sentence for everything that was mended, left out or could not be
    done as asked. Without any step the numbers are the same to the last bit; the same input gives the same output.

    Raises
    ------
    BadInput : where the steps do not fit the recording, or too few channels are good.
    """
    sfreq = raw.info["sfreq"]
    for field in ("low_hz", "high_hz", "notch_hz"):
        if (value := getattr(processing, field)) >= sfreq / 2:
            raise BadInput(
                f"processing {processing.name!r}: {field} is {value:g}, the recording has {sfreq:g} Hz",
                allowed=f"below {sfreq / 2:g} Hz, half the sampling rate",
                do="leave the step out, or correct the processing",
            )
    raw = raw.copy().load_data(verbose="error")
    repairs: list[str] = []
    if processing.notch_hz:
        repairs += raw_steps.notch(raw, processing.notch_hz)
    if processing.low_hz or processing.high_hz:
        repairs += raw_steps.band_pass(raw, processing.low_hz, processing.high_hz)
    if processing.interpolate:
        repairs += raw_steps.interpolate(raw, detect=processing.interpolate == "detected")
    if processing.ica_components:
        repairs += raw_steps.remove_ocular(raw, processing.ica_components)
    if processing.reference == "average":
        raw_steps.average_reference(raw)
    if processing.sfreq_hz and processing.sfreq_hz != sfreq:
        raw_steps.resample(raw, processing.sfreq_hz)
    return raw, tuple(repairs)


def _in_words(processing: Processing) -> list[str]:
    low, high, mains = processing.low_hz, processing.high_hz, processing.notch_hz
    words = []
    if mains:
        words.append(
            f"notch at {mains:g} Hz and its harmonics (zero-phase FIR, width f/200, slopes of"
            f" {raw_steps.NOTCH_SLOPE_HZ / 2:g} Hz)"
        )
    if low or high:
        name = f"band-pass {low:g}–{high:g} Hz" if low and high else "high-pass" if low else "low-pass"
        edges = f"{low:g}–{high:g} Hz" if low and high else f"{low or high:g} Hz"
        slopes = " and ".join(f"{slope:g} Hz" for slope in raw_steps.slopes_hz(low, high))
        words.append(f"{name.split()[0]} {edges} (zero-phase FIR, Hamming window, slopes of {slopes})")
    if processing.interpolate:
        which = "marked bad" if processing.interpolate == "marked" else "marked bad or found flat, outlying or apart"
        words.append(f"channels {which} interpolated by spherical splines")
    if processing.ica_components:
        words.append(
            f"ocular components out of {processing.ica_components} independent components (FastICA) removed, where"
            f" |r| ≥ {raw_steps.OCULAR_CORRELATION:g} with an EOG channel, or with a frontal one if strongest there"
        )
    if processing.reference:
        words.append("average reference")
    if processing.sfreq_hz:
        words.append(f"resampled to {processing.sfreq_hz:g} Hz in the frequency domain")
    return words
