"""Cells that train nothing, committed by a sweep's own path and by what Ray offers without it.

python -m tests.bench.scale [N ...]        table for each N (5000 50000 where not given), in a temporary folder
python -m tests.bench.scale --finished N   only the start on a finished store
Sides: packs of 25 cells on persistent actors (ours); one Ray task a cell; Ray Tune with one trial a cell, on actors
that are reused and with its defaults. The last two are run with few cells and extrapolated in proportion, which
flatters them. All of them commit the same rows to the same kind of store, synced to disk. Then what a command does on
the finished store before it says that there is nothing to do.
"""

import json
import logging
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa

from cluster import snapshots
from cluster.session import prepare_environment
from cluster.store import SCHEMA, Store
from tests.cluster.noop_cells import make_cells, make_context, make_packs, make_row

SIDES = {"ours": None, "ray_tasks": None, "tune_reused": 100, "tune_defaults": 12}
"""how many cells are run at most; None: all"""
WINDOW = 16
"""Ray tasks in flight"""
N_SLOTS = 2


def ours(folder, cells):
    from cluster.sweep import run_packs

    seen = []
    lost = run_packs(make_packs(cells), context=make_context(folder), gpus_per_pack=0, on_cell=seen.append)
    assert not lost, lost
    assert len(seen) == len(cells)


def ray_tasks(folder, cells):
    import ray

    @ray.remote(max_retries=3)
    def commit(cell):
        Store(folder).commit(make_row(cell))

    running = []
    for cell in cells:
        if len(running) == WINDOW:
            _, running = ray.wait(running, num_returns=1)
        running.append(commit.remote(cell))
    ray.get(running)


def tune_reused(folder, cells):
    from ray import tune

    class OneCell(tune.Trainable):
        def setup(self, config):
            self.reset_config(config)

        def reset_config(self, new_config):
            self._cell = cells[new_config["cell"]]
            return True

        def step(self):
            Store(folder).commit(make_row(self._cell))
            return {"done": True}

    _tune(OneCell, folder, len(cells), tune.TuneConfig(reuse_actors=True))


def tune_defaults(folder, cells):
    from ray import tune

    def one_cell(config):
        Store(folder).commit(make_row(cells[config["cell"]]))
        tune.report({"done": 1})

    _tune(one_cell, folder, len(cells), tune.TuneConfig())


def _tune(trainable, folder, n_cells, config):
    from ray import tune

    tuner = tune.Tuner(
        tune.with_resources(trainable, {"CPU": 1}),
        param_space={"cell": tune.grid_search(list(range(n_cells)))},
        tune_config=config,
        run_config=tune.RunConfig(name="cells", storage_path=str(folder / ".tune"), verbose=0),
    )
    assert not tuner.fit().errors


def measure(side, folder, n_cells):
    """Seconds and this driver's peak memory for one side, as a dict."""
    prepare_environment()
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    ray.init(
        address="local", num_cpus=N_SLOTS, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False
    )
    started, cpu = time.perf_counter(), time.process_time()
    globals()[side](folder, make_cells(n_cells))
    facts = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu, "memory": peak_memory_mb()}
    assert len(Store(folder).committed()) == n_cells
    ray.shutdown()
    return facts


def compaction(folder, n_cells):
    """The end of a command: all single files read once, and a snapshot written."""
    started = time.perf_counter()
    assert Store(folder).compact(least=1) is not None
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time(), "memory": peak_memory_mb()}


def start(folder, n_cells):
    """What a command does with a finished store: plan, snapshot, rows, what is left, state of the views."""
    from cluster import views
    from cluster.binding import as_dicts
    from cluster.pipeline import to_train
    from valence.cell import canonical_hash

    cells = make_cells(n_cells)
    started, cpu = time.perf_counter(), time.process_time()
    store = Store(folder)
    plan = {"cells": as_dicts(cells), "exclusions": []}
    store.save_plan(plan, canonical_hash(plan, 12))
    store.compact()
    rows = store.rows([cell.cell_id for cell in cells])
    assert len(rows) == n_cells
    assert not store.failed([cell.cell_id for cell in cells])
    assert not to_train(cells, store)
    sweep = views.union_of_plans(list(store.plans().values()))
    canonical_hash(views._state(store.rows(views._ids(sweep)), views._ids(sweep)))
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu, "memory": peak_memory_mb()}


def finished(folder, n_cells):
    """`start` on a store of this size that is made in a moment: a snapshot, and single files that nobody has to read.

    Returns the facts of `start`; raises where a single file is read, for they are empty.
    """
    store = Store(folder)
    store.cells.mkdir()
    table = pa.Table.from_pylist([make_row(cell) for cell in make_cells(n_cells)], schema=SCHEMA).sort_by("cell_id")
    for cell_id in table["cell_id"].to_pylist():
        (store.cells / f"{cell_id}.parquet").touch()
    stamps = store.files.stamps("cells")
    held = {cell_id: stamps[f"{cell_id}.parquet"] for cell_id in table["cell_id"].to_pylist()}
    assert snapshots.write(store.files, table, held, made_from=None)
    return in_process("start", folder, n_cells)


def peak_memory_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_process(what, folder, n_cells):
    """The facts of one measurement, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.scale", "--measure", what, str(folder), str(n_cells)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{what}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(n_cells):
    """Print the table for one number of cells."""
    print(f"\n{n_cells} cells, {N_SLOTS} slots")
    print(f"{'':34}{'seconds':>9}{'driver CPU s':>14}{'driver MB':>11}{'ratio':>8}")
    first = None
    for side, most in SIDES.items():
        n_run = min(n_cells, most or n_cells)
        folder = Path(tempfile.mkdtemp(prefix="scale-"))
        try:
            facts = in_process(side, folder, n_run)
            first = first or facts
            scale = n_cells / n_run
            name = side if n_run == n_cells else f"{side} (from {n_run} cells)"
            line(name, facts | {"seconds": facts["seconds"] * scale, "cpu": facts["cpu"] * scale}, first)
            if side == "ours":
                line("  then a snapshot", in_process("compaction", folder, n_cells), first)
                line("  then to nothing to do", in_process("start", folder, n_cells), first)
        finally:
            shutil.rmtree(folder)


def line(name, facts, first):
    ratio = facts["seconds"] / first["seconds"]
    print(f"{name:34}{facts['seconds']:9.1f}{facts['cpu']:14.1f}{facts['memory']:11.0f}{ratio:8.2f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        what, folder, n_cells = sys.argv[2:]
        measured = {"compaction": compaction, "start": start}.get(what)
        in_folder = Path(folder), int(n_cells)
        print(json.dumps(measured(*in_folder) if measured else measure(what, *in_folder)))
    elif sys.argv[1:2] == ["--finished"]:
        with tempfile.TemporaryDirectory() as name:
            print(finished(Path(name), int(sys.argv[2])))
    else:
        for number in map(int, sys.argv[1:] or ("5000", "50000")):
            table(number)
