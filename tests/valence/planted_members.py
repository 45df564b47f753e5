"""Cells whose answers are simulated: so accurate, so correlated, with every true number known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from valence.kept import TEST, VALIDATION, Kept

CLASS_OF_CLIP = np.repeat(np.arange(9), [3, 3, 3, 3, 4, 3, 3, 3, 3])
"""as FACED has them: one class has more samples than the others"""


def planted(
    n_members: int,
    *,
    signal: float | np.ndarray = 1.0,
    correlation: float = 0.3,
    n_classes: int = 9,
    n_samples: tuple[int, int] = (540, 1080),
    n_subjects: tuple[int, int] = (5, 10),
    clusters: np.ndarray | None = None,
    seed: int = 0,
) -> list[Kept]:
    """Logits = signal · one-hot + noise of variance 1, of which members share `correlation`.

    Parameters
    ----------
    signal : of all members, or of each.
    clusters : of each member; only those of one cluster then share noise.
    n_samples, n_subjects : of validation and test.
    """
    random = np.random.default_rng(seed)
    n = sum(n_samples)
    part = np.repeat([VALIDATION, TEST], n_samples)
    clips = np.concatenate([np.arange(size) % len(CLASS_OF_CLIP) for size in n_samples])
    labels = CLASS_OF_CLIP[clips] % n_classes
    subjects = np.concatenate(
        [
            [f"sub{first + at * count // size:03d}" for at in range(size)]
            for first, size, count in zip((0, 50), n_samples, n_subjects)
        ]
    )
    signals = np.broadcast_to(signal, n_members)
    of = np.zeros(n_members, dtype=int) if clusters is None else np.asarray(clusters)
    shared = random.standard_normal((of.max() + 1, n, n_classes))
    kept = []
    for member in range(n_members):
        own = random.standard_normal((n, n_classes))
        noise = np.sqrt(correlation) * shared[of[member]] + np.sqrt(1 - correlation) * own
        logits = signals[member] * np.eye(n_classes)[labels] + noise
        kept.append(
            Kept(
                cell_id=f"{member:016x}",
                classifier="EEGNet",
                strategy="none",
                target="none",
                seed=member,
                recipe="planted",
                part=part,
                subjects=subjects,
                clips=clips.astype(np.int64),
                labels=labels.astype(np.int64),
                logits=logits.astype(np.float32),
            )
        )
    return kept


def with_test_labels(kept: list[Kept], labels: np.ndarray) -> list[Kept]:
    """The same cells with other labels of the test part."""
    new = kept[0].labels.copy()
    new[kept[0].rows(TEST)] = labels
    return [replace(cell, labels=new) for cell in kept]


def write_kept(out: Path, cell: Kept, *, status: str = "done", with_part: bool = True) -> None:
    """A cell as a sweep stores it."""
    n_classes = cell.logits.shape[1]
    row = {"cell_id": cell.cell_id, "status": status, "seed": cell.seed}
    row |= {name: getattr(cell, name) for name in ("classifier", "strategy", "target", "recipe")}
    _write(out / "cells" / f"{cell.cell_id}.parquet", pa.Table.from_pylist([row]))
    rows = np.arange(len(cell.part)) if with_part else cell.rows(TEST)
    columns = {"part": cell.part[rows].tolist()} if with_part else {}
    columns |= {"subject": cell.subjects[rows].tolist(), "clip": cell.clips[rows], "label": cell.labels[rows]}
    logits = pa.FixedSizeListArray.from_arrays(pa.array(cell.logits[rows].ravel()), n_classes)
    _write(out / "predictions" / f"{cell.cell_id}.parquet", pa.table({**columns, "logits": logits}))
    if cell.features is not None:
        features = pa.FixedSizeListArray.from_arrays(pa.array(cell.features.ravel()), cell.features.shape[1])
        _write(out / "samples" / f"{cell.cell_id}.parquet", pa.table({**columns, "features": features}))
    if cell.layers is not None:
        table = [
            {"layer": name, "depth": depth, "clip": clip, "features": values.tolist()}
            for depth, (name, means) in enumerate(cell.layers.items())
            for clip, values in enumerate(means)
        ]
        schema = pa.schema(
            [("layer", pa.string()), ("depth", pa.int64()), ("clip", pa.int64()), ("features", pa.list_(pa.float32()))]
        )
        _write(out / "layers" / f"{cell.cell_id}.parquet", pa.Table.from_pylist(table[::-1], schema=schema))


def _write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
