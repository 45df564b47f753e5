"""Cells of a pack to rows for the store: groups that train together, and what is kept of each cell."""

import dataclasses
import functools
import importlib.metadata
import json
import logging
import platform
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from cluster.binding import earlier_cell
from cluster.context import Context
from cluster.grid import NO_TARGET
from cluster.store import METRICS, Store, put_if_absent
from valence.calibration import Choice, calibrate
from valence.cell import Cell, canonical_hash
from valence.device_errors import is_fatal
from valence.errors import BadInput
from valence.kept_weights import weights_bytes
from valence.packing import TOGETHER, Ended, check_mode, train_group
from valence.prepared import Prepared
from valence.results import Result
from valence.strategies import STRATEGIES
from valence.targets import Target

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What there is to commit of one cell."""

    row: dict
    """without attempts"""
    artifacts: dict[str, pa.Table] = dataclasses.field(default_factory=dict)
    weights: bytes | None = None
    """where they are kept"""


def train_rows(cells: Sequence[Cell], context: Context, *, device: str, mode: str) -> Iterator[Outcome]:
    """Train cells of one classifier together; each as it ends. What goes wrong inside a cell is a failed row."""
    input = context.inputs[cells[0].classifier]
    prepared, recipe = context.prepared[input], context.recipes[cells[0].recipe_hash]
    earlier: dict[str, Path] = {}
    able = []
    for cell in cells:
        try:
            earlier |= earlier_weights(cell, context)
            able.append(cell)
        except BadInput as error:
            yield Outcome(row=_untrained_row(cell, error, device))
    weights = context.weights.get(cells[0].classifier)
    try:
        for ended in train_group(
            able,
            prepared,
            context.splits[input],
            recipe,
            {cell.cell_id: target_of(cell, context) for cell in able},
            device=device,
            mode=mode,
            rewrites=context.execution.rewrites,
            weights=None if weights is None else Path(weights),
            earlier=earlier,
            kept=context.kept,
        ):
            able.remove(ended.cell)
            yield outcome_of(ended, context, device)
    except Exception as error:  # of the data, which all of them share
        if is_fatal(error):  # a new process takes over; nothing is committed
            raise
        for cell in able:
            yield Outcome(row=_untrained_row(cell, error, device))


def earlier_weights(cell: Cell, context: Context) -> dict[str, Path]:
    """By the cell's id, the weights that it builds on; empty where it builds on none.

    Raises BadInput where the cell that they should come from has failed.
    """
    earlier = earlier_cell(cell)
    if earlier is None:
        return {}
    path = context.store().trained(earlier.cell_id)
    if path is None:
        raise BadInput(
            f"{cell.strategy} builds on {earlier.strategy}, cell {earlier.cell_id}, which has failed",
            allowed="a cell whose earlier cell is done",
            do=f"see --why {earlier.cell_id}, then --retry-failed",
        )
    return {cell.cell_id: path}


def outcome_of(ended: Ended, context: Context, device: str) -> Outcome:
    """What there is to commit of a cell that has ended."""
    row, result = row_of(ended, device), ended.outcome
    if not isinstance(result, Result):
        return Outcome(row=row)
    keep = ended.cell.cell_id in context.kept
    return Outcome(
        row=row,
        artifacts=artifacts_of(result, context.prepared[context.inputs[ended.cell.classifier]], keep=keep),
        weights=weights_bytes(result.weights) if keep else None,
    )


def choose(cells: Sequence[Cell], context: Context, store: Store, *, device: str) -> tuple[str, int]:
    """Mode and number of cells at once for a classifier on this device; measured once for a sweep, then kept.

    The table lies in modes/ of the sweep's folder, a file for each classifier, recipe, data set and kind of device.
    """
    execution = context.execution
    if execution.mode != "auto":
        check_mode(execution.mode, device)
        together = execution.mode in TOGETHER
        return execution.mode, (execution.cells_at_once or len(cells)) if together else 1
    if device == "cpu":
        return "eager", 1
    key = canonical_hash(
        [cells[0].classifier, cells[0].recipe_hash, cells[0].dataset_hash, device_name(device), execution.rewrites]
    )
    path = store.folder / "modes" / f"{cells[0].classifier}-{key}.json"
    if not path.exists():
        try:
            choice = _calibrate(cells, context, device=device)
        except Exception as error:  # what is wrong each cell will tell by itself
            if is_fatal(error):
                raise
            logger.warning("%s is not calibrated: %s", cells[0].classifier, error)
            return "eager", 1
        put_if_absent(path, json.dumps(dataclasses.asdict(choice), indent=1).encode())
    chosen = json.loads(path.read_text())
    return chosen["mode"], execution.cells_at_once or chosen["cells_at_once"]


def _calibrate(cells: Sequence[Cell], context: Context, *, device: str) -> Choice:
    input = context.inputs[cells[0].classifier]
    prepared = context.prepared[input]
    earlier: dict[str, Path] = {}
    for cell in cells:
        earlier |= earlier_weights(cell, context)
    choice = calibrate(
        cells,
        prepared,
        context.splits[input],
        context.recipes[cells[0].recipe_hash],
        {cell.cell_id: target_of(cell, context) for cell in cells},
        device=device,
        rewrites=context.execution.rewrites,
        earlier=earlier,
    )
    logger.info("%s: %s, %d cells at once", cells[0].classifier, choice.mode, choice.cells_at_once)
    return choice


def device_name(device: str) -> str:
    """What the device is called, for tables of measured speeds."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return _processor()


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def target_of(cell: Cell, context: Context) -> Target | None:
    """What a cell aligns to; None for the strategy none."""
    return None if cell.target == NO_TARGET else context.targets[cell.target, cell.seed]


