"""Channels that cannot be EEG: signals and electrode positions in, one reason for each bad channel out.

The rule follows the first three criteria of Bigdely-Shamlo and others 2015 (PREP, Front Neuroinform 9:16, doi
10.3389/fninf.2015.00016), on pieces of 10 s. It is meant for signals that have been band-passed: drift hides the rest.
"""

import numpy as np

PIECE_S = 10.0
"""every measure is the median over pieces of this length: a channel is bad that is bad half of the time"""
FLAT_UV = 0.1
"""standard deviation below which a channel is flat; amplifiers alone make more"""
ROBUST_Z = 5.0
"""a channel is too loud or too quiet where its log variance is this many robust standard deviations from the median"""
LEAST_SPREAD = 0.25
"""smallest robust standard deviation of log variance (natural log): very even recordings have no outliers"""
NEIGHBOURS = 4
LEAST_CORRELATION = 0.4
"""a channel is apart where no absolute correlation with its nearest neighbours reaches this"""


def find_bad_channels(
    x_uv: np.ndarray, *, sfreq: float, positions: np.ndarray, alone: np.ndarray | None = None
) -> dict[int, str]:
    """Channels that are flat, far too loud or quiet, or unlike all their neighbours.

    Parameters
    ----------
    x_uv : float array, (n_chans, n_times), µV.
    sfreq : samples per second, Hz.
    positions : float array, (n_chans, 3), electrodes in any unit; NaN where not known, which excuses a channel from
        the comparison with neighbours.
    alone : bool array, (n_chans,): channels that are neither compared with neighbours nor neighbours themselves, such
        as mastoids.

    Returns
    -------
    dict from channel index, ascending, to the reason in words.
    """
    n_chans, n_times = x_uv.shape
    n_pieces = max(1, round(n_times / (PIECE_S * sfreq)))
    pieces = np.array_split(np.arange(n_times), n_pieces)
    near = _neighbours(positions, alone)
    variances, correlations = np.empty((n_pieces, n_chans)), np.empty((n_pieces, n_chans))
    for index, piece in enumerate(pieces):
        covariance = np.cov(x_uv[:, piece[0] : piece[-1] + 1].astype(np.float64))
        variances[index] = np.diag(covariance)
        sd = np.sqrt(np.maximum(variances[index], np.finfo(float).tiny))
        correlations[index] = np.where(near, np.abs(covariance) / sd[:, None] / sd, 0).max(axis=1)
    variance, correlation = np.median(variances, axis=0), np.median(correlations, axis=0)
    flat = np.sqrt(variance) < FLAT_UV
    z = _robust_z(np.log(np.where(flat, 1.0, variance)), among=~flat)
    apart = near.any(axis=1) & (correlation < LEAST_CORRELATION)
    reasons = {}
    for channel in range(n_chans):
        if flat[channel]:
            reasons[channel] = f"flat (standard deviation {np.sqrt(variance[channel]):.2g} µV)"
        elif abs(z[channel]) > ROBUST_Z:
            word = "loud" if z[channel] > 0 else "quiet"
            reasons[channel] = f"{word} (log variance {z[channel]:+.1f} robust standard deviations)"
        elif apart[channel]:
            reasons[channel] = f"unlike its neighbours (highest correlation {correlation[channel]:.2f})"
    return reasons


def _robust_z(values: np.ndarray, *, among: np.ndarray) -> np.ndarray:
    """Distance from the median in robust standard deviations (1.4826 times the median absolute deviation)."""
    if not among.any():
        return np.zeros_like(values)
    middle = np.median(values[among])
    spread = 1.4826 * np.median(np.abs(values[among] - middle))
    return (values - middle) / max(spread, LEAST_SPREAD)


def _neighbours(positions: np.ndarray, alone: np.ndarray | None) -> np.ndarray:
    """Bool array, (n_chans, n_chans): row i marks the nearest neighbours of channel i."""
    distance = np.linalg.norm(positions[:, None] - positions, axis=-1)
    outside = ~np.isfinite(positions).all(axis=1)
    if alone is not None:
        outside = outside | alone
    distance[outside] = distance[:, outside] = np.inf
    np.fill_diagonal(distance, np.inf)
    near = np.zeros(distance.shape, dtype=bool)
    np.put_along_axis(near, np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS], True, axis=1)
    return near & np.isfinite(distance)
