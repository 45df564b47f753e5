"""Recordings to differential entropy (DE) or power in bands: microvolts in, one number a second, channel and band out.

For a Gaussian signal the differential entropy is ½·ln(2πe·σ²) (Duan, Zhu and Lu 2013, NER, doi
10.1109/NER.2013.6695876), in nats, with the variance σ² in µV² of the band-passed signal within one second. That this,
and not ln σ², is what FACED's feature files hold shows in their scatter. Over one second a band of B Hz gives σ² about
2B degrees of freedom, so whatever its level, ln σ² of stationary noise scatters from second to second: by .55 .48 .40
.24 .24 in the five bands of this module, and its half by .27 .24 .20 .12 .12. The files of 100 subjects scatter by .33
.24 .22 .15 .10 (medians): they hold the half.

The same scatter shows how FACED's bands end. With edges as sharp as `EDGES` has them by default, θ could not scatter by
less than .23, α of 8 to 13 Hz by less than .21; a quarter of all channels of the files, chosen in other clips, scatter
by .226 and .198. They fit `edges="mne"`: the publisher's script filters with mne's defaults, whose slopes of 1 to 12 Hz
lie outside the named bands, so that neighbours overlap. Whether α ends at 13 or 14 Hz the scatter cannot tell.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft

from valence.errors import BadInput
from valence.registry import unknown_name


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
STUDY_BANDS = (
    Band("delta", 0.5, 4),
    Band("theta", 4, 8),
    Band("alpha", 8, 13),
    Band("beta", 13, 30),
    Band("gamma", 30, 47),
)
"""bands as the study of alignment with LLMs writes them"""
PADDING_S = 2.0
"""the signal is continued by its mirror image for at least this long, so that its ends do not leak into the bands"""
TRANSITION_HZ = 0.5
"""width of the band edges; the power that passes falls along a half cosine and is one half at the edge itself"""


def differential_entropy(
    x: np.ndarray, *, sfreq: float, bands: Sequence[Band] = BANDS, step_s: float = 1.0, edges: str = "sharp"
) -> np.ndarray:
    """Differential entropy of a signal in bands, step by step: ½·ln(2πe) more than half the log of `band_power`.

    Parameters
    ----------
    x : float array, (..., n_chans, n_times), µV.
    sfreq : samples per second, Hz.
    bands : any bands between 0 Hz and half the sampling rate; they may overlap.
    step_s : length of one step, seconds.
    edges : "sharp", or "mne" for the bands of FACED's feature files: see `EDGES`.

    Returns
    -------
    float32 array, (..., n_chans, n_steps, n_bands), ½·ln(2πe·µV²) in nats; -inf where a channel is constant.

    Raises
    ------
    BadInput : where a band does not fit below half the sampling rate, or the signal is not a whole number of steps.
    """
    with np.errstate(divide="ignore"):
        entropies = [
            (0.5 * np.log(2 * np.pi * np.e * variance)).astype(np.float32, copy=False)
            for variance in _variances(x, sfreq=sfreq, bands=bands, step_s=step_s, edges=edges)
        ]
    return np.stack(entropies, axis=-1)


def band_power(
    x: np.ndarray, *, sfreq: float, bands: Sequence[Band] = BANDS, step_s: float = 1.0, edges: str = "sharp"
) -> np.ndarray:
    """Power of a signal in bands, step by step: the variance of the band-passed signal.

    Parameters and errors are those of `differential_entropy`.

    Returns
    -------
    float32 array, (..., n_chans, n_steps, n_bands), µV².
    """
    variances = _variances(x, sfreq=sfreq, bands=bands, step_s=step_s, edges=edges)
    return np.stack([variance.astype(np.float32, copy=False) for variance in variances], axis=-1)


def _variances(
    x: np.ndarray, *, sfreq: float, bands: Sequence[Band], step_s: float, edges: str
) -> Iterator[np.ndarray]:
    """Variance of each band: float arrays, (..., n_chans, n_steps)."""
    n_times = x.shape[-1]
    n_step = round(step_s * sfreq)
    if n_step < 2 or abs(n_step - step_s * sfreq) > 1e-6 or n_times % n_step or not n_times:
        raise BadInput(
            f"{n_times} samples at {sfreq:g} Hz in steps of {step_s:g} s",
            allowed="a whole number of steps, each a whole number of at least 2 samples",
            do="cut the signal or change the step",
        )
    for signal in band_passed(x, sfreq=sfreq, bands=bands, edges=edges):
        yield signal.reshape(*x.shape[:-1], n_times // n_step, n_step).var(axis=-1)


def band_passed(x: np.ndarray, *, sfreq: float, bands: Sequence[Band], edges: str = "sharp") -> Iterator[np.ndarray]:
    """Yield the zero-phase band-passed signal of each band: float arrays of the shape of x, (..., n_times).

    The spectrum of the reflected signal is multiplied by the gain of a band; one forward transform serves all bands.
    Raises BadInput where a band does not fit.
    """
    if edges not in EDGES:
        raise unknown_name("edges", edges, list(EDGES))
    for band in bands:
        if not 0 <= band.low_hz < band.high_hz <= sfreq / 2:
            raise BadInput(
                f"band {band.name} of {band.low_hz:g} to {band.high_hz:g} Hz at a sampling rate of {sfreq:g} Hz",
                allowed=f"0 ≤ low < high ≤ {sfreq / 2:g} Hz",
                do="correct the band",
            )
    n_times = x.shape[-1]
    padding = min(round(PADDING_S * sfreq), n_times - 1)
    n_fft = 2 * scipy.fft.next_fast_len(-(-n_times // 2) + padding, real=True)  # even: ends at half the sampling rate
    spectrum = scipy.fft.rfft(_reflected(x, before=padding, total=n_fft))
    frequencies = scipy.fft.rfftfreq(n_fft, 1 / sfreq)
    for band in bands:
        gain = EDGES[edges](frequencies, band=band).astype(spectrum.real.dtype)
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


def mne_gain(frequencies: np.ndarray, *, band: Band) -> np.ndarray:
    """Gain at frequencies in Hz of the filter that `mne.filter.filter_data` takes for a band by default.

    Its slopes lie outside the band, as `valence.raw_steps.slopes_hz` has it: 4 to 8 Hz passes 2 to 10 Hz, and half the
    amplitude at 3 and 9 Hz. An edge at 0 Hz or at the last frequency is no edge.
    """
    import mne

    sfreq = 2 * float(frequencies[-1])
    low = band.low_hz if band.low_hz > 0 else None
    high = band.high_hz if band.high_hz < frequencies[-1] else None
    if low is None and high is None:
        return np.ones_like(frequencies)
    taps = mne.filter.create_filter(None, sfreq, low, high, verbose="error")
    delays_s = (np.arange(len(taps)) - len(taps) // 2) / sfreq
    middle = len(taps) // 2
    # symmetric taps have a real transfer function, a sum of cosines
    return taps[middle] + 2 * np.cos(2 * np.pi * np.outer(frequencies, delays_s[middle + 1 :])) @ taps[middle + 1 :]


EDGES: Mapping[str, Callable[..., np.ndarray]] = {"sharp": band_gain, "mne": mne_gain}
"""how bands end, by name: within half a hertz at the edge ("sharp"), or outside the band over several ("mne")"""


def _reflected(x: np.ndarray, *, before: int, total: int) -> np.ndarray:
    """The signal continued to `total` samples by its mirror image about both ends.

    Turning it over as well would keep the slope, but throws fast signals off by twice their last value.
    """
    padding = [(0, 0)] * (x.ndim - 1) + [(before, total - before - x.shape[-1])]
    return np.pad(x, padding, mode="reflect")
