"""FACED recordings in the publisher's and in the BIDS layout, with planted truth, written as real BDF files.

In the last 30 s of clip k (from 0) channel c carries a sine of `frequency(c)` Hz and `amplitude(k)` µV; before that, a
50-µV sine of another frequency that must not be read. Amplifiers are DC-coupled: each channel has an offset of
thousands of µV and a drift.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io
from edfio import Bdf, BdfSignal, EdfAnnotation

from valence.faced_bdf import CH_NAMES
from valence.faced_bids import TASK
from valence.faced_ratings import RATINGS
from valence.faced_stimuli import STIMULI

COHORT_1 = (
    *("Fp1", "Fp2", "Fz", "F3", "F4", "F7", "F8", "FC1", "FC2", "FC5", "FC6", "Cz", "C3", "C4", "T3", "T4", "A1", "A2"),
    *("CP1", "CP2", "CP5", "CP6", "Pz", "P3", "P4", "T5", "T6", "PO3", "PO4", "Oz", "O1", "O2"),
)
COHORT_2 = (*CH_NAMES, "HEOR", "HEOL")
NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
LEAD_S = 2.0
"""from a clip's start to its last 30 s"""
GAP_S = 3.0
SHARED_HZ = 38.7
"""of a sine that all channels have: electrodes that share nothing would be taken for bad ones"""
ORDER = tuple(np.random.default_rng(7).permutation(28).tolist())
"""clip shown first, second, …"""


def frequency(name: str) -> float:
    """Hz of the sine in a channel."""
    return 2.0 + CH_NAMES.index(name) if name in CH_NAMES else 45.5


def amplitude(clip: int) -> float:
    """µV of the sines in a clip."""
    return 20.0 + 2 * clip


def spans(order: Sequence[int] = ORDER, *, first_s: float = 5.0) -> dict[int, tuple[float, float]]:
    """Onset and end of each clip, s."""
    length = LEAD_S + 30.0
    onsets = {clip: first_s + place * (length + GAP_S) for place, clip in enumerate(order)}
    return {clip: (onset, onset + length) for clip, onset in onsets.items()}


def signal(name: str, sfreq: float) -> np.ndarray:
    """One channel, (n_times,) µV."""
    found = spans()
    times = np.arange(round(np.ceil(max(end for _, end in found.values()) + 5) * sfreq)) / sfreq
    x = 50 * np.sin(2 * np.pi * 11.3 * times)
    for clip, (_, end) in found.items():
        start, stop = round((end - 30) * sfreq), round(end * sfreq)
        inside = times[start:stop] - (end - 30)
        x[start:stop] = amplitude(clip) * np.sin(2 * np.pi * frequency(name) * inside)
        x[start:stop] += 1.5 * amplitude(clip) * np.sin(2 * np.pi * SHARED_HZ * inside)
    return x + 3000 * (1 + len(name)) + 0.2 * times


def write_bdf(path: Path, *, sfreq: float, labels: Sequence[str], unit: str = "uV", scale: float = 1.0) -> Path:
    """A recording; the header names `unit`, the numbers are µV times `scale`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    signals = [
        BdfSignal(
            signal(NAMES.get(label, label), sfreq) * scale,
            sfreq,
            label=label,
            physical_dimension="uV",
            physical_range=(-375000 * scale, 375000 * scale),
        )
        for label in labels
    ]
    Bdf(signals, data_record_duration=1).write(path)
    set_header(path, "unit", [unit] * len(labels))
    return path


def set_header(path: Path, field: str, values: Sequence[str]) -> None:
    """Overwrite what the header says of every channel: "label" or "unit"."""
    offset, width = {"label": (0, 16), "unit": (96, 8)}[field]
    with path.open("r+b") as file:
        n_signals = int(file.read(256)[252:256])
        file.seek(256 + offset * n_signals)
        file.write(b"".join(value.encode("latin-1").ljust(width) for value in values))


def triggers(order: Sequence[int] = ORDER) -> list[tuple[float, str]]:
    """What evt.bdf says: 100 some times, a resting period, then number, 101 and 102 of each clip."""
    found = spans(order)
    events = [(0.2, "100"), (0.7, "100"), (1.0, "Start Impedance"), (2.0, "201"), (3.0, "202")]
    for clip in order:
        onset, end = found[clip]
        events += [(onset - 0.5, str(clip + 1)), (onset, "101"), (end, "102")]
    return events


def write_events(path: Path, events: Sequence[tuple[float, str]]) -> Path:
    """evt.bdf in its published geometry: an empty channel of a sample a second, and annotations."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n_seconds = int(max(onset for onset, _ in events)) + 5
    empty = BdfSignal(np.zeros(n_seconds), 1, label="Empty Event Data", physical_range=(-375000, 375000))
    annotations = [EdfAnnotation(onset, None, text) for onset, text in events]
    Bdf([empty], data_record_duration=1, annotations=annotations).write(path)
    return path


