"""Stage brain: a data set on disk to the arrays that all analyses share. Band features in, a checked cohort out."""

from dataclasses import dataclass, field

import numpy as np

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
    clip_seconds: np.ndarray | None = None
    """float64, (n_clips,), length of the film clip as shown, where it differs from the stretch recorded"""
    ratings: dict[str, np.ndarray] = field(default_factory=dict)
    """scale (valence, arousal, familiarity, liking, …) to float64 (n_subjects, n_clips), NaN where not rated"""

    @property
    def signs(self) -> np.ndarray:
        """int64, (n_classes,): -1, 0 or +1, what is left of valence when all beyond good and bad is dropped."""
        raise NotImplementedError

    def clip_means(self) -> np.ndarray:
        """Mean over steps and then subjects: float64, (n_clips, n_chans, n_bands). The study's cohort tensor."""
        raise NotImplementedError

    def subject_means(self) -> np.ndarray:
        """Mean over steps: float64, (n_subjects, n_clips, n_chans, n_bands)."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, eq=False)
class BrainTarget:
    """What the brain is compared with."""

    name: str
    """axis, behaviour, rank, arousal"""
    clip_values: np.ndarray
    """float64, (n_clips,), z-scored over clips"""
    class_values: np.ndarray | None
    """float64, (n_classes,), z-scored; None where values differ within a class and no class value is given"""
