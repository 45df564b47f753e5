"""Recordings: FACED's files as published, for every data set that keeps to them. Facts, names and reading.

In: a folder with `Processed_data/subXXX.pkl`, `EEG_Features/DE/subXXX.pkl.pkl`, `EEG_Features/PSD`, or several of them.
Out: arrays of one subject.
Chen et al. 2023, Scientific Data 10:740, doi 10.1038/s41597-023-02650-w.
"""

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from valence.dataset_checks import file_is_there
from valence.datasets.base import Dataset, Part, Recording
from valence.errors import BadInput
from valence.faced_stimuli import FILMS, STIMULI, describe_those_of
from valence.features import BANDS
from valence.matlab_struct import NotReadableError, read_numbers
from valence.processing import Processing, process, to_raw
from valence.unpickle import load_array

if TYPE_CHECKING:
    import pandas as pd

FOLDERS = {"windows": Path("Processed_data"), "de": Path("EEG_Features/DE"), "psd": Path("EEG_Features/PSD")}
SUFFIXES = {"windows": ".pkl", "de": ".pkl.pkl", "psd": ".pkl.pkl"}
"""how the publisher names the files; all of .pkl, .pkl.pkl and .mat are read"""
RECORDING_INFO = "Recording_info.csv"
N_SUBJECTS = 123
N_COHORT_1 = 61
"""subjects 000 to 060 are the first recording campaign"""
MEAN_VALENCE = (
    2.00, 1.51, 1.60, 1.64, 1.71, 1.57, 1.65, 1.48, 1.57, 1.57, 1.96, 2.05, 3.05, 3.24,
    3.33, 3.09, 4.04, 4.22, 4.42, 5.23, 4.93, 4.21, 4.39, 4.43, 4.30, 4.42, 4.25, 4.62,
)  # fmt: skip
"""self-rated valence of clips 1 to 28 on a scale of 0 to 7, averaged over all subjects"""
_SUBJECT_FILE = re.compile(r"(sub(\d{3}))\.(pkl|pkl\.pkl|mat)")


def subject_name(number: int) -> str:
    """Name of a subject as the files have it: 7 is "sub007"."""
    return f"sub{number:03d}"


