"""Stand-ins for tests of training: a small data set with planted classes, a split, cells."""

from types import SimpleNamespace

import numpy as np

from valence.axis import Axis
from valence.axis_pca import polarity
from valence.cell import Cell, Recipe, canonical_hash
from valence.datasets.base import Part
from valence.signal import SignalSpec
from valence.splits import Split
from valence.stories import EMOTIONS
from valence.targets import Target, TargetContext, make_target

N_CLASSES = 9
CLASS_OF_CLIP = np.repeat(np.arange(N_CLASSES), [3, 3, 3, 3, 4, 3, 3, 3, 3])
N_CLIPS = len(CLASS_OF_CLIP)
CH_NAMES = ("Fz", "F3", "F4", "Cz", "C3", "C4", "O1", "O2")
NAMES = tuple(f"sub{number:03d}" for number in range(6))


def axis(seed: int = 0, *, width: int = 32) -> Axis:
    """An axis with random centroids of that width."""
    centroids = np.random.default_rng(seed).standard_normal((N_CLASSES, width))
    centroids -= centroids.mean(0)
    direction = np.linalg.svd(centroids, full_matrices=False)[2][0]
    positions = centroids @ direction
    clips = positions[CLASS_OF_CLIP] + 0.3 * np.random.default_rng(seed + 1).standard_normal(N_CLIPS)
    return Axis(
        direction=direction,
        class_positions=(positions - positions.mean()) / positions.std(),
        centroids=centroids,
        explained_variance=0.5,
        llm="planted",
        llm_hash="0" * 16,
        layer=-2,
        pooling="last",
        method="pca",
        n_paraphrases=1,
        engine="none",
        dtype="float32",
        clip_positions=(clips - clips.mean()) / clips.std(),
    )


def ratings() -> np.ndarray:
    """What people say of the clips, 0 to 7: by the sign of their class, and a scatter that differs by clip."""
    middle = 3.5 + 1.5 * polarity(EMOTIONS)
    return middle[CLASS_OF_CLIP] + np.random.default_rng(7).uniform(-0.5, 0.5, N_CLIPS)


def context(*, seed: int = 42, axis_seed: int = 0, width: int = 32, n_axes: int = 1) -> TargetContext:
    """What targets are made from, with axes of so many LLMs."""
    first, *others = (axis(axis_seed + 100 * number, width=width + number) for number in range(n_axes))
    return TargetContext(
        class_of_clip=CLASS_OF_CLIP,
        n_classes=N_CLASSES,
        classes=EMOTIONS,
        axis=first,
        seed=seed,
        further_axes=tuple(others),
        ratings=ratings(),
    )


def target(name: str = "vaxis", **fields) -> Target:
    return make_target(name, context(**fields))


def spec(input: str, *, n_times: int | None = None, ch_names: tuple[str, ...] = CH_NAMES) -> SignalSpec:
    facts = {"n_chans": len(ch_names), "n_outputs": N_CLASSES, "ch_names": ch_names}
    if input == "de":
        return SignalSpec(n_times=n_times or 6, sfreq=1, n_bands=5, **facts)
    return SignalSpec(n_times=n_times or 200, sfreq=100, **facts)


def dataset(
    input: str = "de", *, signal: float = 1.0, seed: int = 0, ch_names: tuple[str, ...] = CH_NAMES
) -> SimpleNamespace:
    """Prepared samples of six subjects; a class changes the level (DE) or the power (windows) of channels."""
    rng = np.random.default_rng(seed)
    facts = spec(input, ch_names=ch_names)
    labels = np.tile(CLASS_OF_CLIP, len(NAMES))
    shape = (len(labels), facts.n_chans, facts.n_times)
    if input == "de":
        pattern = rng.standard_normal((N_CLASSES, facts.n_chans, 1, facts.n_bands))
        x = 3 + rng.standard_normal((*shape, facts.n_bands)) + signal * pattern[labels]
    else:
        pattern = rng.standard_normal((N_CLASSES, facts.n_chans, 1))
        x = rng.standard_normal(shape) * np.exp(signal * pattern[labels])
    return SimpleNamespace(
        spec=facts,
        x=x.astype(np.float32),
        labels=labels,
        clips=np.tile(np.arange(N_CLIPS), len(NAMES)),
        subjects=np.repeat(np.arange(len(NAMES)), N_CLIPS),
        subject_names=NAMES,
        begins=np.zeros(len(labels)),
        ends=np.ones(len(labels)),
        folder=None,
        hash=canonical_hash([input, signal, seed, *ch_names]),
    )


def split() -> Split:
    clips = tuple(range(N_CLIPS))
    parts = (Part(subjects, clips) for subjects in (NAMES[:4], NAMES[4:5], NAMES[5:]))
    return Split("cohort-balanced:0", *parts)


def recipe(**fields) -> Recipe:
    return Recipe(**({"name": "test", "epochs": 3, "learning_rate": 3e-3, "batch_size": 32} | fields))


def cell(classifier: str, strategy: str = "none", *, about: Recipe, lambda_: float = 0.0, seed: int = 42) -> Cell:
    return Cell(
        dataset="planted",
        dataset_hash="0" * 16,
        split="cohort-balanced:0",
        classifier=classifier,
        recipe=about.name,
        recipe_hash=about.hash,
        strategy=strategy,
        target="none" if strategy == "none" else "vaxis",
        axis="",
        lambda_=lambda_,
        seed=seed,
    )
