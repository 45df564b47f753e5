"""Recordings: what the two forms of FACED's raw recordings, as published and as BIDS, have in common as data sets.

Cohort 2 has no mastoids, so both cohorts are read with the 30 channels that they share. Subjects have the names of the
original files ("sub000") in both forms, so that results of one can be paired with those of the other.
"""

import re
from abc import abstractmethod
from pathlib import Path

import numpy as np

from valence.datasets.base import Dataset
from valence.errors import BadInput
from valence.faced_bdf import CH_NAMES, read_header
from valence.faced_clips import OFFICIAL, at_one_rate
from valence.faced_files import MEAN_VALENCE, N_COHORT_1, N_SUBJECTS, FacedFiles, listing
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
    classes = FacedFiles.classes
    class_of_clip = FacedFiles.class_of_clip
    films = FacedFiles.films
    bands = FacedFiles.bands
    block_clips = FacedFiles.block_clips
    standard_split = FacedFiles.standard_split
    processing = OFFICIAL

    def __init__(self, root: Path | None, *, processing: Processing | None = None):
        super().__init__(root, processing=at_one_rate(processing or OFFICIAL))
        self._files = self._find()

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

    def cohort(self, subject: str) -> int:
        return 1 if int(subject.removeprefix("sub")) < N_COHORT_1 else 2

    def recording_sfreq(self, subject: str) -> float:
        return read_header(self._files[subject][0]).sfreq

    def ratings(self) -> np.ndarray:
        """The published mean over all 123 subjects, whoever is on disk."""
        return np.array(MEAN_VALENCE)

    def clip_descriptions(self) -> tuple[str, ...]:
        return describe()

    @abstractmethod
    def folders(self) -> list[Path]:
        """What may be a subject's folder."""

    @abstractmethod
    def needed(self, folder: Path) -> tuple[Path, ...]:
        """Files that a subject needs: the recording, and what belongs beside it."""

    def _find(self) -> dict[str, tuple[Path, ...]]:
        """Files of each subject that has a recording, sorted. One that lacks a file beside it is an error."""
        found = {}
        for folder in sorted(self.folders()):
            match = _SUBJECT.fullmatch(folder.name)
            if not match or int(match[1]) >= N_SUBJECTS:
                raise BadInput(
                    f"{folder}: not the name of a subject's folder",
                    allowed=f"the published names, 000 to {N_SUBJECTS - 1:03d}",
                    do="rename the folder, or move it elsewhere",
                )
            recording, *beside = self.needed(folder)
            if not recording.is_file():
                continue  # its ratings can be read all the same
            missing = [path.name for path in beside if not path.is_file()]
            if missing:
                raise BadInput(
                    f"{recording}: no {' and no '.join(missing)} beside it",
                    allowed=f"the recording with {', '.join(path.name for path in beside)}",
                    do="fetch them, or move the subject's folder elsewhere",
                )
            found[f"sub{match[1]}"] = (recording, *beside)
        if not found:
            raise BadInput(
                f"{self.root}: no signals: no {self.needed(Path('SUBJECT'))[0]}; the folder holds {listing(self.root)}",
                allowed="a folder with recordings; from their tables alone, valence.faced_ratings reads the ratings",
                do=f"fetch the recordings from {self.url}, or correct the folder",
            )
        return found
