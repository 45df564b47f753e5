"""Online use, the preparation: pieces of a stream in, windows as members take them out, from the past alone.

Where training filters with zero phase over the whole recording, a stream goes through causal filters of the same edges
(Butterworth, order 4). A window is resampled by the spectrum as in training, with what came just before it and its own
mirror image after its end. Interpolation and independent components need the whole recording and are left out.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from scipy import signal as filters

from valence.decoder import TrainedOn
from valence.errors import BadInput
from valence.faced_bdf import OLD_NAMES
from valence.features import band_power, differential_entropy
from valence.preprocessing import resample

CONTEXT_S = 1.0
"""before a window and, mirrored, after it, so that the ends of its spectrum do not meet inside it"""
ORDER = 4
NOTCH_WIDTH = 200
"""quality of a notch: its frequency over its width, as in training"""


def chosen_channels(wanted: Sequence[str], given: Sequence[str], *, source: str) -> np.ndarray:
    """Rows of a stream in the order of training, by name: int, (len(wanted),).

    Case does not count, and T3 T4 T5 T6 are T7 T8 P7 P8. Channels beyond those wanted are left out.

    Raises
    ------
    BadInput : where one is missing or there twice: no other electrode stands in for it.
    """

    def plain(name: str) -> str:
        name = name.strip().lower()
        return OLD_NAMES.get(name, name).lower()

    places: dict[str, list[int]] = {}
    for place, name in enumerate(given):
        places.setdefault(plain(name), []).append(place)
    missing = [name for name in wanted if plain(name) not in places]
    if missing:
        raise BadInput(
            f"{source}: no channel {', '.join(missing)}",
            allowed=f"each of {', '.join(wanted)}, in any order; this has {', '.join(given)}",
            do="record these channels, or name them as in training",
        )
    if twice := [name for name in wanted if len(places[plain(name)]) > 1]:
        raise BadInput(f"{source}: channel {twice[0]} is there twice", allowed="each once", do="rename one of them")
    return np.array([places[plain(name)][0] for name in wanted])


def differences(trained_on: TrainedOn, *, sfreq: float, ch_names: Sequence[str], online: bool) -> tuple[str, ...]:
    """What is not as it was in training, a sentence each."""
    told, processing = [], trained_on.processing
    if tuple(ch_names) != trained_on.spec.ch_names:
        extra = len(ch_names) - trained_on.spec.n_chans
        told.append(
            f"channels were put in the order of training by name{f', {extra} others left out' if extra else ''}"
        )
    if sfreq != trained_on.sfreq_hz:
        told.append(f"recorded at {sfreq:g} Hz, in training the signals were at {trained_on.sfreq_hz:g} Hz")
    if not online:
        return tuple(told)
    if processing.low_hz or processing.high_hz or processing.notch_hz:
        told.append("filters are causal here and delay the signal; in training they had zero phase")
    if processing.interpolate:
        told.append("bad channels are not interpolated here; in training they were")
    if processing.ica_components:
        told.append("ocular components are not removed here; in training they were")
    if trained_on.bands is None and sfreq != trained_on.recipe.sfreq_hz:
        told.append("windows are resampled one by one here; in training whole clips were, so their last samples differ")
    if trained_on.bands is not None:
        told.append("band features are computed from each window by itself")
    return tuple(told)


def band_features(window: np.ndarray, sfreq: float, trained_on: TrainedOn) -> np.ndarray:
    """A window in µV, (n_chans, n_times), to normalised band features, float32, (n_chans, n_steps, n_bands)."""
    bands = trained_on.bands
    assert bands is not None
    compute = differential_entropy if bands.kind == "de" else band_power
    found = compute(window, sfreq=sfreq, bands=bands.bands, step_s=1 / trained_on.spec.sfreq, edges=bands.edges)
    return ((found - bands.mean[:, None]) / bands.sd[:, None]).astype(np.float32)


class OnlinePreparation:
    """One stretch of a stream without a gap.

    Parameters
    ----------
    sfreq : of the stream, Hz.
    stride_s : from one window to the next.

    Raises
    ------
    BadInput : where window or stride are no whole number of samples, or a filter does not fit below half the rate.
    """

    def __init__(self, trained_on: TrainedOn, *, sfreq: float, stride_s: float):
        self.trained_on, self.sfreq = trained_on, sfreq
        window_s = trained_on.spec.n_times / trained_on.spec.sfreq
        self.n_window, self.n_stride = (_samples(seconds, sfreq) for seconds in (window_s, stride_s))
        # as many samples as are a whole number at the new rate, too
        ratio = Fraction(trained_on.recipe.sfreq_hz).limit_denominator(10**6) / Fraction(sfreq).limit_denominator(10**6)
        self.n_context = -(-round(CONTEXT_S * sfreq) // ratio.denominator) * ratio.denominator
        self.sections = _causal_filters(trained_on, sfreq)
        self.state: np.ndarray | None = None
        self.held = np.zeros((trained_on.spec.n_chans, 0))
        """the latest samples, filtered"""
        self.n_seen = 0
        self.next_end = self.n_window
        if trained_on.bands is None and self.n_window * ratio != trained_on.spec.n_times:
            raise BadInput(
                f"a window of {self.n_window} samples at {sfreq:g} Hz for members of {trained_on.spec.n_times} samples "
                f"at {trained_on.recipe.sfreq_hz:g} Hz",
                allowed="rates at which a window is a whole number of samples",
                do="set the amplifier to such a rate",
            )

    def add(self, piece: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
        """Take samples (n_chans, n), µV; yields begin (s) and sample of each window that is now complete."""
        self.held = np.concatenate([self.held, self._filtered(piece)], axis=1)
        self.n_seen += piece.shape[1]
        while self.next_end <= self.n_seen:
            stop = self.held.shape[1] - (self.n_seen - self.next_end)
            before = min(self.n_context, stop - self.n_window)
            yield (
                (self.next_end - self.n_window) / self.sfreq,
                self._prepared(self.held[:, stop - self.n_window - before : stop], before),
            )
            self.next_end += self.n_stride
        needed = self.n_seen - (self.next_end - self.n_window - self.n_context)
        self.held = self.held[:, -max(min(needed, self.held.shape[1]), 1) :]

    def _filtered(self, piece: np.ndarray) -> np.ndarray:
        piece = np.asarray(piece, dtype=np.float64)
        if self.sections is not None:
            if self.state is None:  # as if the first sample had always been there
                self.state = filters.sosfilt_zi(self.sections)[:, None, :] * piece[:, :1]
            piece, self.state = filters.sosfilt(self.sections, piece, axis=1, zi=self.state)
        if self.trained_on.processing.reference == "average":
            piece = piece - piece.mean(0)
        return piece

    def _prepared(self, signal: np.ndarray, before: int) -> np.ndarray:
        """Context and window, (n_chans, before + n_window), to a sample."""
        if self.trained_on.bands is not None:
            return band_features(signal[:, before:], self.sfreq, self.trained_on)
        recipe = self.trained_on.recipe
        # "reflect" goes on with mirror images of mirror images where a window is shorter than its context
        padded = np.pad(signal, ((0, 0), (self.n_context - before, self.n_context)), mode="reflect")
        resampled = resample(padded, sfreq=self.sfreq, new_sfreq=recipe.sfreq_hz)
        begin = round(self.n_context * recipe.sfreq_hz / self.sfreq)
        window = resampled[:, begin : begin + self.trained_on.spec.n_times]
        return (window * recipe.scale).astype(np.float32)


def _samples(seconds: float, sfreq: float) -> int:
    n = round(seconds * sfreq)
    if n < 1 or abs(n - seconds * sfreq) > 1e-6:
        raise BadInput(
            f"{seconds:g} s at {sfreq:g} Hz are {seconds * sfreq:g} samples",
            allowed="a whole number of samples, 1 or more",
            do="take another stride, or a stream at a whole rate",
        )
    return n


def _causal_filters(trained_on: TrainedOn, sfreq: float) -> np.ndarray | None:
    """Second-order sections of what training filters, or None."""
    processing, parts = trained_on.processing, []
    edges = [edge for edge in (processing.low_hz, processing.high_hz) if edge]
    if max([*edges, processing.notch_hz]) >= sfreq / 2 if edges or processing.notch_hz else False:
        raise BadInput(
            f"a filter at {max([*edges, processing.notch_hz]):g} Hz for a stream at {sfreq:g} Hz",
            allowed=f"below {sfreq / 2:g} Hz",
            do="stream at a higher rate",
        )
    if processing.notch_hz:
        for harmonic in np.arange(processing.notch_hz, sfreq / 2, processing.notch_hz):
            parts.append(filters.tf2sos(*filters.iirnotch(harmonic, NOTCH_WIDTH, fs=sfreq)))
    if edges:
        kind = "bandpass" if len(edges) == 2 else "highpass" if processing.low_hz else "lowpass"
        parts.append(filters.butter(ORDER, edges if len(edges) == 2 else edges[0], kind, fs=sfreq, output="sos"))
    return np.concatenate(parts) if parts else None
