"""Cohorts over the whole head, from numbers or from the simulation's source powers, and FACED's own where it is."""

import functools
from pathlib import Path

import numpy as np

from valence.brain.cohort import BrainTarget, Cohort, load_cohort
from valence.faced_files import MEAN_VALENCE, FacedFiles
from valence.simulation import _log_power, _mixing, plant
from valence.worlds import World

CH_NAMES = FacedFiles.ch_names[:30]
BANDS = ("delta", "theta", "alpha", "beta", "gamma")
LABELS = np.array(FacedFiles.class_of_clip)
FIVE = np.array([0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 4])
"""class of twelve clips: 120 class permutations, classes of two and three clips"""


def scalp_cohort(de: np.ndarray, *, labels=LABELS, ch_names=CH_NAMES, band_names=BANDS, classes=None) -> Cohort:
    """A cohort of band features, (n_subjects, n_clips, n_chans, n_steps, n_bands)."""
    return Cohort(
        name="by hand",
        de=de.astype(np.float32),
        subjects=tuple(f"sub{number:03d}" for number in range(len(de))),
        ch_names=ch_names,
        band_names=band_names,
        step_s=1.0,
        class_of_clip=labels,
        classes=classes or FacedFiles.classes[: labels.max() + 1],
        films=tuple(f"film {clip}" for clip in range(len(labels))),
        campaigns=np.ones(len(de), dtype=np.int64),
    )


def noise(seed: int, n_subjects=8, *, labels=LABELS, n_chans=30, n_steps=2, n_bands=5) -> np.ndarray:
    """Band features without a target, (n_subjects, n_clips, n_chans, n_steps, n_bands), standard deviation 1."""
    return np.random.default_rng(seed).normal(size=(n_subjects, len(labels), n_chans, n_steps, n_bands))


def clip_target(values: np.ndarray, labels: np.ndarray = LABELS) -> BrainTarget:
    """A target of any values of the clips."""
    means = np.array([values[labels == label].mean() for label in range(labels.max() + 1)])
    scored, classes = ((x - x.mean()) / x.std() for x in (values, means))
    return BrainTarget(name="by hand", clip_values=scored, class_values=classes)


RATED = clip_target(np.array(MEAN_VALENCE))
CODED = clip_target(np.sign(LABELS - 4.0))
"""-, 0 and +: 630 class permutations, where ratings have 362,880"""


def cohort_of_world(world: World, n_subjects: int) -> Cohort:
    """What electrodes see of the powers of the simulation's sources, without the signals: differential entropy."""
    de = np.empty((n_subjects, len(LABELS), len(CH_NAMES), 1, len(BANDS)))
    for number in range(n_subjects):
        rng = np.random.default_rng([world.seed, number])
        power = _log_power(world, f"sub{number:03d}", rng, cohort=1)
        seen = np.einsum("xs,kbs->kxb", _mixing(rng)[:30].astype(np.float64) ** 2, np.exp(power))
        de[number, :, :, 0] = 0.5 * np.log(seen)
    return scalp_cohort(de)


def world_target(world: World) -> BrainTarget:
    """The clip values that a world has planted."""
    return clip_target(plant(world).clip_values)


@functools.lru_cache(maxsize=1)
def faced_cohort(shared_data: Path) -> Cohort:
    """The real data set's 100 subjects."""
    from valence.datasets import DATASETS

    return load_cohort(DATASETS["faced"](shared_data / "faced"))


def one_row(rows, **about):
    """The one row whose fields are as said; `null` is looked for inside."""
    null = about.pop("null", "")
    fit = [
        row for row in rows if null in row.null and all(getattr(row, name) == value for name, value in about.items())
    ]
    assert len(fit) == 1, [(row.analysis, row.protocol, row.item, row.null) for row in fit]
    return fit[0]
