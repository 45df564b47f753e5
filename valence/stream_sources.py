"""Streams to arrays in µV: a recording on disk, whole, or a live stream of Lab Streaming Layer, piece by piece.

Files are read by readers that run nothing: .npy without pickles, BDF and EDF by mne, FACED's pickles by
`valence.unpickle`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from valence.errors import BadInput
from valence.faced_bdf import UV_OF_UNIT, V_OF_MNE, read_header
from valence.faced_files import FacedFiles
from valence.unpickle import load_array

if TYPE_CHECKING:
    import pylsl

LSL_UNITS = {"microvolts": 1.0, "microvolt": 1.0, "millivolts": 1e3, "volts": 1e6, "": 0.0} | UV_OF_UNIT
"""µV in a unit, by what amplifiers call it; 0: not told"""
LSL_PULL_S = 0.2
GAP_SAMPLES = 2.5
"""a stream has a gap where timestamps are further apart than so many samples"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """A recording, or several of one subject."""

    sections: Sequence[np.ndarray]
    """float, (n_chans, n_times) each, µV: no window reaches from one into the next"""
    sfreq: float
    ch_names: tuple[str, ...]
    source: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Live:
    """A stream that is still going on."""

    pieces: Callable[[], Iterator[np.ndarray | None]]
    """float, (n_chans, n), µV, as they come; None where samples were lost in between"""
    sfreq: float
    ch_names: tuple[str, ...]
    source: str


def read_npy(path: Path, *, sfreq: float, ch_names: Sequence[str]) -> Recorded:
    """An array of µV, (n_chans, n_times) or (n_sections, n_chans, n_times). Raises BadInput."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("an archive of arrays")
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(
            f"{path}: {error}", allowed="a .npy file of plain numbers", do="write it by numpy.save"
        ) from error
    if array.ndim not in (2, 3) or array.dtype.kind not in "fiu" or array.shape[-2] != len(ch_names) or not array.size:
        raise BadInput(
            f"{path}: {array.dtype} of shape {array.shape} for {len(ch_names)} channels",
            allowed="numbers of shape (n_chans, n_times) or (n_sections, n_chans, n_times)",
            do="turn the array round, or name all of its channels",
        )
    sections = [array] if array.ndim == 2 else list(array)
    return Recorded(sections=sections, sfreq=float(sfreq), ch_names=tuple(ch_names), source=str(path))


def read_faced(path: Path) -> Recorded:
    """One subject of FACED's processed data: 28 clips of 30 s, by the reader that never runs a pickle."""
    shape = (FacedFiles.n_clips, len(FacedFiles.ch_names), round(FacedFiles.clip_seconds[0] * FacedFiles.sfreq))
    clips = load_array(path, shape=shape)
    return Recorded(sections=list(clips), sfreq=FacedFiles.sfreq, ch_names=FacedFiles.ch_names, source=str(path))


def read_bdf(path: Path) -> Recorded:
    """A BDF file with all of its signals, by the units in its header. Raises BadInput."""
    import mne

    header = read_header(path)
    units = dict(zip(header.labels, header.units, strict=True))
    names = [label for label in header.labels if "Annotations" not in label and units[label] in UV_OF_UNIT]
    if not names:
        raise BadInput(f"{path}: no signal in volts", allowed="EEG in uV, mV or V", do="correct the header's units")
    try:
        raw = mne.io.read_raw_bdf(path, include=names, preload=True, verbose="error")
    except Exception as error:  # mne raises what it meets in a damaged file
        raise BadInput(f"{path}: mne cannot read it: {error}", allowed="a BDF file", do="fetch it again") from error
    factors = [UV_OF_UNIT[units[name]] / V_OF_MNE.get(units[name], 1.0) for name in raw.ch_names]
    signal = raw.get_data() * np.array(factors)[:, None]
    return Recorded(sections=[signal], sfreq=raw.info["sfreq"], ch_names=tuple(raw.ch_names), source=str(path))


