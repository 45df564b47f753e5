"""A recording with known parts: sources in a spherical head, seen by electrodes through mne's forward model."""

import numpy as np

from valence.head import forward_model

SFREQ = 250.0
CH_NAMES = (
    *("Fp1", "Fp2", "Fz", "F3", "F4", "F7", "F8", "FC1", "FC2", "FC5", "FC6", "Cz", "C3", "C4", "T7", "T8"),
    *("CP1", "CP2", "CP5", "CP6", "Pz", "P3", "P4", "P7", "P8", "PO3", "PO4", "Oz", "O1", "O2", "A1", "A2"),
)


def brain_uv(seed: int, duration_s: float, *, noise_uv: float = 0.5) -> np.ndarray:
    """EEG of 64 radial sources of slowly changing loudness with a falling spectrum: (32, n_times), 15 µV."""
    rng = np.random.default_rng(seed)
    sources, _, gain = forward_model(CH_NAMES)
    n_times = round(duration_s * SFREQ)
    frequencies = np.fft.rfftfreq(n_times, 1 / SFREQ)
    pink = _filtered(rng.normal(size=(len(sources), n_times)), 1 / np.maximum(frequencies, 0.5) ** 0.75)
    loudness = np.exp(0.5 * _filtered(rng.normal(size=(len(sources), n_times)), frequencies < 0.3))
    x = np.einsum("csk,sk->cs", gain, sources) @ (pink * loudness)
    return 15 * x / x.std() + noise_uv * rng.normal(size=x.shape)


def blinks_uv(seed: int, duration_s: float) -> np.ndarray:
    """Blinks of 80 to 160 µV and 0.3 s, every 3 s on average: (n_times,)."""
    rng = np.random.default_rng(seed)
    n_times, shape = round(duration_s * SFREQ), np.hanning(75)
    blinks = np.zeros(n_times)
    for onset_s in 1 + np.cumsum(rng.exponential(3, size=round(duration_s))):
        if onset_s < duration_s - 1:
            blinks[round(onset_s * SFREQ) :][: len(shape)] += rng.uniform(80, 160) * shape
    return blinks


def eye_topography() -> np.ndarray:
    """How strongly each electrode sees a blink: (32,), 1 at the nearest."""
    electrodes = forward_model(CH_NAMES)[1]
    eyes = np.array([0, 1, -0.25]) / np.hypot(1, 0.25)
    seen = np.exp(-(np.linalg.norm(electrodes - eyes, axis=1) ** 2) / (2 * 0.35**2))
    return seen / seen.max()


def _filtered(white: np.ndarray, gain: np.ndarray) -> np.ndarray:
    x = np.fft.irfft(np.fft.rfft(white) * gain, white.shape[-1])
    return x / x.std(axis=-1, keepdims=True)
