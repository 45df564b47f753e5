"""Stage brain: a data set on disk to the arrays that all analyses share. Band features in, a checked cohort out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from valence.axis_pca import polarity
from valence.brain.checks import check_cohort, checked_reports, scalp_channels
from valence.brain.rows import NotPossible
from valence.features import BANDS, differential_entropy

if TYPE_CHECKING:
    from valence.datasets.base import Dataset

CLIP, CHANNEL, BAND = "clip", "channel", "band"


@dataclass(frozen=True, kw_only=True, eq=False)
class Cohort:
    """Band features of many subjects who saw the same clips, and what is known of subjects and clips. Read-only."""

    name: str
    """of the data set"""
    de: np.ndarray
    """float32, (n_subjects, n_clips, n_chans, n_steps, n_bands), nats; NaN after the end of a clip shorter than others,
    and for a clip that a subject has no recording of"""
    subjects: tuple[str, ...]
    ch_names: tuple[str, ...]
    band_names: tuple[str, ...]
    """lower case: delta, theta, alpha, beta, gamma"""
    step_s: float
    """seconds from one step to the next"""
    class_of_clip: np.ndarray
    """int64, (n_clips,)"""
    classes: tuple[str, ...]
    """lower case, by the names of the stories' emotions where the data set maps to them"""
    films: tuple[str, ...]
    """of each clip"""
    campaigns: np.ndarray
    """int64, (n_subjects,), recording campaign"""
    presentation: np.ndarray | None = None
    """int64, (n_subjects, n_clips), rank from 0 at which each clip was shown, -1 where not known"""
    block_clips: int | None = None
    sessions: np.ndarray | None = None
    """int64, (n_clips,), session that each clip was shown in; None where all were shown in one"""
    clip_seconds: np.ndarray | None = None
    """float64, (n_clips,), length of the film clip as shown, where it differs from the stretch recorded"""
    ratings: dict[str, np.ndarray] = field(default_factory=dict)
    """scale (valence, arousal, familiarity, liking, …) to float64 (n_subjects, n_clips), NaN where not rated"""

    @property
    def signs(self) -> np.ndarray:
        """int64, (n_classes,): -1, 0 or +1, what is left of valence when all beyond good and bad is dropped.

        0 for a class that is none of the stories' emotions.
        """
        return polarity(self.classes).astype(np.int64)

    def clip_means(self) -> np.ndarray:
        """Mean over steps and then subjects: float64, (n_clips, n_chans, n_bands). The study's cohort tensor.

        Where a subject lacks clips, means are over each subject's deviations from the own mean, which is added back as
        the mean over subjects: otherwise a clip would differ by who has a recording of it.
        """
        return self._clip_means

    def subject_means(self) -> np.ndarray:
        """Mean over steps: float64, (n_subjects, n_clips, n_chans, n_bands); NaN where there is no recording."""
        return self._subject_means

    @cached_property
    def _subject_means(self) -> np.ndarray:
        means = np.stack([_mean_of_steps(de) for de in self.de])
        means.setflags(write=False)
        return means

    @cached_property
    def _clip_means(self) -> np.ndarray:
        means = over_subjects(self.subject_means())
        means.setflags(write=False)
        return means


@dataclass(frozen=True, kw_only=True, eq=False)
class BrainTarget:
    """What the brain is compared with. `valence.brain.targets.brain_target` makes one by name."""

    name: str
    """axis, behaviour, rank, arousal"""
    clip_values: np.ndarray
    """float64, (n_clips,), z-scored over clips"""
    class_values: np.ndarray | None
    """float64, (n_classes,), z-scored; None where values differ within a class and no class value is given"""


