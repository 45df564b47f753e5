"""Packs to committed cells: Ray Tune runs one trial a pack on persistent actors that keep the data set."""

import dataclasses
import importlib.metadata
import json
import platform
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from ray import tune

from cluster.grid import as_dicts, from_dict
from cluster.packs import Pack
from cluster.store import METRICS, Store
from valence.axis import Axis
from valence.cell import Cell, Recipe
from valence.errors import BadInput
from valence.prepared import Prepared
from valence.registry import load_plugin
from valence.results import Result
from valence.splits import Split
from valence.targets import Target, TargetContext, make_target
from valence.training import train_cell

MAX_ACTOR_FAILURES = 5
"""a pack is started again when its actor or node is lost; cells that were committed by then are not run again"""


@dataclass(frozen=True, kw_only=True)
class Context:
    """All that cells of a sweep share; it lies once in each node's object store, arrays without a copy."""

    folder: str
    prepared: Mapping[str, Prepared]
    """by input"""
    splits: Mapping[str, Split]
    """by input"""
    recipes: Mapping[str, Recipe]
    """by recipe hash"""
    inputs: Mapping[str, str]
    """classifier to input"""
    class_of_clip: tuple[int, ...]
    classes: tuple[str, ...]
    """names of the labels, in their order"""
    axis: Axis | None
    plugins: tuple[str, ...] = ()
    """user modules that register plug-ins"""


@dataclass(frozen=True, kw_only=True)
class CellEnded:
    """Progress: one cell was committed."""

    cell_id: str
    classifier: str
    status: str
    seconds: float
    balanced_accuracy: float | None


def run_cell(cell: Cell, context: Context, *, device: str, attempts: int) -> tuple[dict, dict[str, pa.Table]]:
    """Train one cell; its row for the store and its artifacts. What goes wrong inside the cell is a failed row."""
    started = time.perf_counter()
    row: dict = {
        "cell_id": cell.cell_id,
        "pair_id": cell.pair_id,
        **dataclasses.asdict(cell),
        "attempts": attempts,
        "device": device,
        "versions": json.dumps(versions(), sort_keys=True),
    }
    artifacts: dict[str, pa.Table] = {}
    input = context.inputs[cell.classifier]
    prepared = context.prepared[input]
    try:
        target = _target(cell, context, n_classes=prepared.spec.n_outputs)
        recipe = context.recipes[cell.recipe_hash]
        result = train_cell(cell, prepared, context.splits[input], recipe, target, device=device)
    except Exception:
        row |= {"status": "failed", "error": traceback.format_exc()}
    else:
        row |= {"status": "done", **_columns(result)}
        artifacts = _artifacts(result, prepared)
    row |= {"seconds": time.perf_counter() - started, "finished_at": datetime.now(UTC)}
    return row, artifacts


def _target(cell: Cell, context: Context, *, n_classes: int) -> Target | None:
    if cell.target == "none":
        return None
    about = TargetContext(
        class_of_clip=context.class_of_clip,
        classes=context.classes,
        n_classes=n_classes,
        axis=context.axis if cell.axis else None,
        seed=cell.seed,
    )
    return make_target(cell.target, about)


def _columns(result: Result) -> dict:
    metrics = {name: _float_or_null(result.metrics.get(name)) for name in METRICS}
    return {
        **metrics,
        "best_epoch": result.metrics["best_epoch"],
        "recall": [_float_or_null(value) for value in result.recall],
        "test_subjects": list(result.subject_balanced_accuracy),
        "subject_balanced_accuracy": [float(value) for value in result.subject_balanced_accuracy.values()],
    }


def _float_or_null(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _artifacts(result: Result, prepared: Prepared) -> dict[str, pa.Table]:
    index = np.asarray(result.test_index)
    logits = np.ascontiguousarray(result.test_logits, dtype=np.float32)
    subjects = [prepared.subject_names[subject] for subject in np.asarray(prepared.subjects)[index]]
    predictions = pa.table(
        {
            "subject": subjects,
            "clip": np.asarray(prepared.clips)[index],
            "label": np.asarray(prepared.labels)[index],
            "logits": pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel()), logits.shape[1]),
        }
    )
    features = np.ascontiguousarray(result.clip_features, dtype=np.float32)
    clips = pa.table(
        {
            "clip": np.arange(len(features)),
            "features": pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1]),
        }
    )
    return {"predictions": predictions, "features": clips}


