"""A plug-in for tests and benchmarks: cells that train nothing, through all the rest of a sweep as it is.

Every training is noted in trainings.log of the sweep's folder. NOOP_S in the environment: seconds that one takes.
"""

import dataclasses
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import cluster.sweep
from cluster.cells import Outcome
from cluster.context import Context
from cluster.packs import Pack
from valence.cell import Cell

PACK = 25
LOG = "trainings.log"


def make_cells(n_cells):
    names = {
        "dataset": "d", "dataset_hash": "h", "split": "s:0", "classifier": "c", "recipe": "r", "recipe_hash": "rh",
        "strategy": "none", "target": "none", "axis": "", "lambda_": 0.0,
    }  # fmt: skip
    return [Cell(**names, seed=seed) for seed in range(n_cells)]


def make_packs(cells):
    return [Pack(cells=tuple(cells[start : start + PACK]), seconds=1.0) for start in range(0, len(cells), PACK)]


def make_context(folder, url=None):
    """The context of a sweep whose store is in `folder`, or at a URL."""
    (folder / "plans").mkdir(parents=True, exist_ok=True)
    empty = {name: {} for name in ("prepared", "splits", "recipes", "inputs", "targets")}
    return Context(folder=str(folder), **empty, plugins=(str(Path(__file__)),), store_url=url)


def make_row(cell):
    n_subjects = 24
    return {
        "cell_id": cell.cell_id, "pair_id": cell.pair_id, **dataclasses.asdict(cell), "status": "done", "attempts": 1,
        "balanced_accuracy": 0.25, "kappa": 0.1, "accuracy": 0.3, "recall": [0.3] * 9, "versions": "{}",
        "test_subjects": [f"sub{number:03d}" for number in range(n_subjects)],
        "subject_balanced_accuracy": [0.2 + 0.01 * number for number in range(n_subjects)],
        "seconds": 0.0, "finished_at": datetime.now(UTC),
    }  # fmt: skip


def train_rows(cells, context, *, device, mode):
    for cell in cells:
        with open(Path(context.folder) / LOG, "a") as log:
            log.write(f"{cell.cell_id}\n")
        time.sleep(float(os.environ.get("NOOP_S", "0")))
        yield Outcome(row=make_row(cell))


cluster.sweep.train_rows = train_rows