def scores(seed: int = 0) -> np.ndarray:
    """Ratings of one subject, float (28, 12), by clip."""
    return np.random.default_rng(seed).uniform(0, 7, (28, 12))


def write_remarks(path: Path, order: Sequence[int] = ORDER, ratings: np.ndarray | None = None) -> Path:
    """After_remarks.mat: a structure of entries in the order of presentation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ratings = scores() if ratings is None else ratings
    fields = ("score", "trial", "vid", "Accuracy", "ResponseTime")
    remark = np.empty((len(order), 1), dtype=[(name, object) for name in fields])
    for place, clip in enumerate(order):
        empty = np.zeros((1, 0))
        remark[place, 0] = (ratings[clip][None], np.array([[place + 1]]), np.array([[clip + 1]]), empty, empty)
    scipy.io.savemat(path, {"After_remark": remark})
    return path


def write_raw_subject(root: Path, subject: str, *, sfreq: float = 250.0, labels=COHORT_1, unit: str = "uV") -> Path:
    """`Data/subXXX` of the publisher."""
    folder = root / "Data" / subject
    write_bdf(folder / "data.bdf", sfreq=sfreq, labels=labels, unit=unit)
    write_events(folder / "evt.bdf", triggers())
    write_remarks(folder / "After_remarks.mat")
    return folder


def event_lines(order: Sequence[int] = ORDER, ratings: np.ndarray | None = None) -> list[list[str]]:
    """Rows of events.tsv, header first."""
    ratings = scores() if ratings is None else ratings
    header = ["onset", "duration", "trial_type", "value", "sample", "emotion_label", "binary_label", "video_index"]
    lines = [[*header, *(name.capitalize() for name in RATINGS)]]
    lines += [["0.2", "0.0", "Experiment start", "5", "50", *["n/a"] * 15]]
    for clip in order:
        onset, end = spans(order)[clip]
        emotion = STIMULI[clip].emotion.capitalize() if STIMULI[clip].emotion != "neutral" else "\\"
        row = [f"{onset}", f"{end - onset}", STIMULI[clip].film, str(28 - clip), str(round(onset * 250)), emotion]
        lines.append([*row, STIMULI[clip].valence, str(clip + 1), *(f"{rating}" for rating in ratings[clip])])
    return lines


def write_tsv(path: Path, lines: Sequence[Sequence[str]]) -> Path:
    """A table as mne-bids writes it, with a byte-order mark."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8-sig")
    return path


def write_bids_subject(
    root: Path, subject: str, *, sfreq: float = 1000.0, labels=COHORT_2, unit: str = "uV", bads: Sequence[str] = ()
) -> Path:
    """`sub-XXX/eeg` of the BIDS copy; returns the recording."""
    stem = root / f"sub-{subject}" / "eeg" / f"sub-{subject}_{TASK}"
    path = write_bdf(Path(f"{stem}_eeg.bdf"), sfreq=sfreq, labels=labels, unit=unit)
    status = [[label, "EEG", "µV", "bad" if label in bads else "good"] for label in labels]
    write_tsv(Path(f"{stem}_channels.tsv"), [["name", "type", "units", "status"], *status])
    write_tsv(Path(f"{stem}_events.tsv"), event_lines())
    Path(f"{stem}_eeg.json").write_text(json.dumps({"SamplingFrequency": sfreq}), encoding="utf-8")
    return path