def versions() -> dict[str, str]:
    """Versions of what a result can depend on."""
    names = ("torch", "numpy", "braindecode", "ray")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}


class PackTrainable(tune.Trainable):
    """One pack; one cell a step; each cell committed the moment it ends. The actor outlives its pack."""

    def setup(self, config: dict, *, packs: list[list[dict]], context: Context) -> None:  # type: ignore[override]
        # results must not depend on how many cores an actor was given: sums are split over threads
        torch.set_num_threads(1)
        for module in context.plugins:
            load_plugin(module)
        self._packs = packs
        self._context = context
        self._store = Store(Path(context.folder))
        if not (self._store.folder / "plans").is_dir():
            raise BadInput(
                f"{context.folder} is not the sweep's folder on node {platform.node()}",
                allowed="a folder that every node sees under the same path",
                do="put --out on storage that all nodes mount",
            )
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self.reset_config(config)

    def reset_config(self, new_config: dict) -> bool:
        self._cells = [from_dict(fields) for fields in self._packs[new_config["pack"]]]
        self._next = 0
        return True

    def step(self) -> dict:
        cell = self._cells[self._next]
        self._next += 1
        ended = None
        if not (self._store.cells / f"{cell.cell_id}.parquet").exists():
            attempts = self._store.attempts(cell.cell_id) + 1
            row, artifacts = run_cell(cell, self._context, device=self._device, attempts=attempts)
            self._store.commit(row, artifacts)
            ended = {
                "cell_id": cell.cell_id,
                "classifier": cell.classifier,
                "status": row["status"],
                "seconds": row["seconds"],
                "balanced_accuracy": row.get("balanced_accuracy"),
            }
        return {"ended": ended, "done": self._next == len(self._cells)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: committed cells are the only state."""

    def load_checkpoint(self, checkpoint: dict | None) -> None:
        """Nothing: committed cells are the only state."""


@dataclass
class _Progress(tune.Callback):
    on_cell: Callable[[CellEnded], None]

    def on_trial_result(self, iteration: int, trials: list, trial: object, result: dict, **info: object) -> None:
        if result.get("ended"):
            self.on_cell(CellEnded(**result["ended"]))


def run_packs(
    packs: Sequence[Pack], *, context: Context, gpus_per_pack: float, on_cell: Callable[[CellEnded], None]
) -> list[str]:
    """Run packs to their end, each cell committed as it ends.

    Tune starts a pack again when its actor is lost while it trains, but gives it up when that happens between two
    packs: what is not committed then is asked for again, as long as each round commits something.

    Returns
    -------
    list of str : messages of packs whose actor was lost more often than allowed; their cells are not committed.
    """
    store = Store(Path(context.folder))
    while packs:
        before = len(store.committed())
        errors = _run_once(packs, context=context, gpus_per_pack=gpus_per_pack, on_cell=on_cell)
        packs = _unfinished(packs, store.committed())
        if packs and len(store.committed()) == before:
            return errors or [f"{len(packs)} packs ended without their cells"]
    return []


def _unfinished(packs: Sequence[Pack], committed: set[str]) -> list[Pack]:
    """What is left of each pack; packs that are done are left out."""
    left = [(pack, tuple(cell for cell in pack.cells if cell.cell_id not in committed)) for pack in packs]
    return [replace(pack, cells=cells) for pack, cells in left if cells]


def _run_once(
    packs: Sequence[Pack], *, context: Context, gpus_per_pack: float, on_cell: Callable[[CellEnded], None]
) -> list[str]:
    scratch = Path(context.folder) / ".tune"
    trainable = tune.with_parameters(PackTrainable, packs=[as_dicts(pack.cells) for pack in packs], context=context)
    resources = {"CPU": 1.0, "GPU": gpus_per_pack} if gpus_per_pack else {"CPU": 1.0}
    tuner = tune.Tuner(
        tune.with_resources(trainable, resources),
        param_space={"pack": tune.grid_search(list(range(len(packs))))},
        tune_config=tune.TuneConfig(reuse_actors=True, trial_dirname_creator=lambda trial: trial.trial_id),
        run_config=tune.RunConfig(
            name="packs",
            storage_path=str(scratch.resolve()),
            failure_config=tune.FailureConfig(max_failures=MAX_ACTOR_FAILURES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            callbacks=[_Progress(on_cell=on_cell)],
            verbose=0,
        ),
    )
    try:
        results = tuner.fit()
        return [str(error) for error in results.errors]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # Tune's state is never read again: work = grid - committed
