"""Recordings to windows: microvolts at any rate in, scaled float32 windows of the recipe's rate and length out."""

from fractions import Fraction

import numpy as np
import scipy.signal

from valence.cell import Recipe
from valence.errors import BadInput
from valence.registry import unknown_name

MICROVOLTS = {"V": 1e6, "mV": 1e3, "µV": 1.0, "μV": 1.0, "uV": 1.0, "nV": 1e-3}
"""µV in one of each unit; the micro sign and the Greek letter look alike and are both in use"""


def to_microvolts(x: np.ndarray, *, unit: str) -> np.ndarray:
    """A signal in µV, of the same shape. Raises BadInput for a unit that is not known."""
    if unit not in MICROVOLTS:
        raise unknown_name("unit", unit, list(MICROVOLTS))
    factor = MICROVOLTS[unit]
    return x if factor == 1 else x * np.asarray(factor, dtype=x.dtype)


def resample(x: np.ndarray, *, sfreq: float, new_sfreq: float) -> np.ndarray:
    """Resample along the last axis by cutting or extending the spectrum, which also keeps out aliases.

    For 7,500 samples at 250 Hz and 200 Hz this is CBraMod's `scipy.signal.resample(x, 6000)`.

    Parameters
    ----------
    x : float array, (..., n_times).
    sfreq, new_sfreq : samples per second, Hz.

    Returns
    -------
    float array, (..., n_times * new_sfreq / sfreq).

    Raises
    ------
    BadInput : where the new length is not a whole number of samples.
    """
    if sfreq == new_sfreq:
        return x
    return scipy.signal.resample(x, _whole(x.shape[-1] / sfreq, new_sfreq, "recording"), axis=-1)


def window_starts(n_times: int, *, recipe: Recipe) -> np.ndarray:
    """First sample of each window of a recording of n_times samples at the recipe's rate: int array, (n_windows,).

    A rest at the end that is shorter than a window is left out.

    Raises
    ------
    BadInput : where window or stride are not a whole number of samples, or no window fits.
    """
    n_window = _whole(recipe.window_s, recipe.sfreq_hz, "window_s")
    n_stride = _whole(recipe.stride_s, recipe.sfreq_hz, "stride_s")
    if n_window > n_times:
        raise BadInput(
            f"recipe {recipe.name!r}: window_s is {recipe.window_s:g} s, a clip {n_times / recipe.sfreq_hz:g} s",
            allowed="windows no longer than a clip",
            do="take a recipe with shorter windows",
        )
    return np.arange(0, n_times - n_window + 1, n_stride)


def cut_windows(x: np.ndarray, *, sfreq: float, recipe: Recipe) -> np.ndarray:
    """Resample, cut and scale the clips of one subject.

    Parameters
    ----------
    x : float array, (n_clips, n_chans, n_times), µV.
    sfreq : samples per second of x, Hz.
    recipe : rate, window, stride and scale.

    Returns
    -------
    float32 array, (n_clips, n_windows, n_chans, n_window), µV times the recipe's scale.

    Raises
    ------
    BadInput : as `resample` and `window_starts`.
    """
    x = resample(np.asarray(x, dtype=np.float32), sfreq=sfreq, new_sfreq=recipe.sfreq_hz)
    starts = window_starts(x.shape[-1], recipe=recipe)
    n_window = round(recipe.window_s * recipe.sfreq_hz)
    windows = np.stack([x[..., start : start + n_window] for start in starts], axis=1)
    return (windows * recipe.scale).astype(np.float32, copy=False)


def _whole(seconds: float, sfreq: float, what: str) -> int:
    """Samples of a stretch of time. Raises BadInput unless they are a whole number of at least one."""
    samples = Fraction(seconds).limit_denominator(10**6) * Fraction(sfreq).limit_denominator(10**6)
    if not (sfreq > 0 and samples >= 1) or samples.denominator != 1:
        raise BadInput(
            f"{what}: {seconds:g} s at {sfreq:g} Hz are {float(samples):g} samples",
            allowed="a whole number of samples, 1 or more",
            do="change the length or the rate in the recipe",
        )
    return int(samples)
