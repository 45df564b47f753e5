"""Recordings to differential entropy (DE): windows of microvolts in, one number a second, channel and band out.

For a Gaussian signal the differential entropy is ½·ln(2πe·σ²) (Duan, Zhu and Lu 2013, NER, doi
10.1109/NER.2013.6695876), in nats, with the variance σ² in µV² of the band-passed signal within one second. That this,
and not ln σ², is what FACED's feature files hold shows in their scatter. Over one second a band of B Hz gives σ² about
2B degrees of freedom, so whatever its level, ln σ² of stationary noise scatters from second to second: by .55 .48 .40
.24 .24 in the five bands of this module, and its half by .27 .24 .20 .12 .12. The files of 100 subjects scatter by .33
.24 .22 .15 .10 (medians): they hold the half.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft

from valence.errors import BadInput


class Band(NamedTuple):
    """A frequency band."""

    name: str
    low_hz: float
    high_hz: float


BANDS = (
    Band("delta", 1, 4),
    Band("theta", 4, 8),
    Band("alpha", 8, 14),
    Band("beta", 14, 30),
    Band("gamma", 30, 47),
)
"""bands of FACED's feature files"""
PADDING_S = 2.0
"""the signal is continued by its mirror image for at least this long, so that its ends do not leak into the bands"""
TRANSITION_HZ = 0.5
"""width of the band edges; the power that passes falls along a half cosine and is one half at the edge itself"""


def differential_entropy(
    x: np.ndarray, *, sfreq: float, bands: Sequence[Band] = BANDS, step_s: float = 1.0
) -> np.ndarray:
    """Differential entropy of a signal in bands, step by step.

    Parameters
    ----------
    x : float array, (..., n_chans, n_times), µV.
    sfreq : samples per second, Hz.
    bands : any bands between 0 Hz and half the sampling rate; they may overlap.
    step_s : length of one step, seconds.

    Returns
    -------
    float32 array, (..., n_chans, n_steps, n_bands), ½·ln(2πe·µV²) in nats; -inf where a channel is constant.

    Raises
    ------
    BadInput : where a band does not fit below half the sampling rate, or the signal is not a whole number of steps.
    """
    n_times = x.shape[-1]
    n_step = round(step_s * sfreq)
    if n_step < 2 or abs(n_step - step_s * sfreq) > 1e-6 or n_times % n_step or not n_times:
        raise BadInput(
            f"{n_times} samples at {sfreq:g} Hz in steps of {step_s:g} s",
            allowed="a whole number of steps, each a whole number of at least 2 samples",
            do="cut the signal or change the step",
        )
    entropy = np.empty((*x.shape[:-1], n_times // n_step, len(bands)), dtype=np.float32)
    for index, signal in enumerate(band_passed(x, sfreq=sfreq, bands=bands)):
        variance = signal.reshape(*x.shape[:-1], n_times // n_step, n_step).var(axis=-1)
        with np.errstate(divide="ignore"):
            entropy[..., index] = 0.5 * np.log(2 * np.pi * np.e * variance)
    return entropy


def band_passed(x: np.ndarray, *, sfreq: float, bands: Sequence[Band]):
    """Yield the zero-phase band-passed signal of each band: float arrays of the shape of x, (..., n_times).

    The spectrum of the reflected signal is multiplied by the gain of `band_gain`; one forward transform serves all
    bands. Raises BadInput where a band does not fit.
    """
    for band in bands:
        if not 0 <= band.low_hz < band.high_hz <= sfreq / 2:
            raise BadInput(
                f"band {band.name} of {band.low_hz:g} to {band.high_hz:g} Hz at a sampling rate of {sfreq:g} Hz",
                allowed=f"0 ≤ low < high ≤ {sfreq / 2:g} Hz",
                do="correct the band",
            )
    n_times = x.shape[-1]
    padding = min(round(PADDING_S * sfreq), n_times - 1)
    n_fft = scipy.fft.next_fast_len(n_times + 2 * padding, real=True)
    spectrum = scipy.fft.rfft(_reflected(x, before=padding, total=n_fft))
    frequencies = scipy.fft.rfftfreq(n_fft, 1 / sfreq)
    for band in bands:
        gain = band_gain(frequencies, band=band).astype(spectrum.real.dtype)
        yield scipy.fft.irfft(spectrum * gain, n_fft)[..., padding : padding + n_times]


def band_gain(frequencies: np.ndarray, *, band: Band) -> np.ndarray:
    """Gain of a band at frequencies in Hz: float array of their shape, 0 to 1.

    The squared gains of neighbouring bands sum to one, so that no power is lost or counted twice between them. An edge
    at 0 Hz or at the last frequency is no edge.
    """
    edges = []
    for edge_hz in (band.low_hz, band.high_hz):
        width = min(TRANSITION_HZ, edge_hz) or 1.0
        phase = np.clip((frequencies - edge_hz) / width, -0.5, 0.5)
        open_end = edge_hz <= 0 or edge_hz >= frequencies[-1]
        edges.append(np.full_like(phase, float(edge_hz <= 0)) if open_end else 0.5 + 0.5 * np.sin(np.pi * phase))
    return np.sqrt(np.maximum(edges[0] - edges[1], 0))


def _reflected(x: np.ndarray, *, before: int, total: int) -> np.ndarray:
    """The signal continued to `total` samples by its mirror image about both ends.

    Turning it over as well would keep the slope, but throws fast signals off by twice their last value.
    """
    padding = [(0, 0)] * (x.ndim - 1) + [(before, total - before - x.shape[-1])]
    return np.pad(x, padding, mode="reflect")
