"""Recordings of SEED-V: one Neuroscan .cnt file of a session in, its fifteen clips in µV and a word on repairs out.

A session at 1,000 Hz takes 1.7 GB in memory, so every clip is read, processed and cut by itself, with a margin on
either side. The filters of `valence.processing` are finite and shorter than the margin, so a clip is what processing
the whole recording gives: to 0.003 µV where it is resampled, and exactly where it is not (at 1,000 Hz and 0.3–75 Hz;
with a margin of 2 s it would be 3 µV off). What is estimated from the data, bad channels and ocular components, is
estimated for each clip. A subject takes 1 GB and about a minute.
"""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from valence.errors import BadInput
from valence.processing import EOG_NAMES, Processing, process, to_raw
from valence.seed_v_files import (
    CH_NAMES,
    END_S,
    FILMS_PER_SESSION,
    KNOWN_CORRUPT,
    RECORDED_SFREQ,
    REPAIRED,
    START_S,
)

if TYPE_CHECKING:
    import mne

MARGIN_S = 10
"""a clip is processed with at least this much of the recording before and after it, where there is as much"""
MARGIN_PERIODS = 4
"""and with at least this many periods of the lower band edge: the band-pass reaches 1.65 periods to either side"""
PIECE_S = 30
"""seconds that are read at once"""


class _UnreadableError(BadInput):
    """A recording that cannot be used as it lies there, whatever is asked of it."""

    def __init__(self, path: Path, got: str, allowed: str = "a whole Neuroscan .cnt file, as published"):
        super().__init__(
            f"{path}: {got}",
            allowed=allowed,
            do="fetch the file again from its publisher, or move it elsewhere: its session is then left out",
        )


def empty_clips() -> list[np.ndarray]:
    """What stands for the clips of a session that cannot be had: arrays of no samples."""
    return [np.empty((len(CH_NAMES), 0), dtype=np.float32) for _ in range(FILMS_PER_SESSION)]


def read_session(path: Path, session: int, processing: Processing) -> tuple[list[np.ndarray], list[str]]:
    """The clips of one session.

    Parameters
    ----------
    path : Neuroscan .cnt file.
    session : 1 to 3.
    processing : steps taken on each clip.

    Returns
    -------
    Fifteen float32 arrays, (62, n_times of that clip), µV, and one sentence for each repair.

    Raises
    ------
    BadInput : where the file cannot be read, lacks a channel, ends before its last clip or is sampled too slowly. The
        one file that is published corrupt gives empty clips and a repair instead.
    """
    try:
        raw = open_recording(path, session)
        columns = channel_columns(raw.ch_names, path)
        _check_rate(raw.info["sfreq"], path, processing)
        clips, repairs = [], _notes(raw, path)
        for film, (start_s, end_s) in enumerate(zip(START_S[session - 1], END_S[session - 1]), start=1):
            clip, made = _read_clip(raw, columns, start_s, end_s, processing)
            clips.append(clip)
            repairs += [f"{path.name}, film {film}: {repair}" for repair in made]
    except _UnreadableError as error:
        if path.name != KNOWN_CORRUPT:
            raise
        reason = str(error).splitlines()[0].removeprefix(f"{path}: ")
        return empty_clips(), [f"{path.name}: published corrupt, its {FILMS_PER_SESSION} clips are left out: {reason}"]
    return clips, repairs


def open_recording(path: Path, session: int) -> "mne.io.BaseRaw":
    """Open a recording without reading its samples. Raises BadInput unless it holds all clips of the session."""
    import mne

    try:
        # of the two places where versions of the format mark bad channels, the older lies inside the channel's name
        raw = mne.io.read_raw_cnt(path, header="new", preload=False, verbose="error")
    except Exception as error:  # a damaged header can raise anything inside the reader
        raise _UnreadableError(path, f"cannot be read: {_last_line(error)}") from error
    sfreq, n_times = raw.info["sfreq"], raw.n_times
    end_s = END_S[session - 1][-1]
    if not (sfreq > 0 and n_times / sfreq >= end_s):
        raise _UnreadableError(
            path,
            f"{n_times:,} samples at {sfreq:g} Hz end before the last film of session {session} does, at {end_s} s",
        )
    return raw


def recorded_sfreq(path: Path, session: int) -> float | None:
    """Samples per second of a recording, Hz; None where it cannot be read."""
    try:
        return float(open_recording(path, session).info["sfreq"])
    except _UnreadableError:
        return None


