"""Recordings: one BDF file of FACED, raw or of the BIDS copy. A path in, the common channels in order and unit out.

Channels go by name: cohort 1 has the old names T3 T4 T5 T6 and mastoids in the middle, cohort 2 ends in eye channels,
so positions mean nothing.

Unit: all 123 files hold µV (0.0447 µV a count). 33 of them (004, 005, 008 to 035, 058 to 060) name it "?V", the µ
having been lost; mne takes a unit it does not know for volts. The column Unit of Recording_info.csv says what mne makes
of a file ("V" where it knows the unit, "uV" for the 33) and not what is in it. So the header decides here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from valence.errors import BadInput
from valence.faced_files import FacedFiles

if TYPE_CHECKING:
    import mne

N_COMMON = 30
CH_NAMES = FacedFiles.ch_names[:N_COMMON]
"""what both cohorts recorded, in the order of the processed data without its last two"""
OLD_NAMES = {"t3": "T7", "t4": "T8", "t5": "P7", "t6": "P8"}
UV_OF_UNIT = {"uV": 1.0, "µV": 1.0, "μV": 1.0, "\x83\xcaV": 1.0, "?V": 1.0, "mV": 1e3, "V": 1e6}
V_OF_MNE = {"uV": 1e-6, "µV": 1e-6, "μV": 1e-6, "\x83\xcaV": 1e-6, "mV": 1e-3}
"""what mne multiplies with; a unit that is not here it takes for volts"""


@dataclass(frozen=True)
class Header:
    """What the header of a BDF file says."""

    sfreq: float
    n_times: int
    labels: tuple[str, ...]
    units: tuple[str, ...]


def read_header(path: Path) -> Header:
    """Header of a BDF file. Raises BadInput where it is none, or the file is shorter than the header says."""
    try:
        with path.open("rb") as file:
            head = file.read(256)
            if head[:8] != b"\xffBIOSEMI":
                raise ValueError(f"it begins with {head[:8]!r}")
            n_records, n_signals = int(head[236:244]), int(head[252:256])
            record_s = float(head[244:252])
            if not (1 <= n_signals <= 512 and record_s > 0):
                raise ValueError(f"{n_signals} signals in records of {record_s:g} s")
            fields = file.read(256 * n_signals)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {error}", allowed="a BDF file (24 bits)", do="fetch the file again") from error

    def column(offset: int, width: int) -> list[str]:
        start = offset * n_signals
        cells = (fields[start + width * index : start + width * (index + 1)] for index in range(n_signals))
        return [cell.decode("latin-1").strip() for cell in cells]

    labels, units = column(0, 16), column(96, 8)
    try:
        samples = [int(cell) for cell in column(216, 8)]
    except ValueError as error:
        raise BadInput(f"{path}: its header is truncated", allowed="a BDF file", do="fetch the file again") from error
    size, needed = path.stat().st_size, 256 * (n_signals + 1) + max(n_records, 0) * 3 * sum(samples)
    if size < needed or n_records < 1:
        raise BadInput(
            f"{path}: truncated: {size:,} bytes, its header announces {n_records} records and {needed:,} bytes",
            allowed="the whole file",
            do="fetch the file again",
        )
    signals = [n for n, label in zip(samples, labels) if "Annotations" not in label] or samples
    return Header(max(signals) / record_s, max(signals) * n_records, tuple(labels), tuple(units))


def standard_name(label: str) -> str:
    """Name of an electrode as cohort 2 has it, spelt as in `CH_NAMES`; other labels as they are."""
    standard = {name.lower(): name for name in CH_NAMES} | OLD_NAMES
    return standard.get(label.strip().lower(), label.strip())


def match_channels(labels: Sequence[str], *, source: Path) -> dict[str, str]:
    """Label in the file to name in `CH_NAMES`, in that order. Raises BadInput where one is missing or twice there."""
    found: dict[str, str] = {}
    for label in labels:
        name = standard_name(label)
        if name in found:
            raise _refused(source, f"channel {name} is there twice, as {found[name]} and {label}")
        if name in CH_NAMES:
            found[name] = label
    missing = [name for name in CH_NAMES if name not in found]
    if missing:
        raise _refused(source, f"no channel {', '.join(missing)}; it has {', '.join(labels)}")
    return {found[name]: name for name in CH_NAMES}


def _refused(source: Path, got: str) -> BadInput:
    return BadInput(
        f"{source}: {got}",
        allowed=f"each of {', '.join(CH_NAMES)} once, in any order (T3 T4 T5 T6 are read as T7 T8 P7 P8)",
        do="fetch the file again, or name its channels as published",
    )


def open_bdf(path: Path) -> tuple["mne.io.BaseRaw", float, list[str]]:
    """The common channels in their order, not loaded; what to multiply mne's numbers with to get µV; repairs."""
    import mne

    header = read_header(path)
    names = match_channels(header.labels, source=path)
    units = {header.units[header.labels.index(label)] for label in names}
    if len(units) > 1 or not units <= set(UV_OF_UNIT):
        raise BadInput(
            f"{path}: unit {', '.join(repr(unit) for unit in sorted(units))}",
            allowed="one of uV, mV, V (or ?V, read as µV) for all channels",
            do="fetch the file again, or correct the unit in its header",
        )
    unit = units.pop()
    repairs = [f"{path}: the unit ?V in its header was read as µV"] if unit == "?V" else []
    try:
        raw = mne.io.read_raw_bdf(path, include=list(names), preload=False, verbose="error")
    except Exception as error:  # mne raises what it meets in a damaged file
        raise BadInput(
            f"{path}: mne cannot read it: {type(error).__name__}: {error}",
            allowed="a BDF file (24 bits)",
            do="fetch the file again",
        ) from error
    raw.rename_channels(names, verbose="error")
    raw.reorder_channels(list(CH_NAMES))
    return raw, UV_OF_UNIT[unit] / V_OF_MNE.get(unit, 1.0), repairs