def _mean_of_steps(de: np.ndarray) -> np.ndarray:
    """Mean over the steps of one subject, (n_clips, n_chans, n_steps, n_bands), that are there; NaN where none is."""
    there = np.isfinite(de)
    total = np.where(there, de, 0).sum(axis=2, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return total / there.sum(axis=2)


def over_subjects(means: np.ndarray) -> np.ndarray:
    """Mean over subjects of (n_subjects, n_clips, n_chans, n_bands), as `Cohort.clip_means` has it.

    NaN for clips that none of these subjects has.
    """
    there = np.isfinite(means)
    if there.all():
        return means.mean(axis=0)
    own = _mean_where(means, there, 1)
    deviations = np.where(there, means - own, 0.0)
    return _mean_where(deviations, there, 0)[0] + own.mean(axis=0)


def check_halves(means: np.ndarray, *halves: np.ndarray) -> None:
    """Raise NotPossible where a part of the subjects, by number, has no recording of a clip at all."""
    if not have_all_clips(means, *halves):
        raise NotPossible("a clip that so few subjects have a recording of that a half of them may have none")


def have_all_clips(means: np.ndarray, *parts: np.ndarray) -> bool:
    """Whether every part of the subjects of (n_subjects, n_clips, n_chans, n_bands) has a recording of every clip."""
    there = np.isfinite(means).all(axis=(2, 3))
    return all(bool(there[part].any(axis=0).all()) for part in parts)


def _mean_where(values: np.ndarray, there: np.ndarray, dimension: int) -> np.ndarray:
    """Mean over a dimension, which is kept, of the values that are there."""
    with np.errstate(invalid="ignore"):
        return np.where(there, values, 0.0).sum(axis=dimension, keepdims=True) / there.sum(
            axis=dimension, keepdims=True
        )


def load_cohort(dataset: "Dataset", *, input: str = "de", drop: Sequence[str] = ()) -> Cohort:
    """Read the band features of all subjects of a data set.

    Parameters
    ----------
    input : "de", or "windows" to compute them from signals, as is done where the data set has no "de". Bands are those
        of the data set.
    drop : channels to leave out. Those that the data set says are no sites of the scalp (mastoids) always are.

    Returns
    -------
    Cohort of all clips, in the order of the data set.

    Raises
    ------
    BadInput : for channels of unknown position that are not dropped, fewer than FEWEST_PER_SIGN clips of the negative
        or the positive classes, a feature that is the same for all clips, a clip that nobody has a recording of; and as
        `Dataset.load` does.
    """
    if input == "de" and "de" not in dataset.inputs:
        input = "windows"
    ch_names = scalp_channels(dataset, drop)
    keep = [dataset.ch_names.index(name) for name in ch_names]
    subjects = dataset.subjects(input)
    bands = dataset.bands or BANDS
    found = [[clip[keep] for clip in _features(dataset, subject, input)] for subject in subjects]
    presented = [dataset.presentation(subject) for subject in subjects]
    unknown = np.full(dataset.n_clips, -1)
    shown = dataset.shown_seconds or dataset.clip_seconds
    cohort = Cohort(
        name=dataset.name,
        de=_padded(found, (len(ch_names), len(bands))),
        subjects=subjects,
        ch_names=ch_names,
        band_names=tuple(band.name.lower() for band in bands),
        step_s=dataset.de_step_s,
        class_of_clip=np.array(dataset.class_of_clip, dtype=np.int64),
        classes=tuple(name.lower() for name in dataset.emotions or dataset.classes),
        films=dataset.films,
        campaigns=np.array([dataset.cohort(subject) for subject in subjects], dtype=np.int64),
        presentation=None
        if all(ranks is None for ranks in presented)
        else np.array([unknown if ranks is None else ranks for ranks in presented], dtype=np.int64),
        block_clips=dataset.block_clips,
        sessions=np.array(dataset.session_of_clip, dtype=np.int64) if dataset.session_of_clip else None,
        clip_seconds=np.array(shown, dtype=np.float64) if len(set(shown)) > 1 else None,
        ratings=checked_reports(dataset, subjects),
    )
    check_cohort(cohort)
    return cohort


def _features(dataset: "Dataset", subject: str, input: str) -> list[np.ndarray]:
    """Band features of each clip of a subject: float32, (n_chans, n_steps, n_bands)."""
    clips = list(dataset.load(subject, input).clips)
    if input == "de":
        return clips
    bands, step = dataset.bands or BANDS, round(dataset.de_step_s * dataset.loaded_sfreq)
    return [
        differential_entropy(
            clip[:, : clip.shape[1] // step * step],
            sfreq=dataset.loaded_sfreq,
            bands=bands,
            step_s=dataset.de_step_s,
            edges="mne",  # as in the published features of FACED
        )
        if clip.shape[1] >= step
        else np.zeros((len(clip), 0, len(bands)), dtype=np.float32)
        for clip in clips
    ]


def _padded(found: list[list[np.ndarray]], shape: tuple[int, int]) -> np.ndarray:
    """Clips of subjects as one array, NaN after the end of each."""
    n_steps = max(clip.shape[1] for clips in found for clip in clips)
    de = np.full((len(found), len(found[0]), shape[0], n_steps, shape[1]), np.nan, dtype=np.float32)
    for own, clips in zip(de, found, strict=True):
        for place, clip in zip(own, clips, strict=True):
            place[:, : clip.shape[1]] = clip
    de.setflags(write=False)
    return de