def row_of(ended: Ended, device: str) -> dict:
    """The row of a cell that has ended, without attempts."""
    row = {
        "cell_id": ended.cell.cell_id,
        "pair_id": ended.cell.pair_id,
        **dataclasses.asdict(ended.cell),
        "seconds": ended.seconds,
        "cells_at_once": ended.cells_at_once,
        "compared_with": STRATEGIES[ended.cell.strategy].baseline,
        "peak_memory_mb": ended.peak_memory_mb,
        "device": device,
        "device_name": device_name(device),
        "versions": json.dumps(versions(), sort_keys=True),
        "finished_at": datetime.now(UTC),
    }
    if isinstance(ended.outcome, Result):
        return row | {"status": "done", **_columns(ended.outcome)}
    error = "".join(traceback.format_exception(ended.outcome))
    return row | {"status": "failed", "error": error}


def _untrained_row(cell: Cell, error: Exception, device: str) -> dict:
    """The row of a cell that failed before its training began."""
    return row_of(Ended(cell=cell, outcome=error, seconds=0.0, cells_at_once=1, peak_memory_mb=None), device)


def _columns(result: Result) -> dict:
    metrics = {name: _float_or_null(result.metrics.get(name)) for name in METRICS}
    return {
        **metrics,
        "best_epoch": result.metrics["best_epoch"],
        "windows": result.metrics["windows"],
        "recall": [_float_or_null(value) for value in result.recall],
        "test_subjects": list(result.subject_balanced_accuracy),
        "subject_balanced_accuracy": [float(value) for value in result.subject_balanced_accuracy.values()],
        "mode": result.mode,
        "rewrites": list(result.rewrites),
        "notes": list(result.notes),
    }


def _float_or_null(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def artifacts_of(result: Result, prepared: Prepared, *, keep: bool = False) -> dict[str, pa.Table]:
    """What is kept of a cell beside its row, by kind: predictions and clip features.

    keep : and what later stages look into: features of every sample, and of every layer by clip.
    """
    labels, clips, subjects = (np.asarray(values) for values in (prepared.labels, prepared.clips, prepared.subjects))
    parts = {"validation": result.validation_index, "test": result.test_index}
    index = np.concatenate(list(parts.values()))
    samples = {
        "part": np.repeat(list(parts), [len(rows) for rows in parts.values()]),
        "subject": [prepared.subject_names[subject] for subject in subjects[index]],
        "clip": clips[index],
        "label": labels[index],
    }
    logits = np.concatenate([result.validation_logits, result.test_logits])
    found = {
        "predictions": pa.table({**samples, "logits": _vectors(logits)}),
        "features": pa.table(
            {"clip": np.arange(len(result.clip_features)), "features": _vectors(result.clip_features)}
        ),
    }
    if keep and result.layers is not None:
        features = np.concatenate([result.validation_features, result.test_features])
        found["samples"] = pa.table({**samples, "features": _vectors(features)})
        found["layers"] = _layers(result.layers)
    return found


def _vectors(rows: np.ndarray) -> pa.Array:
    """Rows (n, D) as one column of vectors."""
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])


def _layers(layers: Mapping[str, np.ndarray]) -> pa.Table:
    """A row a layer and clip; layers differ in width."""
    rows = [
        {"layer": path, "depth": depth, "clip": clip, "features": vector}
        for depth, (path, of_clips) in enumerate(layers.items())
        for clip, vector in enumerate(of_clips)
    ]
    fields = {"layer": pa.string(), "depth": pa.int64(), "clip": pa.int64(), "features": pa.list_(pa.float32())}
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def versions() -> dict[str, str]:
    """Versions of what a result can depend on."""
    names = ("torch", "numpy", "braindecode", "ray")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}
