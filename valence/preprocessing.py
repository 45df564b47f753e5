"""Recordings to windows: microvolts at any rate in, scaled float32 windows of the recipe's rate and length out."""

from fractions import Fraction

import numpy as np
import scipy.signal

from valence.cell import Recipe
from valence.errors import BadInput

MAX_CUT_S = 0.1
"""seconds that resampling may cut off the end of a clip, to keep its rate exact"""


def resample(x: np.ndarray, *, sfreq: float, new_sfreq: float) -> np.ndarray:
    """Resample along the last axis by cutting or extending the spectrum, which also keeps out aliases.

    For 7,500 samples at 250 Hz and 200 Hz this is CBraMod's `scipy.signal.resample(x, 6000)`.

    Parameters
    ----------
    x : float array, (..., n_times).
    sfreq, new_sfreq : samples per second, Hz.

    Returns
    -------
    float array, (..., resampled_n_times(n_times)).

    Raises
    ------
    BadInput : as `resampled_n_times`.
    """
    if sfreq == new_sfreq:
        return x
    n_new = resampled_n_times(x.shape[-1], sfreq=sfreq, new_sfreq=new_sfreq)
    return scipy.signal.resample(x[..., : round(n_new * sfreq / new_sfreq)], n_new, axis=-1)


def resampled_n_times(n_times: int, *, sfreq: float, new_sfreq: float) -> int:
    """Samples of a recording after `resample`.

    Where n_times * new_sfreq / sfreq is not whole, the recording is cut at its end to the longest stretch for which it
    is: rounding instead would stretch the time by a little.

    Raises
    ------
    BadInput : where that would cut off `MAX_CUT_S` or more.
    """
    if sfreq == new_sfreq or not n_times:
        return n_times
    ratio = Fraction(new_sfreq).limit_denominator(10**6) / Fraction(sfreq).limit_denominator(10**6)
    rest = n_times % ratio.denominator
    if ratio <= 0 or rest >= min(n_times, MAX_CUT_S * sfreq):
        raise BadInput(
            f"recording: {n_times / sfreq:g} s at {new_sfreq:g} Hz are {float(n_times * ratio):g} samples",
            allowed=f"a whole number of samples, 1 or more, but for a rest below {MAX_CUT_S:g} s",
            do="change the rate in the recipe",
        )
    return int((n_times - rest) * ratio)


def window_starts(n_times: int, *, recipe: Recipe, none_fits: bool = False) -> np.ndarray:
    """First sample of each window of a recording of n_times samples at the recipe's rate: int array, (n_windows,).

    A rest at the end that is shorter than a window is left out.

    Raises
    ------
    BadInput : where window or stride are not a whole number of samples, or no window fits and `none_fits` does not
        allow that.
    """
    n_window = _whole(recipe.window_s, recipe.sfreq_hz, "window_s")
    n_stride = _whole(recipe.stride_s, recipe.sfreq_hz, "stride_s")
    if n_window > n_times and not none_fits:
        raise BadInput(
            f"recipe {recipe.name!r}: window_s is {recipe.window_s:g} s, a clip {n_times / recipe.sfreq_hz:g} s",
            allowed="windows no longer than a clip",
            do="take a recipe with shorter windows",
        )
    return np.arange(0, n_times - n_window + 1, n_stride)


def n_windows(n_times: int, *, recipe: Recipe) -> int:
    """Windows of a clip of n_times samples at the recipe's rate: none where the clip is shorter than a window.

    Raises BadInput where window or stride are not a whole number of samples.
    """
    return len(window_starts(n_times, recipe=recipe, none_fits=True))


def cut_windows(x: np.ndarray, *, sfreq: float, recipe: Recipe, none_fits: bool = False) -> np.ndarray:
    """Resample, cut and scale one clip, or clips of one length.

    Parameters
    ----------
    x : float array, (n_chans, n_times) or (n_clips, n_chans, n_times), µV.
    sfreq : samples per second of x, Hz.
    recipe : rate, window, stride and scale.
    none_fits : whether clips may be shorter than a window, and then give none.

    Returns
    -------
    float32 array, (n_windows, n_chans, n_window) or (n_clips, n_windows, n_chans, n_window), µV times the recipe's
    scale; its own memory.

    Raises
    ------
    BadInput : as `resample` and `window_starts`.
    """
    n_times = resampled_n_times(x.shape[-1], sfreq=sfreq, new_sfreq=recipe.sfreq_hz)
    starts = window_starts(n_times, recipe=recipe, none_fits=none_fits)
    n_window = round(recipe.window_s * recipe.sfreq_hz)
    *clips, n_chans, _ = x.shape
    windows = np.empty((*clips, len(starts), n_chans, n_window), dtype=np.float32)
    if not windows.size:
        return windows
    for clip in np.ndindex(*clips):  # beside the result, memory holds one resampled clip
        signal = resample(np.asarray(x[clip], dtype=np.float32), sfreq=sfreq, new_sfreq=recipe.sfreq_hz)
        for index, start in enumerate(starts):
            np.multiply(signal[:, start : start + n_window], recipe.scale, out=windows[clip][index], dtype=np.float32)
    return windows


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
