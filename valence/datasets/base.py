"""Recordings: the contract of a data set. Facts are class attributes; whatever is read is checked before it is used.

In: the folder of a data set. Out: one subject at a time, EEG clips in µV or their DE features.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

from valence.errors import BadInput
from valence.features import Band
from valence.registry import unknown_name

INPUTS = ("windows", "de")
PLAUSIBLE_RMS_UV = (0.05, 5_000.0)
"""range of the median root mean square of a subject's channels; volts or counts fall outside"""


class Dataset(ABC):
    """A data set on disk. A subclass states the facts and says how to find and read one subject.

    Parameters
    ----------
    root : folder of the data set.

    Raises
    ------
    BadInput : from any method, where the folder does not hold what the facts say.
    """

    name: ClassVar[str]
    url: ClassVar[str]
    licence: ClassVar[str]
    doi: ClassVar[str]
    sfreq: ClassVar[float]
    """samples per second of "windows" as loaded, Hz"""
    ch_names: ClassVar[tuple[str, ...]]
    """channels in the order of the arrays"""
    n_clips: ClassVar[int]
    clip_s: ClassVar[float]
    """length of a clip, seconds"""
    classes: ClassVar[tuple[str, ...]]
    class_of_clip: ClassVar[tuple[int, ...]]
    """index into `classes` for each clip"""
    bands: ClassVar[tuple[Band, ...]]
    """bands of "de" """
    standard_split: ClassVar[tuple[tuple[str, ...], ...] | None] = None
    """subjects of training, validation and test as the field splits this data set; None where it has no such habit"""

    def __init__(self, root: Path | None):
        if root is None:
            raise BadInput(
                f"data set {self.name}: no folder given",
                allowed=f"a folder that holds {self.name} ({self.licence}; {self.url})",
                do="name it with --data-root",
            )
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
        """Which of "windows" and "de" are on disk."""

    @abstractmethod
    def files(self, input: str) -> dict[str, Path]:
        """The file of each subject, sorted by subject."""

    @abstractmethod
    def cohort(self, subject: str) -> int:
        """Recording campaign of a subject; equipment and raters differ between campaigns."""

    @abstractmethod
    def read(self, path: Path, input: str) -> np.ndarray:
        """The numbers of one file as they are stored, in the shape of `shape(input)`; `load` checks them."""

    def ratings(self) -> np.ndarray | None:
        """Mean self-rated valence of each clip, float64, (n_clips,); None where it is not known."""
        return None

    def shape(self, input: str) -> tuple[int, ...]:
        """Shape of one subject: (n_clips, n_chans, n_times), or (n_clips, n_chans, n_seconds, n_bands) for "de"."""
        if input not in INPUTS:
            raise unknown_name("input", input, list(INPUTS))
        clips = (self.n_clips, len(self.ch_names))
        return (
            (*clips, round(self.clip_s), len(self.bands))
            if input == "de"
            else (*clips, round(self.clip_s * self.sfreq))
        )

    def subjects(self, input: str) -> tuple[str, ...]:
        """Names of the subjects on disk, sorted."""
        return tuple(self.files(input))

    def load(self, subject: str, input: str) -> np.ndarray:
        """One subject, checked.

        Returns
        -------
        float32 array of `shape(input)`, the caller's own: µV, or differential entropy in nats (½·ln(2πe·µV²)).

        Raises
        ------
        BadInput : naming file, subject, clip (from 1) and channel of the first value that cannot be used.
        """
        files = self.files(input)
        if subject not in files:
            raise unknown_name("subject", subject, list(files))
        array = self.read(files[subject], input)
        check_subject(array, shape=self.shape(input), ch_names=self.ch_names, subject=subject, source=files[subject])
        if input == "windows":
            check_microvolts(array, subject=subject, source=files[subject])
        return np.require(array, dtype=np.float32, requirements=["C", "W"])


def check_subject(
    array: np.ndarray, *, shape: tuple[int, ...], ch_names: tuple[str, ...], subject: str, source: Path
) -> None:
    """Raise BadInput unless an array, (n_clips, n_chans, ...), has this shape, is of floats and is finite."""
    if array.shape != shape or array.dtype.kind != "f":
        raise BadInput(
            f"{source}: {subject} has shape {array.shape} of {array.dtype}",
            allowed=f"shape {shape} of float32 or float64",
            do="fetch the file again, or convert it to the published shape",
        )
    # float64 values beyond float32 would become infinite on conversion
    bad = ~(np.abs(array) <= np.finfo(np.float32).max)
    if bad.any():
        clip, channel = np.argwhere(bad)[0][:2]
        n_bad = int(bad.any(axis=tuple(range(2, array.ndim))).sum())
        raise BadInput(
            f"{source}: {subject}, clip {clip + 1}, channel {ch_names[channel]} holds {array[bad][0]}"
            f" (as do {n_bad} of {shape[0] * shape[1]} channels and clips in all)",
            allowed="finite numbers",
            do="interpolate the channel, or remove the subject's file",
        )


def check_microvolts(array: np.ndarray, *, subject: str, source: Path) -> None:
    """Raise BadInput where a signal, (n_clips, n_chans, n_times), cannot be EEG in µV: most likely it is in V."""
    low, high = PLAUSIBLE_RMS_UV
    rms = float(np.median(array.std(axis=-1)))
    if not low <= rms <= high:
        raise BadInput(
            f"{source}: {subject} has a median root mean square of {rms:.3g}",
            allowed=f"{low:g} to {high:g} µV",
            do="convert the recording to µV (1 V is 1,000,000 µV), or remove the subject's file",
        )