class FacedFiles(Dataset):
    """The layout of FACED. Of the last two channels (mastoids) the sources dispute the order: A1 A2 or A2 A1."""

    sfreq = 250.0
    ch_names = (
        *("Fp1", "Fp2", "Fz", "F3", "F4", "F7", "F8", "FC1", "FC2", "FC5", "FC6", "Cz", "C3", "C4", "T7", "T8"),
        *("CP1", "CP2", "CP5", "CP6", "Pz", "P3", "P4", "P7", "P8", "PO3", "PO4", "Oz", "O1", "O2", "A1", "A2"),
    )
    off_scalp = ("A1", "A2")
    n_clips = 28
    clip_seconds = (30.0,) * 28
    """the last half minute of each clip"""
    shown_seconds = tuple(stimulus.duration_s for stimulus in STIMULI)
    classes = ("anger", "disgust", "fear", "sadness", "neutral", "amusement", "inspiration", "joy", "tenderness")
    class_of_clip = tuple(np.repeat(range(9), [3, 3, 3, 3, 4, 3, 3, 3, 3]).tolist())
    films = FILMS
    bands = BANDS
    block_clips = 4
    standard_split = (
        Part(tuple(subject_name(number) for number in range(80))),
        Part(tuple(subject_name(number) for number in range(80, 100))),
        Part(tuple(subject_name(number) for number in range(100, N_SUBJECTS))),
    )

    def __init__(self, root: Path | None, *, processing: Processing | None = None):
        super().__init__(root, processing=processing)
        self._files = {input: self._find(input) for input in FOLDERS}
        if not self.inputs:
            raise BadInput(
                f"{self.root}: no subject in {' or '.join(str(folder) for folder in FOLDERS.values())}; "
                f"the folder holds {listing(self.root)}",
                allowed="Processed_data/subXXX.pkl or EEG_Features/DE/subXXX.pkl.pkl (or .pkl, .mat; or PSD) inside it",
                do=self._advice(),
            )
        present = {subject for files in self._files.values() for subject in files}
        self._recordings = checked_recordings(self.root, present)

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(input for input, files in self._files.items() if files)

    def files(self, input: str) -> dict[str, tuple[Path, ...]]:
        self.lengths(input)  # refuses an unknown input
        if not self._files[input]:
            raise BadInput(
                f"{self.root}: no files for the input {input!r}",
                allowed=f"subjects in {self.root / FOLDERS[input]}",
                do=f"fetch them, or take a classifier for {' or '.join(self.inputs)}",
            )
        return {subject: (path,) for subject, path in self._files[input].items()}

    def shared_files(self) -> tuple[Path, ...]:
        return info_files(self.root)

    def cohort(self, subject: str) -> int:
        return cohort_of(subject)

    def recording_sfreq(self, subject: str) -> float | None:
        """As Recording_info.csv has it, where it is there: the files themselves are all at 250 Hz."""
        found = self._recordings.get(subject)
        return found.sfreq if found else None

    def presentation(self, subject: str) -> np.ndarray | None:
        from valence.faced_ratings import presentation  # it stands on this module

        table = self._report_or_table(subject)
        return None if table is None else presentation(table, subject)

    def reports(self, subjects: Sequence[str]) -> dict[str, np.ndarray]:
        """By After_remarks.mat of each subject or, of those without, the table `ratings*.csv` in the folder."""
        from valence.faced_reports import by_scale

        tables = [self._report_or_table(subject) for subject in subjects]
        return by_scale([table for table in tables if table is not None], subjects)

    def _report_or_table(self, subject: str) -> "pd.DataFrame | None":
        own = self._reports(subject)
        return self._ratings_table.get(subject) if own is None else own

    @cached_property
    def _ratings_table(self) -> "dict[str, pd.DataFrame]":
        from valence.faced_reports import ratings_table

        return ratings_table(self.root)

    def ratings_of(self, subjects: Sequence[str]) -> np.ndarray | None:
        """Mean self-rated valence over some subjects, by their `Data/subXXX/After_remarks.mat`: see `ratings`."""
        from valence.faced_ratings import mean_of_subjects

        known = {subject for files in self._files.values() for subject in files}
        return mean_of_subjects(subjects, known=known, read=self._reports, where=self.root)

    def _reports(self, subject: str) -> "pd.DataFrame | None":
        from valence.faced_ratings import read_after_remarks

        path = self.root / "Data" / subject / "After_remarks.mat"
        return read_after_remarks(path, subject=subject) if file_is_there(path) else None

    def clip_descriptions(self) -> tuple[str, ...]:
        return describe_those_of(self.root)

    def read(self, subject: str, input: str) -> Recording:
        path = self._files[input][subject]
        tail = () if input == "windows" else (len(self.bands),)
        rate = self.sfreq if input == "windows" else 1 / self.de_step_s
        shape = (self.n_clips, len(self.ch_names), round(self.clip_seconds[0] * rate), *tail)
        array = read_mat(path, shape=shape) if path.suffix == ".mat" else load_array(path, shape=shape)
        if input == "windows" and self.processing.steps:
            return process_clips(array, self.processing, sfreq=self.sfreq, ch_names=self.ch_names)
        return Recording(array)

    def _find(self, input: str) -> dict[str, Path]:
        """Subject to file, sorted. A file that means to be a subject and is not named like one is an error."""
        found: dict[str, Path] = {}
        folder = self.root / FOLDERS[input]
        if (folder.is_symlink() or folder.exists()) and not folder.is_dir():
            raise BadInput(f"{folder}: not a folder", allowed="a folder of files", do="fetch it again, or remove it")
        for path in sorted(folder.glob("[sS]ub*")):
            match = _SUBJECT_FILE.fullmatch(path.name)
            if match is None or int(match[2]) >= N_SUBJECTS:
                raise BadInput(
                    f"{path}: not the name of a subject's file",
                    allowed=f"sub000 to {subject_name(N_SUBJECTS - 1)} with .pkl, .pkl.pkl or .mat",
                    do="rename the file, or move it elsewhere",
                )
            if match[1] in found:
                raise BadInput(
                    f"{path.parent}: subject {match[1]} appears twice, as {found[match[1]].name} and {path.name}",
                    allowed="one file a subject",
                    do="move one of them elsewhere",
                )
            if file_is_there(path):
                found[match[1]] = path
        return found

    def _advice(self) -> str:
        for parent in self.root.parents[:2]:
            if any(next((parent / folder).glob("sub*"), None) for folder in FOLDERS.values()):
                return f"give {parent}, the folder above"
        return f"name the folder that holds them, or fetch {self.name} from {self.url}"


