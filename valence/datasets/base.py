"""Recordings: the contract of a data set. Facts are class attributes; they and whatever is read are checked before use.

In: the folder of a data set. Out: one subject at a time, the EEG of its clips in µV or their band features.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from valence.dataset_checks import check_band_features, check_clips, check_files, check_microvolts
from valence.dataset_facts import check_facts
from valence.errors import BadInput
from valence.features import Band
from valence.processing import Processing
from valence.registry import unknown_name

INPUTS = ("windows", "de", "psd")
"""what a data set may hold: signals, differential entropy in bands, power in bands"""


@dataclass(frozen=True)
class Recording:
    """What one subject gave."""

    clips: Sequence[np.ndarray] | np.ndarray
    """a float array for each clip of the data set, in their order: (n_chans, n_times) in µV, or (n_chans, n_steps,
    n_bands); with no times where this subject has no recording of a clip, and then a repair says why"""
    repairs: tuple[str, ...] = ()
    """what was mended or left out in reading: a sentence each, with the file's name; the manifest keeps them"""


@dataclass(frozen=True)
class Part:
    """Part of a split: every sample of these subjects, of these clips, that lies within this stretch of its clip."""

    subjects: tuple[str, ...] = ()
    """empty: all"""
    clips: tuple[int, ...] = ()
    """from 0; empty: all"""
    start: float = 0.0
    stop: float = 1.0
    """the stretch, as shares of a clip's length"""


