"""Recordings: SEED-V, 16 subjects watching 45 films of five emotions in three sessions (Liu et al. 2021).

A clip is a whole film: 15 a session, each film shown once, so every clip is a film of its own. Clips last from 52 s to
297 s. The names of the films are ours, by session and place.
"""

from pathlib import Path

import numpy as np

from valence import seed_v_files as facts
from valence.datasets import DATASETS
from valence.datasets.base import Dataset, Part, Recording
from valence.errors import BadInput
from valence.processing import Processing
from valence.registry import unknown_name
from valence.seed_v_features import BANDS, read_features
from valence.seed_v_files import CBRAMOD_PROCESSING
from valence.seed_v_raw import empty_clips, read_session, recorded_sfreq

N_CLIPS = facts.N_SESSIONS * facts.FILMS_PER_SESSION


def _blocks(block: int) -> Part:
    """The same block of five films of every session, all subjects."""
    places = range(facts.BLOCK_FILMS * block + 1, facts.BLOCK_FILMS * (block + 1) + 1)
    sessions = range(1, facts.N_SESSIONS + 1)
    return Part(clips=tuple(facts.clip_index(session, film) for session in sessions for film in places))


@DATASETS.register("seed_v")
class SeedV(Dataset):
    """The published data set: raw recordings, DE features, or both.

    A session without a file gives empty clips, and so does the one recording that is published corrupt, 7_1, where
    the publisher's repaired file is not beside it. Any other file that cannot be read is refused.
    """

    name = "seed_v"
    url = "https://bcmi.sjtu.edu.cn/home/seed/seed-v.html"
    licence = "licence form of the BCMI laboratory, for research"
    doi = "10.1109/TCDS.2021.3071170"
    sfreq = facts.RECORDED_SFREQ
    ch_names = facts.CH_NAMES
    n_clips = N_CLIPS
    clip_seconds = tuple(
        float(end - start) for starts, ends in zip(facts.START_S, facts.END_S) for start, end in zip(starts, ends)
    )
    classes = facts.CLASSES
    emotions = ("disgust", "fear", "sadness", "neutral", "joy")
    class_of_clip = tuple(label for labels in facts.LABELS for label in labels)
    films = tuple(facts.film_name(clip) for clip in range(N_CLIPS))
    bands = BANDS
    de_step_s = facts.FEATURE_STEP_S
    block_clips = facts.BLOCK_FILMS
    session_of_clip = tuple(facts.clip_place(clip)[0] for clip in range(N_CLIPS))
    standard_split = (_blocks(0), _blocks(1), _blocks(2))
    default_processing = CBRAMOD_PROCESSING

    def __init__(self, root: Path | None, *, processing: Processing | None = None):
        super().__init__(root, processing=processing)
        self._raw = facts.find_raw(self.root)
        self._features = facts.find_features(self.root)
        if not self.inputs:
            folders = f"{facts.RAW_FOLDER}/ with .cnt files or {facts.FEATURES_FOLDER}/ with .npz files"
            inside = self.root.name in (facts.RAW_FOLDER.name, facts.FEATURES_FOLDER.name)
            raise BadInput(
                f"{self.root}: no recording and no features of SEED-V",
                allowed=f"a folder that holds {folders}",
                do=f"give {self.root.parent}, the folder above" if inside else f"name that folder; SEED-V: {self.url}",
            )

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("windows",) * bool(self._raw) + ("de",) * bool(self._features)

    def files(self, input: str) -> dict[str, tuple[Path, ...]]:
        self.lengths(input)  # refuses an unknown input
        if input not in self.inputs:
            raise BadInput(
                f"{self.root}: no files for the input {input!r}",
                allowed=" or ".join(self.inputs),
                do="fetch them, or take a classifier for what is there",
            )
        if input == "de":
            return {subject: (path,) for subject, path in self._features.items()}
        return {subject: tuple(sessions.values()) for subject, sessions in self._raw.items()}

    def cohort(self, subject: str) -> int:
        return 1

    def recording_sfreq(self, subject: str) -> float:
        """As the headers of the subject's recordings have it; that of the published ones where none can be read."""
        rates = (recorded_sfreq(path, session) for session, path in self._raw.get(subject, {}).items())
        return next(filter(None, rates), self.sfreq)

    def presentation(self, subject: str) -> np.ndarray:
        """Clips are numbered as they were shown."""
        return np.arange(self.n_clips)

    def read(self, subject: str, input: str) -> Recording:
        files = self.files(input)
        if subject not in files:
            raise unknown_name("subject", subject, list(files))
        if input == "de":
            return Recording(read_features(files[subject][0]))
        clips: list[np.ndarray] = []
        repairs: list[str] = []
        for session in range(1, facts.N_SESSIONS + 1):
            path = self._raw[subject].get(session)
            if path is None:
                clips += empty_clips()
                name = facts.raw_pattern(int(subject.removeprefix("sub")), session)
                repairs.append(
                    f"{name}: no such file, the {facts.FILMS_PER_SESSION} clips of this session are left out"
                )
                continue
            found, made = read_session(path, session, self.processing)
            clips += found
            repairs += made
        return Recording(clips, tuple(repairs))
