"""Recordings: FACED's files as the publisher writes them. Arrays and tables in, files out.

Band features. The published pickles are of protocol 4 and of NumPy 1 (`numpy.core.multiarray`; NumPy 2 names the same
function `numpy._core.multiarray`, one byte more): 152 bytes before and 14 after the 1,075,200 of float64 numbers. What
`write_array` writes differs from a published file in nothing but the numbers.
Recordings are written the same way. How the publisher's are laid out beyond "Python 2 pickle" is not in our facts.
"""

import csv
import io
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy.io

from valence.cache import write_whole

COLUMNS = ("sub", "Gender", "Age", "Cohort ", "Sample_rate", "Unit")
"""of Recording_info.csv, the blank is the publisher's"""
MICROVOLT_HZ_250 = (4, 5, *range(8, 36), *range(58, 61))
"""numbers of the subjects recorded at 250 Hz in µV"""
VOLT_HZ_250 = range(36, 58)
"""numbers of the subjects recorded at 250 Hz in V; all others at 1,000 Hz in V"""
_WRITTEN, _PUBLISHED = (
    b"\x8c" + bytes([len(name)]) + name for name in (b"numpy._core.multiarray", b"numpy.core.multiarray")
)
_FRAME = slice(3, 11)
"""where the length of the first frame stands: after the opcodes PROTO 4 and FRAME"""
HEADER, N_HEADER = b"MATLAB 5.0 MAT-file, written by valence", 116
"""text at the begin of a MATLAB file, and the bytes that are set aside for it"""
_AFTER_REMARK = np.dtype([(name, "O") for name in ("score", "trial", "vid", "Accuracy", "ResponseTime")])


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as the publisher does; the file appears whole or not at all."""
    written = pickle.dumps(array, protocol=4)
    name = written.find(_WRITTEN, 0, 64)
    head = bytearray(written[: name + len(_WRITTEN)])
    if name >= 0:
        head[name:] = _PUBLISHED
        shorter = int.from_bytes(written[_FRAME], "little") - (len(_WRITTEN) - len(_PUBLISHED))
        head[_FRAME] = shorter.to_bytes(8, "little")

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(head)
            file.write(memoryview(written)[name + len(_WRITTEN) :] if name >= 0 else written)

    write_whole(path, write)


def write_after_remarks(path: Path, scores: np.ndarray, order: np.ndarray) -> None:
    """Write After_remarks.mat of one subject.

    Parameters
    ----------
    scores : (n_clips, 12), ratings from 0 to 7 by clip.
    order : (n_clips,), clips, from 0, as they were shown.

    The file holds the structures `After_remark` in the order of presentation, (n_clips, 1), clip and trial numbered
    from 1, and Accuracy and ResponseTime empty, as published.
    """
    remarks = np.empty((len(order), 1), dtype=_AFTER_REMARK)
    nothing = np.empty((1, 0))
    for rank, clip in enumerate(order):
        remarks[rank, 0] = (
            scores[clip][None],
            np.array([[rank + 1]], np.uint8),
            np.array([[clip + 1]], np.uint8),
            nothing,
            nothing,
        )

    content = io.BytesIO()
    scipy.io.savemat(content, {"After_remark": remarks}, do_compression=True)
    # scipy's own header tells the time, and the same ratings would never give the same file
    written = HEADER.ljust(N_HEADER) + content.getvalue()[N_HEADER:]
    write_whole(path, lambda temporary: temporary.write_bytes(written))


def recording_facts(number: int) -> tuple[int, str]:
    """Sampling rate (Hz) and unit of the original recording of a subject, as Recording_info.csv has them."""
    if number in MICROVOLT_HZ_250:
        return 250, "uV"
    return (250, "V") if number in VOLT_HZ_250 else (1000, "V")


def write_recording_info(path: Path, people: Mapping[str, tuple[str, int, int]]) -> None:
    """Write Recording_info.csv as published, line ends included. people: subject to gender, age and cohort."""

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\r\n")
            table.writerow(COLUMNS)
            for subject, person in people.items():
                table.writerow([subject, *person, *recording_facts(int(subject.removeprefix("sub")))])

    write_whole(path, write)
