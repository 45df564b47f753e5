"""Recordings: FACED's raw recordings as the BIDS copy has them, NEMAR nm000112; valence.faced_bids can fetch it."""

from pathlib import Path

import pandas as pd

from valence.datasets import DATASETS
from valence.datasets.base import Recording
from valence.faced_bids import TASK, bad_channels, read_spans, sidecar
from valence.faced_clips import read_clips, unusual_durations
from valence.faced_ratings import read_bids_ratings
from valence.faced_recordings import FacedRecordings


@DATASETS.register("faced_bids")
class FacedBids(FacedRecordings):
    """Raw recordings of the BIDS copy, 34 GB."""

    name = "faced_bids"
    url = "https://doi.org/10.82901/nemar.nm000112"
    licence = "CC-BY-4.0"

    def folders(self) -> list[Path]:
        return list(self.root.glob("[sS]ub*"))

    def needed(self, folder: Path) -> tuple[Path, ...]:
        recording = folder / "eeg" / f"{folder.name}_{TASK}_eeg.bdf"
        return recording, sidecar(recording, "events.tsv"), sidecar(recording, "channels.tsv")

    def read(self, subject: str, input: str) -> Recording:
        recording, events, channels = self.files(input)[subject]
        spans = read_spans(events)
        clips, mended = read_clips(recording, spans, self.processing, bads=bad_channels(channels))
        return Recording(clips, (*unusual_durations(spans, events), *mended))

    def report(self, subject: str) -> pd.DataFrame:
        return read_bids_ratings(self.files("windows")[subject][1])
