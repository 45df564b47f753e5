"""Recordings: FACED's raw recordings as published, `Data/subXXX` with data.bdf, evt.bdf and After_remarks.mat."""

from pathlib import Path

import pandas as pd

from valence.datasets import DATASETS
from valence.datasets.base import Recording
from valence.faced_clips import read_clips, unusual_durations
from valence.faced_files import RECORDING_INFO
from valence.faced_ratings import read_after_remarks
from valence.faced_raw import DATA, EVENTS, REMARKS, check_claims, subject_spans
from valence.faced_recordings import FacedRecordings
from valence.faced_stimuli import describe_those_of


@DATASETS.register("faced_raw")
class FacedRaw(FacedRecordings):
    """Raw recordings of the publisher, 34 GB."""

    name = "faced_raw"
    url = "https://doi.org/10.7303/syn50614194"
    licence = "Synapse terms of the publisher; BIDS copy CC-BY-4.0"

    def folders(self) -> list[Path]:
        return list((self.root / "Data").glob("[sS]ub*"))

    def needed(self, folder: Path) -> tuple[Path, ...]:
        return folder / DATA, folder / EVENTS, folder / REMARKS

    def read(self, subject: str, input: str) -> Recording:
        data, events, _ = self.files(input)[subject]
        claims = check_claims(self.root / RECORDING_INFO, subject, data)
        spans, repairs = subject_spans(data.parent)
        clips, mended = read_clips(data, spans, self.processing)
        return Recording(clips, (*claims, *repairs, *unusual_durations(spans, events), *mended))

    def report(self, subject: str) -> pd.DataFrame:
        return read_after_remarks(self.files("windows")[subject][2], subject=subject)

    def clip_descriptions(self) -> tuple[str, ...]:
        return describe_those_of(self.root)
