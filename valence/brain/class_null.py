"""Stage brain: cells and a target in, r under the observed order of the classes and under all others out.

A target of nine classes is nine values, however many clips share them, so what an r of 28 clips is worth is told by
giving the classes' values to the classes in other orders, not by permuting clips.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from valence.arrangements import MOST_ARRANGEMENTS
from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.correlations import class_orders
from valence.brain.rows import NotPossible

BLOCK = 8_192
"""orders whose correlations are in memory at once"""
ROUNDING = 1e-9
"""correlations nearer than this are the same"""


@dataclass(frozen=True, kw_only=True)
class ClassNull:
    """A target, as it is and with its classes in other orders."""

    observed: np.ndarray
    """float64, (n_clips,), centred, of length 1"""
    orders: np.ndarray
    """float64, (n_orders, n_clips), the same of every order, the observed one among them"""
    words: str

    @property
    def n(self) -> int:
        return len(self.orders)

    def blocks(self, features: np.ndarray, *, size: int = BLOCK) -> Iterator[np.ndarray]:
        """r with every order, a block of orders at a time: float64, (n_block, n_cells) of features (n_clips, n_cells).

        A cell that is the same for all clips has r = 0.
        """
        unit = unit_columns(features)
        for start in range(0, self.n, size):
            yield self.orders[start : start + size] @ unit

    def r(self, features: np.ndarray) -> np.ndarray:
        """r with the observed order: float64, (n_cells,)."""
        return self.observed @ unit_columns(features)


def class_null(
    clip_values: np.ndarray, class_of_clip: np.ndarray, *, n_orders: int = MOST_ARRANGEMENTS, seed: int = 0
) -> ClassNull:
    """All orders of the classes, or `n_orders` drawn ones where there are more: `valence.brain.correlations` says how.

    Raises NotPossible for a target that is the same for all of these clips, or fewer than three classes.
    """
    values = np.asarray(clip_values, dtype=np.float64)
    if len(np.unique(class_of_clip)) < 3 or np.ptp(values) <= ROUNDING:
        raise NotPossible("fewer than three classes, or a target that is the same for all of them")
    orders, words = class_orders(values, class_of_clip, n_orders=n_orders, seed=seed)
    return ClassNull(observed=_unit(values[None])[0], orders=_unit(orders), words=words)


def unit_columns(features: np.ndarray) -> np.ndarray:
    """Columns of (n_clips, n_cells) centred and of length 1, so that a product of two is r; 0 where one is constant."""
    return _unit(np.asarray(features, dtype=np.float64).T).T


def _unit(rows: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    tiny = length <= ROUNDING * (1 + np.abs(rows).max(axis=1, keepdims=True))
    return np.where(tiny, 0.0, centred / np.where(tiny, 1.0, length))


@dataclass(frozen=True, kw_only=True)
class Level:
    """The cohort tensor and the target, by clips or by classes."""

    protocol: str
    """CLIPS, SCALED or CLASSES"""
    features: np.ndarray
    """float64, (n, n_chans · n_bands)"""
    values: np.ndarray
    """float64, (n,)"""
    labels: np.ndarray
    """int64, (n,), class of each"""
    of_subjects: np.ndarray | None
    """float64, (n_subjects, n, n_chans · n_bands), whose mean over subjects the features are; None for classes"""


CLIPS, SCALED, CLASSES = "clips", "clips, every subject of one scale", "classes"


def levels(cohort: Cohort, target: BrainTarget) -> dict[str, Level]:
    """By clips as they are, by clips with every subject scaled, and by classes.

    In a plain mean over subjects one whose γ is muscle counts ten times as much as another; SCALED divides each
    subject's cell by its spread over clips first. CLASSES are means over the clips of a class, of features and target.
    Raises NotPossible where nobody has a recording of a clip.
    """
    n_clips, labels = len(cohort.class_of_clip), cohort.class_of_clip
    features, values = cohort.clip_means().reshape(n_clips, -1), np.asarray(target.clip_values, dtype=np.float64)
    if not np.isfinite(features).all():
        raise NotPossible("no subject has a recording of some clips")
    of_subjects = cohort.subject_means().reshape(len(cohort.subjects), n_clips, -1)
    scaled = of_one_scale(of_subjects)
    present = np.unique(labels)
    by_class = [labels == label for label in present]
    return {
        CLIPS: Level(protocol=CLIPS, features=features, values=values, labels=labels, of_subjects=of_subjects),
        SCALED: Level(
            protocol=SCALED, features=np.nanmean(scaled, axis=0), values=values, labels=labels, of_subjects=scaled
        ),
        CLASSES: Level(
            protocol=CLASSES,
            features=np.stack([features[chosen].mean(axis=0) for chosen in by_class]),
            values=np.array([values[chosen].mean() for chosen in by_class]),
            labels=present,
            of_subjects=None,
        ),
    }


def of_one_scale(of_subjects: np.ndarray) -> np.ndarray:
    """Every subject's cells with mean 0 and standard deviation 1 over clips: (n_subjects, n_clips, n_cells)."""
    centred = of_subjects - np.nanmean(of_subjects, axis=1, keepdims=True)
    spread = np.sqrt(np.nanmean(centred**2, axis=1, keepdims=True))
    return np.divide(centred, spread, out=np.zeros_like(centred), where=~(spread <= ROUNDING))