def read_recording(path: Path, *, sfreq: float = 0.0, ch_names: Sequence[str] = ()) -> Recorded:
    """A recording by its ending: .bdf, .npy (with rate and channels), or a subject's .pkl of FACED. Raises BadInput."""
    path = Path(path)
    if path.suffix == ".bdf":
        return read_bdf(path)
    if path.suffix == ".pkl":
        return read_faced(path)
    if path.suffix == ".npy" and sfreq > 0 and ch_names:
        return read_npy(path, sfreq=sfreq, ch_names=ch_names)
    raise BadInput(
        f"{path}{' without its rate and channels' if path.suffix == '.npy' else ''}",
        allowed=".bdf; .npy with sfreq and ch_names; .pkl of FACED's processed data",
        do="give what is missing, or convert the recording",
    )


def open_lsl(*, name: str = "", unit: str = "", timeout_s: float = 10.0, idle_s: float = 5.0) -> Live:
    """The EEG stream of this name on the network, or the only one there is.

    Parameters
    ----------
    unit : of its channels where the stream does not say.
    timeout_s : how long it is looked for.
    idle_s : a stream that sends nothing for so long has ended.

    Raises
    ------
    BadInput : where the extra is not installed, there is no such stream or more than one, or its channels have no
        names, its rate is not regular or its unit not known.
    """
    try:
        import pylsl
    except (ImportError, RuntimeError) as error:  # RuntimeError: the library beside it is missing
        raise BadInput(
            f"Lab Streaming Layer: {error}", allowed="the package pylsl", do="install the extra: pip install .[lsl]"
        ) from error
    wanted = ("name", name) if name else ("type", "EEG")
    found = pylsl.resolve_byprop(*wanted, timeout=timeout_s)
    if len(found) != 1:
        listed = ", ".join(f"{info.name()} on {info.hostname()}" for info in found) or "none"
        raise BadInput(
            f"{len(found)} streams with {wanted[0]} {wanted[1]!r} within {timeout_s:g} s: {listed}",
            allowed="one stream",
            do="start the amplifier's stream, or give its name",
        )
    inlet = pylsl.StreamInlet(found[0], max_buflen=60)
    info = inlet.info(timeout_s)
    ch_names, factors = _lsl_channels(info, unit)
    return Live(
        pieces=lambda: _lsl_pieces(inlet, factors, sfreq=info.nominal_srate(), idle_s=idle_s),
        sfreq=info.nominal_srate(),
        ch_names=ch_names,
        source=f"stream {info.name()}",
    )


def _lsl_channels(info: "pylsl.StreamInfo", unit: str) -> tuple[tuple[str, ...], np.ndarray]:
    names, factors = [], []
    channel = info.desc().child("channels").child("channel")
    for _ in range(info.channel_count()):
        names.append(channel.child_value("label"))
        factors.append(LSL_UNITS.get(channel.child_value("unit") or unit, 0.0))
        channel = channel.next_sibling("channel")
    if not all(names) or not info.nominal_srate() > 0 or not all(factors):
        problem = "its rate is not regular" if not info.nominal_srate() > 0 else "channels without a name"
        raise BadInput(
            f"stream {info.name()}: {problem if not all(names) or not info.nominal_srate() > 0 else 'unknown unit'}",
            allowed=f"a regular rate, a label for each channel, a unit of {', '.join(filter(None, LSL_UNITS))}",
            do="set them in the amplifier's program, or give the unit",
        )
    return tuple(names), np.array(factors)


def _lsl_pieces(inlet: Any, factors: np.ndarray, *, sfreq: float, idle_s: float) -> Iterator[np.ndarray | None]:
    last, idle = None, 0.0
    while idle < idle_s:
        samples, stamps = inlet.pull_chunk(timeout=LSL_PULL_S)
        if not stamps:
            idle += LSL_PULL_S
            continue
        idle = 0.0
        steps = np.diff(stamps if last is None else [last, *stamps])
        last = stamps[-1]
        if (steps > GAP_SAMPLES / sfreq).any():
            yield None
        yield np.asarray(samples, dtype=np.float64).T * factors[:, None]
