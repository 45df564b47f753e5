"""Cohorts made by hand: band features of clips by subject in, a `Cohort` as the analyses read it, out."""

from dataclasses import replace

import numpy as np

from valence.brain.cohort import BrainTarget, Cohort
from valence.faced_files import FacedFiles

LABELS = np.array(FacedFiles.class_of_clip)
CHANNELS = ("PO3", "F7", "O1", "Pz", "Cz")
BANDS = ("theta", "beta", "gamma")
N_CELLS = len(CHANNELS) * len(BANDS)
VALUES = np.array([-1.4, -1.2, -1.0, -0.8, 0.1, 1.3, 0.9, 1.2, 0.7])


def cohort_of(x: np.ndarray, *, labels: np.ndarray = LABELS, **facts) -> Cohort:
    """A cohort whose means over steps are x, (n_subjects, n_clips, n_cells), or whose steps are x of one dimension more
    in front of the cells. Cells are channels by bands, of CHANNELS and BANDS."""
    steps = x[:, :, None] if x.ndim == 3 else x
    de = steps.reshape(*steps.shape[:3], len(CHANNELS), len(BANDS)).transpose(0, 1, 3, 2, 4)
    made = Cohort(
        name="by hand",
        de=np.ascontiguousarray(de, dtype=np.float32),
        subjects=tuple(f"sub{number:03d}" for number in range(len(x))),
        ch_names=CHANNELS,
        band_names=BANDS,
        step_s=1.0,
        class_of_clip=labels,
        classes=FacedFiles.classes[: labels.max() + 1],
        films=tuple(f"film {clip}" for clip in range(len(labels))),
        campaigns=np.ones(len(x), dtype=np.int64),
    )
    return replace(made, **facts)


def target_of(values: np.ndarray = VALUES, labels: np.ndarray = LABELS) -> BrainTarget:
    """A target with one value a class."""
    clips = values[labels]
    scored = (clips - clips.mean()) / clips.std()
    return BrainTarget(name="axis", clip_values=scored, class_values=(values - values.mean()) / values.std())


def blocked_orders(n_subjects: int, *, block_clips: int = 4, seed: int = 0) -> np.ndarray:
    """Ranks of the clips, (n_subjects, n_clips): blocks of clips of one valence in random order, as in FACED."""
    rng = np.random.default_rng(seed)
    signs = np.sign(LABELS - 4)
    ranks = np.empty((n_subjects, len(LABELS)), dtype=np.int64)
    for own in ranks:
        blocks = [
            block
            for sign in (-1, 0, 1)
            for block in rng.permutation(np.flatnonzero(signs == sign)).reshape(-1, block_clips)
        ]
        own[np.concatenate([blocks[at] for at in rng.permutation(len(blocks))])] = np.arange(len(LABELS))
    return ranks
