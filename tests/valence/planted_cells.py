"""Kept cells with a planted truth: FACED's validation and test samples, known directions of features, a linear head."""

from dataclasses import replace

import numpy as np

from tests.valence.training_world import CLASS_OF_CLIP, N_CLASSES, N_CLIPS
from valence.kept import Kept
from valence.probes import unit
from valence.residual_probes import residual_basis
from valence.targets import Target

N_WINDOWS = 3
SUBJECTS = {"validation": 20, "test": 23}


def target(seed: int = 0, *, name: str = "planted", residual: float = 1.0) -> Target:
    """Random values of classes and, within them, of clips."""
    random = np.random.default_rng(seed)
    classes = random.normal(size=N_CLASSES)
    classes = (classes - classes.mean()) / classes.std()
    clips = classes[CLASS_OF_CLIP] + residual * random.normal(size=N_CLIPS)
    return Target(name=name, class_values=classes, clip_values=clips, prototypes=None, dissimilarity=None)


def residual_of(planted: Target) -> np.ndarray:
    """The target's values without class means, (n_clips,), of length 1."""
    basis = residual_basis(CLASS_OF_CLIP)
    left = basis @ (basis.T @ planted.clip_values)
    return left / np.linalg.norm(left)


def cell(
    planted: Target,
    *,
    seed: int = 0,
    width: int = 128,
    axis: float = 1.0,
    residual: float = 6.0,
    used: float = 1.0,
    noise: float = 1.0,
    classifier: str = "EEGNet",
    strategy: str = "none",
) -> Kept:
    """A cell whose features hold the target along known directions.

    Parameters
    ----------
    axis : class means along the first direction, by the target's class values.
    residual : clip differences along the second, by the target's residual.
    used : class means along the second, of random values, which the head reads.
    noise : of samples, in every dimension; eight that no class differs in have 2.5 times as much.
    """
    random = np.random.default_rng(seed)
    directions = np.linalg.qr(random.normal(size=(width, width)))[0].T
    clips = np.zeros((N_CLIPS, width))
    clips += np.outer(axis * planted.class_values[CLASS_OF_CLIP], directions[0])
    of_used = unit(random.normal(size=N_CLASSES)) * 3 * used
    clips += np.outer(residual * residual_of(planted) + of_used[CLASS_OF_CLIP], directions[1])
    clips += 0.8 * random.normal(size=(N_CLASSES, 5))[CLASS_OF_CLIP] @ directions[2:7]
    other = residual_basis(CLASS_OF_CLIP) @ random.normal(size=(N_CLIPS - N_CLASSES, 3))
    clips += 0.3 * other @ directions[8:11]
    parts, subjects, which = [], [], []
    for part, n in SUBJECTS.items():
        names = [f"{part}{number:02d}" for number in range(n)]
        parts += [part] * (n * N_CLIPS * N_WINDOWS)
        subjects += list(np.repeat(names, N_CLIPS * N_WINDOWS))
        which.append(np.tile(np.repeat(np.arange(N_CLIPS), N_WINDOWS), n))
    clip = np.concatenate(which)
    names, owner = np.unique(subjects, return_inverse=True)
    features = clips[clip] + noise * random.normal(size=(len(clip), width))
    features += 2.3 * noise * random.normal(size=(len(clip), 8)) @ directions[12:20]
    features += 0.2 * random.normal(size=(len(names), width))[owner]
    means = np.stack([clips[label == CLASS_OF_CLIP].mean(axis=0) for label in range(N_CLASSES)])
    weight = (means - means.mean(axis=0)) / noise**2
    bias = -0.5 * (means * weight).sum(axis=1)
    test = np.array(parts) == "test"
    return Kept(
        cell_id=f"{seed:016x}",
        classifier=classifier,
        strategy=strategy,
        target=planted.name,
        seed=seed,
        recipe="planted",
        part=np.array(parts),
        subjects=np.array(subjects),
        clips=clip,
        labels=CLASS_OF_CLIP[clip],
        logits=(features @ weight.T + bias).astype(np.float32),
        features=features.astype(np.float32),
        clip_features=np.stack([features[test & (clip == one)].mean(axis=0) for one in range(N_CLIPS)]),
        layers=None,
        head=(weight.astype(np.float32), bias.astype(np.float32)),
    )


def residual_direction(*, seed: int = 0, width: int = 128) -> np.ndarray:
    """The direction (D,) of the target's residual in the cell of that seed."""
    random = np.random.default_rng(seed)
    return np.linalg.qr(random.normal(size=(width, width)))[0].T[1]


def without(kept: Kept, *fields: str) -> Kept:
    """The cell as if these had not been kept."""
    return replace(kept, **dict.fromkeys(fields))