class Dataset(ABC):
    """A data set on disk. A subclass states the facts and says how to find and read one subject.

    Parameters
    ----------
    root : folder of the data set.
    processing : steps between the recording and the clips; those of the class where not given.

    Raises
    ------
    BadInput : from any method, where the folder does not hold what the facts say.
    """

    name: ClassVar[str]
    url: ClassVar[str]
    licence: ClassVar[str]
    doi: ClassVar[str]
    sfreq: ClassVar[float]
    """samples per second of "windows" as loaded, Hz, where the processing names no other rate"""
    ch_names: ClassVar[tuple[str, ...]]
    """channels in the order of the arrays"""
    off_scalp: ClassVar[tuple[str, ...]] = ()
    """those of them that are no sites of the scalp, such as mastoids: maps of the head leave them out"""
    n_clips: ClassVar[int]
    clip_seconds: ClassVar[tuple[float, ...]]
    """length of each clip"""
    shown_seconds: ClassVar[tuple[float, ...] | None] = None
    """length of each clip as it was shown, where the data set has a part of it"""
    classes: ClassVar[tuple[str, ...]]
    emotions: ClassVar[tuple[str, ...]] = ()
    """the classes by the names of the stories' emotions, for the axis; empty where `classes` are these"""
    class_of_clip: ClassVar[tuple[int, ...]]
    """index into `classes` for each clip"""
    films: ClassVar[tuple[str, ...]]
    """film that each clip was cut from; clips of one film share its name"""
    bands: ClassVar[tuple[Band, ...]]
    """of "de" and "psd" """
    de_step_s: ClassVar[float] = 1.0
    """seconds that one value of the band features stands for"""
    block_clips: ClassVar[int | None] = None
    """clips shown in one block, where they came in blocks of one length"""
    session_of_clip: ClassVar[tuple[int, ...] | None] = None
    """session that each clip was shown in; None where all were shown in one"""
    standard_split: ClassVar[tuple[Part, Part, Part] | None] = None
    """training, validation and test as the field splits this data set; None where it has no such habit"""
    default_processing: ClassVar[Processing] = Processing()
    makes: ClassVar[tuple[str, ...]] = ()
    """inputs that `make` can write where no folder is given; a data set of recordings makes none"""

    @classmethod
    def make(
        cls,
        root: Path,
        *,
        world: str = "",
        n_subjects: int | None = None,
        inputs: tuple[str, ...] = (),
        workers: int | None = None,
        on_subject: Callable[[int, int], object] | None = None,
    ) -> Path:
        """Write recordings into a folder, or find them written, for a data set that makes its own."""
        raise NotImplementedError(f"{cls.name} is recorded, not made")

    def __init__(self, root: Path | None, *, processing: Processing | None = None):
        check_facts(type(self))
        if root is None:
            raise BadInput(
                f"data set {self.name}: no folder given",
                allowed=f"a folder that holds {self.name} ({self.licence}; {self.url})",
                do="name it with --data-root",
            )
        self.processing = self.default_processing if processing is None else processing
        try:
            self.root = Path(root).expanduser().resolve()
        except RuntimeError as error:  # a link to itself, or ~ of nobody
            raise BadInput(
                f"{root}: {error}", allowed=f"the folder of {self.name}", do="correct --data-root"
            ) from error
        if not self.root.is_dir():
            raise BadInput(
                f"{self.root}: {'not a folder' if self.root.exists() else 'no such folder'}",
                allowed=f"the folder of {self.name}",
                do="correct --data-root",
            )

    @property
    @abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """Which of INPUTS are on disk."""

    @abstractmethod
    def files(self, input: str) -> dict[str, tuple[Path, ...]]:
        """Every source file of each subject, sorted by subject."""

    def shared_files(self) -> tuple[Path, ...]:
        """Files on disk that decide what is read, beside those of each subject: tables on all of them."""
        return ()

    @abstractmethod
    def cohort(self, subject: str) -> int:
        """Recording campaign of a subject; equipment and raters differ between campaigns."""

    @abstractmethod
    def read(self, subject: str, input: str) -> Recording:
        """The clips of one subject, µV; `load` checks them."""

    def recording_sfreq(self, subject: str) -> float | None:
        """Samples per second of the original recording, Hz; None where it is not known."""
        return None

    def presentation(self, subject: str) -> np.ndarray | None:
        """Rank, from 0, at which each clip was shown: int, (n_clips,); None where not known.

        -1 where a clip was not shown, and for all clips where the place of some cannot be told.
        """
        return None

    def standard_parts(self) -> tuple[Part, Part, Part] | None:
        """The standard split of what is in this folder."""
        return self.standard_split

    def ratings(self, subjects: Sequence[str] | None = None) -> np.ndarray | None:
        """Mean self-rated valence of each clip, float64, (n_clips,).

        Parameters
        ----------
        subjects : whose ratings are averaged, each with a name of `subjects`; None for everybody that the data set
            knows of, on disk or not. A target of alignment takes those of the training subjects.

        Returns
        -------
        NaN for a clip that none of them rated; None where no ratings of any of them are known.

        Raises
        ------
        BadInput : for no subjects, unknown ones, or where the ratings of some of them are there and those of others
            are not.
        """
        return None

    def reports(self, subjects: Sequence[str]) -> dict[str, np.ndarray]:
        """What each of these subjects reported of each clip, by scale: float64, (n_subjects, n_clips).

        Scales are lower case (valence, arousal, familiarity, liking, …); NaN where there is no report. Empty where
        the data set has none of any of them.
        """
        return {}

    def clip_descriptions(self) -> tuple[str, ...] | None:
        """A sentence on each clip, where the data set has one."""
        return None

    @property
    def loaded_sfreq(self) -> float:
        """Samples per second of "windows" as `load` returns them, Hz."""
        return self.processing.sfreq_hz or self.sfreq

    def lengths(self, input: str) -> tuple[int, ...]:
        """Samples, or steps of band features, of each whole clip."""
        if input not in INPUTS:
            raise unknown_name("input", input, list(INPUTS))
        rate = self.loaded_sfreq if input == "windows" else 1 / self.de_step_s
        return tuple(int(seconds * rate + 1e-6) for seconds in self.clip_seconds)

    def subjects(self, input: str) -> tuple[str, ...]:
        """Names of the subjects on disk, sorted."""
        return tuple(check_files(self.files(input), name=self.name))

    def load(self, subject: str, input: str) -> Recording:
        """One subject, checked.

        Returns
        -------
        Recording of float32 arrays, the caller's own: µV, or differential entropy in nats (½·ln(2πe·µV²)), or power.

        Raises
        ------
        BadInput : naming file, subject, clip (from 1) and channel of the first value that cannot be used.
        """
        files = check_files(self.files(input), name=self.name)
        if subject not in files:
            raise unknown_name("subject", subject, list(files))
        found = self.read(subject, input)
        tail = () if input == "windows" else (len(self.bands),)
        told: dict[str, Any] = {"ch_names": self.ch_names, "subject": subject, "file": files[subject][0]}
        check_clips(found, lengths=self.lengths(input), tail=tail, **told)
        if input == "windows":
            check_microvolts(found.clips, **told)
        else:
            check_band_features(found.clips, input=input, bands=self.bands, **told)
        if isinstance(found.clips, np.ndarray):
            return Recording(_own(found.clips), found.repairs)
        return Recording([_own(clip) for clip in found.clips], found.repairs)


def _own(array: np.ndarray) -> np.ndarray:
    return np.require(array, dtype=np.float32, requirements=("C", "W"))
