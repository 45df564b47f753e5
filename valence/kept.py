"""Results to arrays: what a sweep keeps of its cells. A sweep's folder in, one `Kept` a cell out.

Predictions are there of every cell; features of samples, outputs of layers and weights only of cells that were kept.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError
from safetensors.numpy import load_file

from valence.classifiers import CLASSIFIERS
from valence.errors import BadInput
from valence.kept_files import damaged, float_matrix, read_table, text, whole_numbers

VALIDATION, TEST = "validation", "test"
FIELDS = ("classifier", "strategy", "target", "seed", "recipe")
OPTIONAL = ("samples", "features", "layers", "head")
"""what may be read beside predictions"""
HEAD_TOLERANCE = 0.02
"""largest deviation of logits from weight · features + bias, as a share of the logits' standard deviation"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """One cell, samples in the order of parts (validation first), then of the data set's rows.

    Raises
    ------
    BadInput : where arrays are not of one length, labels are no classes, or numbers are not finite.
    """

    cell_id: str
    classifier: str
    strategy: str
    target: str
    seed: int
    recipe: str
    part: np.ndarray
    """str, (n,), "validation" or "test" """
    subjects: np.ndarray
    """str, (n,)"""
    clips: np.ndarray
    """int64, (n,)"""
    labels: np.ndarray
    """int64, (n,)"""
    logits: np.ndarray
    """float32, (n, n_classes)"""
    features: np.ndarray | None = None
    """float32, (n, D), penultimate features, of cells that were kept"""
    clip_features: np.ndarray | None = None
    """float32, (n_clips, D), their means over test samples; nan for a clip without any"""
    layers: dict[str, np.ndarray] | None = None
    """by layer in order of computation, float32, (n_clips, D_l), means over test samples"""
    head: tuple[np.ndarray, np.ndarray] | None = None
    """weight (n_classes, D) and bias (n_classes,), where the last layer is one linear map of the pooled features"""

    def __post_init__(self) -> None:
        n, sizes = len(self.logits), [len(getattr(self, name)) for name in ("part", "subjects", "clips", "labels")]
        problem = ""
        if self.logits.ndim != 2 or not n or set(sizes) != {n}:
            problem = f"logits {self.logits.shape} for {sizes} parts, subjects, clips and labels"
        elif not np.isfinite(self.logits).all():
            problem = "logits that are not finite"
        elif not np.isin(self.part, (VALIDATION, TEST)).all():
            problem = f"a part {str(next(part for part in self.part if part not in (VALIDATION, TEST)))!r}"
        elif self.labels.min() < 0 or self.labels.max() >= self.logits.shape[1]:
            problem = f"labels {self.labels.min()} to {self.labels.max()} for {self.logits.shape[1]} classes"
        elif self.features is not None and (self.features.ndim != 2 or len(self.features) != n):
            problem = f"features {self.features.shape} for {n} samples"
        if problem:
            raise BadInput(
                f"cell {self.cell_id}: {problem}",
                allowed='one row a sample, labels from 0, parts "validation" and "test", finite numbers',
                do="train the cell again, or correct the arrays",
            )

    def rows(self, part: str) -> np.ndarray:
        """Rows of a part, int64, ascending; none where the cell was stored without it."""
        return np.flatnonzero(self.part == part)


def read_kept(
    out: Path, cell_ids: Iterable[str] | None = None, *, parts: Collection[str] = OPTIONAL, same_samples: bool = True
) -> list[Kept]:
    """Read the cells of a sweep.

    Parameters
    ----------
    out : folder of the sweep (cells/, predictions/, …).
    cell_ids : in this order; None: every cell that is done, by id.
    parts : what is read beside predictions where it is there: any of `OPTIONAL`.
    same_samples : refuse cells that were not tested on the same samples.

    Returns
    -------
    One Kept a cell. Predictions of a version that kept the test part alone have no validation rows.

    Raises
    ------
    BadInput : where there is no sweep, a cell asked for is not done, a file is damaged, or samples differ.
    """
    done = _done(Path(out))
    ids = list(done) if cell_ids is None else list(cell_ids)
    missing = [cell_id for cell_id in ids if cell_id not in done]
    if missing or not ids:
        raise BadInput(
            f"{out}: {f'cells that are not done: {_listed(missing)}' if missing else 'no cell is done'}",
            allowed=f"{len(done)} cells that are done{f': {_listed(list(done))}' if done else ''}",
            do="finish the sweep, or name other cells",
        )
    kept = [_one(Path(out), cell_id, done[cell_id], set(parts)) for cell_id in ids]
    if same_samples:
        check_samples(kept)
    return kept


def check_samples(kept: Sequence[Kept]) -> None:
    """Raise BadInput where cells were not tested on the same samples in the same order: they cannot be averaged."""

    def samples(cell: Kept) -> tuple[bytes, ...]:
        columns = (cell.part.astype(str), cell.subjects.astype(str), cell.clips, cell.labels)
        return (str(cell.logits.shape).encode(), *(np.ascontiguousarray(column).tobytes() for column in columns))

    groups: dict[tuple[bytes, ...], list[Kept]] = {}
    for cell in kept:
        groups.setdefault(samples(cell), []).append(cell)
    if len(groups) > 1:
        told = "; ".join(
            f"{len(cells)} of {_listed(sorted({cell.classifier for cell in cells}))} with {_samples_in_words(cells[0])}"
            for cells in sorted(groups.values(), key=len, reverse=True)
        )
        raise BadInput(
            f"cells of {len(groups)} different sets of samples: {told}",
            allowed="cells of one data set, split, input and window",
            do="name the cells of one of these sets",
        )


def _samples_in_words(cell: Kept) -> str:
    n = Counter(cell.part.tolist())
    subjects = sorted(set(cell.subjects[cell.part == TEST].tolist()))
    of_subjects = f" of {subjects[0]} to {subjects[-1]}" if subjects else ""
    return f"{n[VALIDATION]} validation and {n[TEST]} test samples{of_subjects} (as cell {cell.cell_id})"


def _done(out: Path) -> dict[str, dict]:
    """Rows of all cells that are done, by cell id, sorted."""
    files = sorted((out / "cells").glob("*.parquet"))
    if not files:
        raise BadInput(
            f"{out} holds no committed cells", allowed="the folder of a sweep (it has cells/)", do="check the path"
        )
    rows = [read_table(file, ("cell_id", "status", *FIELDS)).to_pylist() for file in files]
    return {row["cell_id"]: row for file in rows for row in file if row["status"] == "done"}


def _one(out: Path, cell_id: str, row: dict, parts: set[str]) -> Kept:
    path = out / "predictions" / f"{cell_id}.parquet"
    table = read_table(path, ("subject", "clip", "label", "logits"))
    n = table.num_rows
    part = text(table, "part") if "part" in table.column_names else np.full(n, TEST)
    columns = {"part": part, "subjects": text(table, "subject")}
    columns |= {"clips": whole_numbers(table, "clip"), "labels": whole_numbers(table, "label")}
    logits = float_matrix(table, "logits", path)
    features = _features(out, cell_id, columns) if parts & {"samples", "head"} else None
    return Kept(
        cell_id=cell_id,
        **{name: row[name] for name in FIELDS},
        **columns,  # type: ignore[arg-type]
        logits=logits,
        features=features if "samples" in parts else None,
        clip_features=_clip_features(out, cell_id) if "features" in parts else None,
        layers=_layers(out, cell_id) if "layers" in parts else None,
        head=_head(out, cell_id, row["classifier"], features, logits) if "head" in parts else None,
    )


def _features(out: Path, cell_id: str, columns: dict[str, np.ndarray]) -> np.ndarray | None:
    path = out / "samples" / f"{cell_id}.parquet"
    if not path.is_file():
        return None
    table = read_table(path, ("part", "subject", "clip", "label", "features"))
    found = {"part": text(table, "part"), "subjects": text(table, "subject")}
    found |= {"clips": whole_numbers(table, "clip"), "labels": whole_numbers(table, "label")}
    if any(not np.array_equal(found[name], columns[name]) for name in columns):
        raise damaged(path, "its samples are not those of the predictions, in their order")
    return float_matrix(table, "features", path)


def _clip_features(out: Path, cell_id: str) -> np.ndarray | None:
    path = out / "features" / f"{cell_id}.parquet"
    return (
        float_matrix(read_table(path, ("clip", "features")).sort_by("clip"), "features", path)
        if path.is_file()
        else None
    )


def _layers(out: Path, cell_id: str) -> dict[str, np.ndarray] | None:
    path = out / "layers" / f"{cell_id}.parquet"
    if not path.is_file():
        return None
    table = read_table(path, ("layer", "depth", "clip", "features")).sort_by(
        [("depth", "ascending"), ("clip", "ascending")]
    )
    names = text(table, "layer")
    return {
        str(name): float_matrix(table.filter(pa.array(names == name)), "features", path)
        for name in dict.fromkeys(names)
    }


def _head(
    out: Path, cell_id: str, classifier: str, features: np.ndarray | None, logits: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Weight and bias of the tapped layer, if they give the logits from the features: nothing else is proof of it."""
    path = out / "trained" / f"{cell_id}.safetensors"
    if features is None or not path.is_file() or classifier not in CLASSIFIERS:
        return None
    tap = CLASSIFIERS[classifier].tap
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise damaged(path, str(error)) from error
    weight, bias = state.get(f"{tap}.weight"), state.get(f"{tap}.bias")
    if weight is None or weight.size != logits.shape[1] * features.shape[1]:
        return None
    weight = weight.reshape(logits.shape[1], features.shape[1])  # a convolution of size 1 is the same map
    bias = np.zeros(len(weight), dtype=weight.dtype) if bias is None else bias
    off = np.abs(features @ weight.T + bias - logits).max()
    return (weight, bias) if off <= HEAD_TOLERANCE * max(float(logits.std()), 1e-12) else None


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