def channel_columns(names: list[str], path: Path) -> dict[str, int]:
    """Where each channel of the data set, and each EOG channel that is there, lies in a file: in any order and case.

    Raises BadInput where one of the data set's channels is missing or is there twice.
    """
    # mne adds a running number to names that repeat
    bare = [re.sub(r"-\d+$", "", name.strip()).upper() for name in names]
    counts = {name: bare.count(name.upper()) for name in CH_NAMES}
    missing = [name for name, count in counts.items() if not count]
    repeated = [name for name, count in counts.items() if count > 1]
    if missing or repeated:
        told = [f"no channel {', '.join(missing)}"] * bool(missing) + [f"{', '.join(repeated)} twice"] * bool(repeated)
        raise _UnreadableError(
            path,
            f"{' and '.join(told)} among {len(names)} channels",
            f"each of the {len(CH_NAMES)} channels {', '.join(CH_NAMES[:3])} … {CH_NAMES[-1]} once, in any order",
        )
    ocular = [name for name in EOG_NAMES if bare.count(name) == 1]
    return {name: bare.index(name.upper()) for name in (*CH_NAMES, *ocular)}


def margin_s(processing: Processing) -> int:
    """Seconds of the recording before and after a clip that its processing needs; 0 where nothing is filtered."""
    if not (processing.low_hz or processing.high_hz or processing.notch_hz or processing.sfreq_hz):
        return 0
    return max(MARGIN_S, math.ceil(MARGIN_PERIODS / processing.low_hz) if processing.low_hz else 0)


def _read_clip(
    raw: "mne.io.BaseRaw", columns: dict[str, int], start_s: int, end_s: int, processing: Processing
) -> tuple[np.ndarray, tuple[str, ...]]:
    """One clip, float32 (n_chans, n_times), µV, and the repairs made."""
    names = [name for name in columns if name in CH_NAMES or processing.ica_components]
    sfreq = raw.info["sfreq"]
    first_s = max(start_s - margin_s(processing), 0)
    stop = min(round((end_s + margin_s(processing)) * sfreq), raw.n_times)
    x = _read_uv(raw, [columns[name] for name in names], round(first_s * sfreq), stop)
    bads = [name for name in names if raw.ch_names[columns[name]] in raw.info["bads"]]
    excerpt = to_raw(x, sfreq=sfreq, ch_names=names)
    del x
    excerpt.info["bads"] = bads
    try:
        processed, repairs = process(excerpt, processing)
    except BadInput as error:
        error.args = (f"{Path(raw.filenames[0])}, the film from {start_s} s on: {error}",)
        raise
    del excerpt
    sfreq = processed.info["sfreq"]
    start, n_times = round((start_s - first_s) * sfreq), round((end_s - start_s) * sfreq)
    clip = processed.get_data(list(CH_NAMES), start=start, stop=start + n_times, verbose="error")
    return (clip * 1e6).astype(np.float32), repairs


def _read_uv(raw: "mne.io.BaseRaw", picks: list[int], start: int, stop: int) -> np.ndarray:
    """Samples of some channels, float64 (n_chans, n_times), µV; in pieces, since mne unpacks all channels of each."""
    x = np.empty((len(picks), stop - start))
    piece = max(round(PIECE_S * raw.info["sfreq"]), 1)
    try:
        for first in range(start, stop, piece):
            last = min(first + piece, stop)
            x[:, first - start : last - start] = raw.get_data(picks, start=first, stop=last, verbose="error")
    except Exception as error:  # as on opening
        path = Path(raw.filenames[0])
        raise _UnreadableError(path, f"samples {start:,} to {stop:,} cannot be read: {_last_line(error)}") from error
    x *= 1e6
    return x


def _check_rate(sfreq: float, path: Path, processing: Processing) -> None:
    """Raise BadInput where a recording is sampled at another rate than published, unless it is resampled downwards."""
    allowed = f"{RECORDED_SFREQ:g} Hz, as published"
    if processing.sfreq_hz:
        allowed += f", or another rate from the {processing.sfreq_hz:g} Hz of the processing {processing.name!r} up"
    if sfreq != RECORDED_SFREQ and not (processing.sfreq_hz and sfreq >= processing.sfreq_hz):
        raise BadInput(
            f"{path}: recorded at {sfreq:g} Hz",
            allowed=allowed,
            do="fetch the published file, or name a lower sfreq_hz",
        )


def _last_line(error: Exception) -> str:
    """What an error says. mne puts the steps that led to it before, with paths of this machine, and advice behind."""
    said = str(error).partition("WARNING: mne.io.")[0].strip()
    return said.splitlines()[-1].strip()[:200] if said else type(error).__name__


def _notes(raw: "mne.io.BaseRaw", path: Path) -> list[str]:
    notes = []
    if path.stem.lower().endswith(REPAIRED):
        notes.append(f"{path.name}: the publisher's repaired file is read")
    if raw.info["sfreq"] != RECORDED_SFREQ:
        notes.append(f"{path.name}: recorded at {raw.info['sfreq']:g} Hz, published at {RECORDED_SFREQ:g} Hz")
    return notes