@dataclass(frozen=True)
class RecordingInfo:
    """What Recording_info.csv says of the original recording of a subject."""

    cohort: int
    sfreq: float | None
    """samples per second, Hz; None where the table has no rate"""
    unit: str
    """as it is there; "" where the table has none"""


def cohort_of(subject: str) -> int:
    """Recording campaign, 1 or 2, of a subject by its published number."""
    return 1 if int(subject.removeprefix("sub")) < N_COHORT_1 else 2


def info_files(root: Path) -> tuple[Path, ...]:
    """Recording_info.csv, where it is there."""
    path = root / RECORDING_INFO
    return (path,) if file_is_there(path) else ()


def checked_recordings(root: Path, subjects: Iterable[str]) -> dict[str, RecordingInfo]:
    """What Recording_info.csv says, by subject; empty where it is not there.

    Raises BadInput where a subject is of another cohort than its number has: who has renamed files learns it here.
    """
    found = {subject: info for path in info_files(root) for subject, info in read_recordings(path).items()}
    for subject in sorted(subjects):
        if subject in found and found[subject].cohort != cohort_of(subject):
            raise BadInput(
                f"{root / RECORDING_INFO}: {subject} is of cohort {found[subject].cohort}",
                allowed=f"cohort {cohort_of(subject)}: subjects 000 to 060 are cohort 1, 061 to 122 cohort 2",
                do="restore the published file names and table",
            )
    return found


def read_recordings(path: Path) -> dict[str, RecordingInfo]:
    """Recording_info.csv, by subject. Raises BadInput where encoding, columns or values are wrong."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = list(csv.DictReader(file))
        rows = [{str(key).strip(): str(value or "").strip() for key, value in row.items()} for row in table]
        found = {row["sub"]: _info(row) for row in rows}
        if not rows:
            raise ValueError("it has no rows")
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise BadInput(
            f"{path}: {type(error).__name__} {error}",
            allowed="UTF-8 text, columns sub and Cohort (published with a trailing blank), one whole number a subject",
            do="fetch the table again, or remove it: cohorts are then known by number",
        ) from error
    if len(found) != len(rows):
        raise BadInput(f"{path}: a subject appears twice", allowed="one row a subject", do="fetch the table again")
    return found


def _info(row: dict[str, str]) -> RecordingInfo:
    rate = float(row["Sample_rate"]) if row.get("Sample_rate") else None
    if rate is not None and not 0 < rate < math.inf:
        raise ValueError(f"Sample_rate {row['Sample_rate']} of {row['sub']}")
    return RecordingInfo(int(row["Cohort"]), rate, row.get("Unit", ""))


def process_clips(clips: np.ndarray, processing: Processing, *, sfreq: float, ch_names: tuple[str, ...]) -> Recording:
    """Process clips that were cut before, (n_clips, n_chans, n_times) µV, each by itself."""
    found = [process(to_raw(clip, sfreq=sfreq, ch_names=ch_names), processing) for clip in clips]
    repairs = [f"clip {number + 1}: {text}" for number, (_, texts) in enumerate(found) for text in texts]
    return Recording(np.stack([raw.get_data() * 1e6 for raw, _ in found]), tuple(repairs))


def read_mat(path: Path, *, shape: tuple[int, ...]) -> np.ndarray:
    """The one array of this many dimensions in a MATLAB file, float64. Raises BadInput where its shape is another."""
    try:
        return read_numbers(path, shape=shape)
    except (NotReadableError, OSError) as error:
        raise BadInput(
            f"{path}: cannot be read: {error}",
            allowed=f"a MATLAB file (before 7.3: save with '-v7') with one array of shape {shape}",
            do="fetch the file again",
        ) from error


def listing(folder: Path, most: int = 8) -> str:
    """What a folder holds, in words, for messages."""
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) + more) or "nothing"
