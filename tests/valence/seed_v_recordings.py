"""Files as SEED-V publishes them, made from simulated signals: Neuroscan .cnt recordings and .npz features.

The layout of a .cnt file is that of Scan 4 (SETUP header of 900 bytes, 75 bytes for each channel, samples, event
table); `mne.io.read_raw_cnt` reads it back.
"""

import pickle
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.fft

from valence.features import Band, band_gain
from valence.seed_v_features import CLASS_OF_CLIP, N_STEPS
from valence.seed_v_files import CH_NAMES, END_S, LABELS, START_S

FILE_CH_NAMES = (*(name.upper() for name in CH_NAMES[:32]), "M1", *(name.upper() for name in CH_NAMES[32:42]), "M2")
FILE_CH_NAMES += (*(name.upper() for name in CH_NAMES[42:]), "VEO", "HEO")
"""66 channels in capitals, the mastoids between the others"""
ALPHA = Band("alpha", 8, 14)
ALPHA_UV = (4.0, 8.0, 12.0, 16.0, 24.0)
"""root mean square of the alpha rhythm that is planted in the films of each class"""
UV_PER_COUNT = {2: 0.05, 4: 0.001}
"""resolution by bytes of a sample"""


def write_cnt(
    path: Path,
    x_uv: np.ndarray,
    *,
    sfreq: int,
    ch_names: Sequence[str] = FILE_CH_NAMES,
    n_bytes: int = 2,
    bads: Sequence[str] = (),
    events_s: Sequence[float] = (),
) -> Path:
    """Write a recording, (n_chans, n_times), µV, with samples of 2 or 4 bytes."""
    n_chans, n_times = x_uv.shape
    assert len(ch_names) == n_chans
    data_at = 900 + 75 * n_chans
    events_at = data_at + n_times * n_chans * n_bytes
    header = bytearray(900)
    struct.pack_into("12s", header, 0, b"Version 3.0")
    struct.pack_into("10s12s", header, 225, b"07/18/18", b"09:30:00")
    struct.pack_into("<H", header, 370, n_chans)
    struct.pack_into("<H", header, 376, sfreq)
    struct.pack_into("<i", header, 864, n_times)
    struct.pack_into("<i", header, 886, events_at)
    struct.pack_into("<f", header, 890, n_times / sfreq)
    channels = bytearray()
    for number, name in enumerate(ch_names):
        channel = bytearray(75)
        angle = 2 * np.pi * number / n_chans
        struct.pack_into("10s", channel, 0, name.encode("ascii"))
        struct.pack_into("<B", channel, 14, name in bads)
        struct.pack_into("<2f", channel, 19, np.cos(angle), np.sin(angle))
        struct.pack_into("<f", channel, 59, 204.8 * UV_PER_COUNT[n_bytes])
        struct.pack_into("<f", channel, 71, 1.0)
        channels += channel
    sample_bytes = n_chans * n_bytes
    events = [
        struct.pack("<HBcl", 1, 0, b"\0", data_at + (round(seconds * sfreq) + 1) * sample_bytes) for seconds in events_s
    ]
    with path.open("wb") as file:
        file.write(header + channels)
        counts = np.rint(x_uv.T / UV_PER_COUNT[n_bytes])
        np.ascontiguousarray(counts, dtype=f"<i{n_bytes}").tofile(file)
        file.write(struct.pack("<Bll", 1, 8 * len(events), 0) + b"".join(events))
    return path


def simulated_session(session: int, *, sfreq: int, seed: int = 0, tail_s: int = 20) -> np.ndarray:
    """Noise of 1/f amplitude without any alpha, and an alpha rhythm whose strength is that of the film's class.

    float32 array, (66, n_times), µV, from the start of the session to some time after its last film.
    """
    rng = np.random.default_rng([seed, session])
    n_times = (END_S[session - 1][-1] + tail_s) * sfreq
    spectrum = scipy.fft.rfft(rng.standard_normal((len(FILE_CH_NAMES), n_times), dtype=np.float32))
    frequencies = scipy.fft.rfftfreq(n_times, 1 / sfreq)
    inside = band_gain(frequencies, band=ALPHA).astype(np.float32)
    slope = (1 / np.maximum(frequencies, 0.5)).astype(np.float32)
    outside = ((frequencies < ALPHA.low_hz - 1) | (frequencies > ALPHA.high_hz + 1)).astype(np.float32)
    x = scipy.fft.irfft(spectrum * slope * outside, n_times)
    x *= 20 / x.std()
    alpha = scipy.fft.irfft(spectrum * inside, n_times)
    alpha /= alpha.std()
    for label, start, end in zip(LABELS[session - 1], START_S[session - 1], END_S[session - 1]):
        x[:, start * sfreq : end * sfreq] += ALPHA_UV[label] * alpha[:, start * sfreq : end * sfreq]
    return x


def slow_session(session: int, *, sfreq: int, seed: int = 0, lasts_s: int = 0) -> np.ndarray:
    """White noise of 20 µV, float32 (66, n_times): for what does not depend on the signal, at any rate."""
    n_times = (lasts_s or END_S[session - 1][-1] + 20) * sfreq
    return 20 * np.random.default_rng([seed, session]).standard_normal((len(FILE_CH_NAMES), n_times), dtype=np.float32)


def recording_path(root: Path, subject: int, session: int, date: str = "20180718") -> Path:
    """Published name of a recording, its folder made."""
    (root / "EEG_raw").mkdir(parents=True, exist_ok=True)
    return root / "EEG_raw" / f"{subject}_{session}_{date}.cnt"


def simulated_features(seed: int = 0) -> dict[int, np.ndarray]:
    """Features of the 45 clips, float64 (n_steps, 310), all values different."""
    rng = np.random.default_rng(seed)
    return {clip: rng.normal(2.0, 0.5, (n_steps, 310)) for clip, n_steps in enumerate(N_STEPS)}


def published_labels() -> dict[int, np.ndarray]:
    """Label of every step of the 45 clips."""
    return {clip: np.full(n_steps, CLASS_OF_CLIP[clip]) for clip, n_steps in enumerate(N_STEPS)}


def write_features(
    root: Path,
    subject: int,
    data: object = None,
    labels: object = None,
    *,
    protocol: int = pickle.DEFAULT_PROTOCOL,
) -> Path:
    """Write the features of a subject as published: two pickles inside a .npz. Any object may take their place."""
    folder = root / "EEG_DE_features"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{subject}_123.npz"
    data = simulated_features(subject) if data is None else data
    labels = published_labels() if labels is None else labels
    np.savez(path, data=pickle.dumps(data, protocol), label=pickle.dumps(labels, protocol))
    return path
