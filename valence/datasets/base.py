"""Recordings: the contract of a data set. Facts are class attributes; whatever is read is checked before it is used.

In: the folder of a data set. Out: one subject at a time, the EEG of its clips in µV or their band features.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from valence.errors import BadInput
from valence.features import Band
from valence.processing import Processing
from valence.registry import unknown_name

INPUTS = ("windows", "de", "psd")
"""what a data set may hold: signals, differential entropy in bands, power in bands"""
PLAUSIBLE_RMS_UV = (0.05, 5_000.0)
"""range of the median root mean square of a subject's channels; volts or counts fall outside"""
LARGEST = float(np.finfo(np.float32).max)
"""float64 values beyond it would become infinite on conversion"""


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
    n_clips: ClassVar[int]
    clip_seconds: ClassVar[tuple[float, ...]]
    """length of each clip"""
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
    standard_split: ClassVar[tuple[Part, Part, Part] | None] = None
    """training, validation and test as the field splits this data set; None where it has no such habit"""
    default_processing: ClassVar[Processing] = Processing()

    def __init__(self, root: Path | None, *, processing: Processing | None = None):
        if root is None:
            raise BadInput(
                f"data set {self.name}: no folder given",
                allowed=f"a folder that holds {self.name} ({self.licence}; {self.url})",
                do="name it with --data-root",
            )
        self.processing = self.default_processing if processing is None else processing
        self.root = Path(root).expanduser().resolve()
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

    @abstractmethod
    def cohort(self, subject: str) -> int:
        """Recording campaign of a subject; equipment and raters differ between campaigns."""

    @abstractmethod
    def read(self, subject: str, input: str) -> Recording:
        """The clips of one subject, µV; `load` checks them."""

    def recording_sfreq(self, subject: str) -> float:
        """Samples per second of the original recording, Hz."""
        return self.sfreq

    def presentation(self, subject: str) -> np.ndarray | None:
        """Rank, from 0, at which each clip was shown: int, (n_clips,), -1 where it was not; None where not known."""
        return None

    def ratings(self) -> np.ndarray | None:
        """Mean self-rated valence of each clip, float64, (n_clips,); None where it is not known."""
        return None

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
        return tuple(self.files(input))

    def load(self, subject: str, input: str) -> Recording:
        """One subject, checked.

        Returns
        -------
        Recording of float32 arrays, the caller's own: µV, or differential entropy in nats (½·ln(2πe·µV²)), or power.

        Raises
        ------
        BadInput : naming file, subject, clip (from 1) and channel of the first value that cannot be used.
        """
        files = self.files(input)
        if subject not in files:
            raise unknown_name("subject", subject, list(files))
        found = self.read(subject, input)
        tail = () if input == "windows" else (len(self.bands),)
        source = files[subject][0]
        check_clips(found, lengths=self.lengths(input), tail=tail, ch_names=self.ch_names, subject=subject, file=source)
        if input == "windows":
            check_microvolts(found.clips, ch_names=self.ch_names, subject=subject, file=source)
        if isinstance(found.clips, np.ndarray):
            return Recording(_own(found.clips), found.repairs)
        return Recording([_own(clip) for clip in found.clips], found.repairs)


def _own(array: np.ndarray) -> np.ndarray:
    return np.require(array, dtype=np.float32, requirements=("C", "W"))


def check_clips(
    found: Recording,
    *,
    lengths: Sequence[int],
    tail: tuple[int, ...],
    ch_names: tuple[str, ...],
    subject: str,
    file: Path,
) -> None:
    """Raise BadInput unless every clip is of finite floats and of its shape, (n_chans, length, *tail).

    A clip may be empty, (n_chans, 0, *tail), where a repair says so.
    """
    if len(found.clips) != len(lengths):
        raise BadInput(
            f"{file}: {subject} has {len(found.clips)} clips",
            allowed=f"{len(lengths)} clips",
            do="fetch the file again, or convert it to the published shape",
        )
    n_bad, first = 0, None
    for number, (clip, length) in enumerate(zip(found.clips, lengths, strict=True)):
        empty = bool(found.repairs) and clip.shape[1:2] == (0,)
        shape = (len(ch_names), 0 if empty else length, *tail)
        if clip.shape != shape or clip.dtype.kind != "f":
            raise BadInput(
                f"{file}: {subject}, clip {number + 1}, has shape {clip.shape} of {clip.dtype}",
                allowed=f"shape {shape} of float32 or float64",
                do="fetch the file again, or convert it to the published shape",
            )
        if clip.size and not float(np.abs(clip).max()) <= LARGEST:
            bad = ~(np.abs(clip) <= LARGEST)
            first = first or (number, int(np.argwhere(bad)[0][0]), clip[bad][0])
            n_bad += int(bad.any(axis=tuple(range(1, clip.ndim))).sum())
    if first:
        number, channel, value = first
        raise BadInput(
            f"{file}: {subject}, clip {number + 1}, channel {ch_names[channel]} holds {value}"
            f" (as do {n_bad} of {len(lengths) * len(ch_names)} channels and clips in all)",
            allowed="finite numbers",
            do="interpolate the channel, or remove the subject's file",
        )


def check_microvolts(
    clips: Sequence[np.ndarray] | np.ndarray, *, ch_names: tuple[str, ...], subject: str, file: Path
) -> None:
    """Raise BadInput where signals, (n_chans, n_times) a clip, cannot be EEG in µV, or a channel never varies."""
    low, high = PLAUSIBLE_RMS_UV
    sd = np.array([clip.std(axis=-1) for clip in clips if clip.size])
    if not sd.size:
        raise BadInput(
            f"{file}: {subject} has no clip with a recording", allowed="1 or more", do="remove the subject's files"
        )
    rms = float(np.median(sd))
    if not low <= rms <= high:
        raise BadInput(
            f"{file}: {subject} has a median root mean square of {rms:.3g}",
            allowed=f"{low:g} to {high:g} µV",
            do="convert the recording to µV (1 V is 1,000,000 µV), or remove the subject's file",
        )
    flat = np.flatnonzero((sd == 0).all(axis=0))
    if flat.size:
        raise BadInput(
            f"{file}: {subject}: flat in every clip: {', '.join(ch_names[channel] for channel in flat)}",
            allowed="channels that vary",
            do="interpolate the channel (a processing with interpolate='detected'), or remove the subject's file",
        )
