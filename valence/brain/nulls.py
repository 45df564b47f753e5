"""Stage brain: what other targets than the one under study reach with the same ridge. Targets in, r and p out.

Class permutations (`valence.brain.leave_out`) keep the target's values. These ask for less, or for something else:

- random directions: nine independent normal values, one for each class. As a random direction in the space of an LLM
  gives them; random values of 28 clips would lack what makes any class structure easy to predict from its own clips.
- spectrum-matched: what a slow process would give that has the target's power spectrum along the presentation, the mean
  over subjects. One random series of this spectrum, phases uniform, runs through everybody's recording, and a clip gets
  the mean of where it was shown. Clips came in blocks of one valence, so drift alone can look like valence.
- other axes: means over subjects of other reports, of rank and block of presentation, and the clips' length.
- untrained LLMs: the axis that the same recipe finds in networks that nothing has trained.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from valence.brain.cohort import BrainTarget, Cohort
from valence.brain.correlations import share_as_large
from valence.brain.permutations import Orders, class_orders, refitted, sample
from valence.brain.ridge import CLASS_OUT, CLIP_OUT, Fold, flat, linear_folds, protocols, ridge_r
from valence.brain.rows import NotPossible, Row, or_reason
from valence.brain.targets import brain_target, mean_rating
from valence.cell import derive_seed
from valence.intervals import correlation

if TYPE_CHECKING:
    from valence.axis import Axis

N_RANDOM = 10_000
N_SPECTRUM = 2_000
N_ORDERS = 10_000
SCALES = ("arousal", "familiarity", "liking")


def rows(cohort: Cohort, target: BrainTarget) -> list[Row]:
    """All but untrained LLMs, leaving a clip and a class out."""
    found: list[Row] = []
    x, groups = flat(cohort.clip_means()), protocols(cohort)
    for name in (CLIP_OUT, CLASS_OUT):
        folds = linear_folds(x, groups[name])
        r = ridge_r(folds, target.clip_values)
        random = random_directions(cohort.class_of_clip, seed=derive_seed(cohort.name, "brain/random"))
        found.append(_against(name, "random directions", r, refitted(folds, random), random.words, len(x)))
        with or_reason(found, analysis="ridge against", protocol=name, item="spectrum-matched"):
            slow = spectrum_matched(cohort, target.clip_values)
            found.append(_against(name, "spectrum-matched", r, refitted(folds, slow), slow.words, len(x)))
        found += _other_axes(cohort, target, folds, name)
    return found


def untrained_rows(cohort: Cohort, target: BrainTarget, axes: "Sequence[Axis]") -> list[Row]:
    """The target against axes of untrained LLMs, of the cohort's classes. Raises NotPossible where there are none."""
    if not axes:
        raise NotPossible("no axis of an untrained LLM was given (--untrained-axis)")
    found = []
    for name in (CLIP_OUT, CLASS_OUT):
        folds = linear_folds(flat(cohort.clip_means()), protocols(cohort)[name])
        r = ridge_r(folds, target.clip_values)
        null = np.array([ridge_r(folds, brain_target("axis", cohort, axis).clip_values) for axis in axes])
        words = f"axes of {len(axes)} untrained LLMs; p cannot be below {1 / (1 + len(axes)):.2g}"
        found.append(_against(name, "untrained LLMs", r, null, words, len(target.clip_values)))
    return found


def random_directions(class_of_clip: np.ndarray, *, n: int = N_RANDOM, seed: int = 0) -> Orders:
    """Independent normal values of the classes; clips have those of their class."""
    labels = np.unique(class_of_clip, return_inverse=True)[1]
    values = np.random.default_rng(seed).normal(size=(n, labels.max() + 1))
    words = f"{n:,} random directions, one value a class"
    return Orders(values, np.zeros(len(labels)), labels, values[0], words)


def spectrum_matched(cohort: Cohort, clip_values: np.ndarray, *, n: int = N_SPECTRUM) -> Orders:
    """Targets of the clips from random series of the target's power spectrum along the presentation.

    Raises NotPossible where no subject's order of presentation is known.
    """
    presented = known_order(cohort)
    spectrum = np.zeros(len(clip_values) // 2 + 1)
    for ranks in presented:
        shown = np.empty(len(clip_values))
        shown[ranks] = clip_values
        spectrum += np.abs(np.fft.rfft(shown)) ** 2
    random = np.random.default_rng(derive_seed(cohort.name, "brain/spectrum"))
    phases = np.exp(2j * np.pi * random.random((n, len(spectrum))))
    series = np.fft.irfft(np.sqrt(spectrum) * phases, len(clip_values), axis=1)
    values = np.mean([series[:, ranks] for ranks in presented], axis=0)
    values = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)
    labels = np.arange(len(clip_values))
    words = f"{n:,} random series of the target's spectrum along the presentation, mean over {len(presented)} orders"
    return Orders(values, np.zeros(len(labels)), labels, clip_values, words)


def known_order(cohort: Cohort) -> np.ndarray:
    """Ranks at which clips were shown to those whose order is known whole: int, (n_subjects, n_clips)."""
    presented = cohort.presentation
    if presented is None or not (whole := (presented >= 0).all(axis=1)).any():
        raise NotPossible("the order of presentation is not known")
    return presented[whole]


def covariates(cohort: Cohort) -> dict[str, np.ndarray]:
    """What could pass for the target, by name: float64 (n_clips,), of those that are known and vary."""
    found = {scale: mean_rating(cohort, scale) for scale in SCALES}
    try:
        presented = known_order(cohort)
        found["order"] = presented.mean(axis=0)
        if cohort.block_clips:
            found["block"] = (presented // cohort.block_clips).mean(axis=0)
    except NotPossible:
        found |= {"order": None, "block": None}
    found["duration"] = cohort.clip_seconds
    return {
        name: np.asarray(values, dtype=np.float64)
        for name, values in found.items()
        if values is not None and np.isfinite(values).all() and np.ptp(values) > 0
    }


def _against(name: str, item: str, r: float, null: np.ndarray, words: str, n: int) -> Row:
    """The observed r beside a null that does not hold it."""
    low, high = np.percentile(null, [2.5, 97.5])
    above = int(np.count_nonzero(null >= r - 1e-9))
    return Row(
        analysis="ridge against",
        protocol=name,
        item=item,
        value=r,
        p=(1 + above) / (1 + len(null)),
        n=n,
        null=f"one-sided, {words}, whole pipeline refit; mean {null.mean():+.3f}, 95 % from {low:+.2f} to {high:+.2f}",
    )


def _other_axes(cohort: Cohort, target: BrainTarget, folds: Sequence[Fold], name: str) -> list[Row]:
    """r of other values of the clips, each against its own class permutations."""
    found: list[Row] = []
    known = covariates(cohort)
    for item in (*SCALES, "order", "block", "duration"):
        with or_reason(found, analysis="ridge of", protocol=name, item=item):
            if item not in known:
                raise NotPossible("the data set does not have it for every clip, or it is the same for all")
            orders = sample(class_orders(known[item], cohort.class_of_clip), N_ORDERS)
            r = ridge_r(folds, known[item])
            found.append(
                Row(
                    analysis="ridge of",
                    protocol=name,
                    item=item,
                    value=r,
                    p=share_as_large(r, refitted(folds, orders)),
                    n=len(known[item]),
                    null=f"one-sided, {orders.words}, whole pipeline refit",
                    note=f"its r with the target over clips is {correlation(known[item], target.clip_values):+.2f}",
                )
            )
    return found
