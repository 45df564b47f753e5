"""Recordings: what the two forms of FACED's raw recordings, as published and as BIDS, have in common as data sets.

Cohort 2 has no mastoids, so both cohorts are read with the 30 channels that they share. Subjects have the names of the
original files ("sub000") in both forms, so that results of one can be paired with those of the other.
"""

import re
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from valence.dataset_checks import file_is_there
from valence.datasets.base import Dataset
from valence.errors import BadInput
from valence.faced_bdf import CH_NAMES, read_header
from valence.faced_clips import OFFICIAL, at_one_rate
from valence.faced_files import (
    MEAN_VALENCE,
    N_SUBJECTS,
    FacedFiles,
    checked_recordings,
    cohort_of,
    info_files,
    listing,
)
from valence.faced_ratings import mean_of_subjects, presentation
from valence.faced_reports import by_scale
from valence.faced_stimuli import describe
from valence.processing import Processing

_SUBJECT = re.compile(r"sub-?(\d{3})")


class FacedRecordings(Dataset):
    """The last 30 s of every clip out of raw recordings, processed as the authors did but for their ICA.

    A subclass names the folders of subjects and the files that each needs.
    """

    doi = "10.1038/s41597-023-02650-w"
    sfreq = FacedFiles.sfreq
    ch_names = CH_NAMES
    n_clips = FacedFiles.n_clips
    clip_seconds = FacedFiles.clip_seconds
    shown_seconds = FacedFiles.shown_seconds
    classes = FacedFiles.classes
    class_of_clip = FacedFiles.class_of_clip
    films = FacedFiles.films
    bands = FacedFiles.bands
    block_clips = FacedFiles.block_clips
    standard_split = FacedFiles.standard_split
    default_processing = OFFICIAL

    def __init__(self, root: Path | None, *, processing: Processing | None = None):
        super().__init__(root, processing=at_one_rate(processing or self.default_processing))
        self._files = self._find()
        checked_recordings(self.root, self._files)

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("windows",)

    def files(self, input: str) -> dict[str, tuple[Path, ...]]:
        self.lengths(input)  # refuses an unknown input
        if input not in self.inputs:
            raise BadInput(
                f"{self.root}: no files for the input {input!r}",
                allowed="windows: these are recordings",
                do="take a classifier for windows, or the data set faced with the publisher's features",
            )
        return dict(self._files)

    def shared_files(self) -> tuple[Path, ...]:
        return info_files(self.root)

    def cohort(self, subject: str) -> int:
        return cohort_of(subject)

    def recording_sfreq(self, subject: str) -> float:
        return read_header(self._files[subject][0]).sfreq

    def presentation(self, subject: str) -> np.ndarray:
        return presentation(self.report(subject), subject)

    def ratings(self, subjects: Sequence[str] | None = None) -> np.ndarray | None:
        """Of nobody in particular: the published mean over all 123 subjects, whoever is on disk."""
        if subjects is None:
            return np.array(MEAN_VALENCE)
        return mean_of_subjects(subjects, known=self._files, read=self.report, where=self.root)

    def clip_descriptions(self) -> tuple[str, ...]:
        return describe()

    def reports(self, subjects: Sequence[str]) -> dict[str, np.ndarray]:
        return by_scale([self.report(subject) for subject in subjects], subjects)

    @abstractmethod
    def report(self, subject: str) -> pd.DataFrame:
        """Ratings of one subject, a table as `valence.faced_ratings` makes it."""

    @abstractmethod
    def folders(self) -> list[Path]:
        """What may be a subject's folder."""

    @abstractmethod
    def needed(self, folder: Path) -> tuple[Path, ...]:
        """Files that a subject needs: the recording, and what belongs beside it."""

    def _find(self) -> dict[str, tuple[Path, ...]]:
        """Files of each subject, sorted. A folder that lacks any of its files is an error: none is passed over."""
        found: dict[str, tuple[Path, ...]] = {}
        silent = []
        for folder in sorted(self.folders()):
            subject = _subject(folder)
            if subject in found:
                raise BadInput(
                    f"{folder}: {subject} is there twice", allowed="one folder a subject", do="move one of them"
                )
            files = self.needed(folder)
            if not file_is_there(files[0]):
                silent.append(folder.name)
                continue
            missing = [path.name for path in files[1:] if not file_is_there(path)]
            if missing:
                raise BadInput(
                    f"{files[0]}: no {' and no '.join(missing)} beside it",
                    allowed=f"the recording with {', '.join(path.name for path in files[1:])}",
                    do="fetch them, or move the subject's folder elsewhere",
                )
            found[subject] = files
        if not found:
            raise BadInput(
                f"{self.root}: no signals: no {self.needed(Path('SUBJECT'))[0]}; the folder holds {listing(self.root)}",
                allowed="a folder with recordings; from their tables alone, valence.faced_ratings reads the ratings",
                do=f"fetch the recordings from {self.url}, or correct the folder",
            )
        if silent:
            raise BadInput(
                f"{self.root}: no recording in {len(silent)} of {len(silent) + len(found)} folders of subjects:"
                f" {', '.join(silent)}",
                allowed=f"{self.needed(Path('SUBJECT'))[0]} for every folder SUBJECT",
                do="fetch the recordings, or move these folders elsewhere",
            )
        return found


def _subject(folder: Path) -> str:
    """Name of the subject whose folder this is. Raises BadInput where it is no subject's, or no folder."""
    match = _SUBJECT.fullmatch(folder.name)
    if not match or int(match[1]) >= N_SUBJECTS:
        raise BadInput(
            f"{folder}: not the name of a subject's folder",
            allowed=f"the published names, 000 to {N_SUBJECTS - 1:03d}",
            do="rename the folder, or move it elsewhere",
        )
    if not folder.is_dir():
        raise BadInput(f"{folder}: not a folder", allowed="a subject's folder", do="fetch it again, or remove it")
    return f"sub{match[1]}"
