"""Cells that outgrow one device: Ray Train starts a process a device for each, and restarts them after a loss.

Cells and context in, committed rows out, as of a pack (cluster.sweep). A cell's state is kept after every epoch in
.train/ of the sweep's folder; when a process or a node is lost, or the whole command, the cell goes on from there.
"""

import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import ray
import ray.train
import ray.train.torch
import torch

from cluster.binding import as_dicts, from_dict
from cluster.cells import earlier_weights, outcome_of, target_of
from cluster.context import Context, Execution, set_up_process
from cluster.resources import check_possible
from cluster.session import Session
from cluster.sweep import MAX_ACTOR_FAILURES, CellEnded
from valence.cell import Cell
from valence.classifiers import CLASSIFIERS
from valence.data_parallel import DataParallelRun
from valence.errors import BadInput
from valence.packing import Ended, peak_memory_mb
from valence.resident import resident
from valence.results import Result
from valence.shards import LostPeer

FOLDER = ".train"
STATE = "state.pt"
ALIKE = (FloatingPointError, BadInput)
"""errors that end a cell in all of its processes at once"""


def devices_by_cell(cells: Sequence[Cell], execution: Execution, session: Session) -> dict[Cell, int]:
    """How many devices each cell trains on, for those that train on several.

    Raises
    ------
    BadInput : where the cluster has fewer.
    """
    several = {}
    for cell in cells:
        row = CLASSIFIERS[cell.classifier].gpus_per_cell if session.n_gpus else 1
        if (n_devices := execution.gpus_per_cell or row) > 1:
            several[cell] = n_devices
    kind = "GPUs" if session.n_gpus else "CPU cores, and no GPU"
    if several and max(several.values()) > session.n_slots:
        raise BadInput(
            f"cells on {max(several.values())} devices each: the cluster has {session.n_slots} {kind}",
            allowed=f"--gpus-per-cell 1 to {session.n_slots}",
            do="ask for fewer, or for a larger cluster",
        )
    return several


def run_cells(
    devices: Mapping[Cell, int], *, context: Context, session: Session, on_cell: Callable[[CellEnded], None]
) -> list[str]:
    """Train cells on several devices each, as many at once as the cluster has room for.

    Parameters
    ----------
    devices : see devices_by_cell.

    Returns
    -------
    list of str : messages of cells whose processes were lost more often than allowed; they are not committed.

    Raises
    ------
    BadInput : where no node has what one of the processes asks for, and none that has it is being started.
    """
    if devices:
        check_possible({"CPU": 1.0, "GPU": 1.0} if session.n_gpus else {"CPU": 1.0})
    store, shared, lost = context.store(), ray.put(context), []
    for n_devices in sorted(set(devices.values())):
        cells = [cell for cell, wanted in devices.items() if wanted == n_devices]

        def train(cell: Cell, n_devices: int = n_devices) -> None:
            _train_on(n_devices, cell, shared, store.folder, use_gpu=bool(session.n_gpus))

        for cell, error in _in_threads(train, cells, n_threads=session.n_slots // n_devices):
            row = store.row(cell.cell_id)
            if row is None:
                lost.append(f"{cell.classifier} with {cell.strategy}, cell {cell.cell_id}: {error}")
                continue
            shutil.rmtree(store.folder / FOLDER / cell.cell_id, ignore_errors=True)
            on_cell(CellEnded(**{name: row[name] for name in CellEnded.__dataclass_fields__}))  # type: ignore[arg-type]
    if not lost:
        shutil.rmtree(store.folder / FOLDER, ignore_errors=True)
    return lost


def _in_threads(
    train: Callable[[Cell], None], cells: Sequence[Cell], *, n_threads: int
) -> Iterator[tuple[Cell, Exception | None]]:
    """Cells as they end. Not in this thread: there Ray Train would take Ctrl-C for itself."""
    waiting: queue.SimpleQueue[Cell] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[Cell, Exception | None]] = queue.SimpleQueue()
    for cell in cells:
        waiting.put(cell)

    def work() -> None:
        while True:
            try:
                cell = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                train(cell)
                ended.put((cell, None))
            except Exception as error:
                ended.put((cell, error))

    for _ in range(min(n_threads, len(cells))):
        threading.Thread(target=work, daemon=True, name="data-parallel").start()
    for _ in cells:
        yield ended.get()


def _train_on(n_devices: int, cell: Cell, context: ray.ObjectRef, folder: Path, *, use_gpu: bool) -> None:
    """Train one cell to its committed row. A run of this name that was begun before goes on."""
    trainer = ray.train.torch.TorchTrainer(
        train_worker,
        train_loop_config={"cell": as_dicts([cell])[0], "context": context},
        scaling_config=ray.train.ScalingConfig(num_workers=n_devices, use_gpu=use_gpu),
        run_config=ray.train.RunConfig(
            name=cell.cell_id,
            storage_path=str(folder / FOLDER),
            failure_config=ray.train.FailureConfig(max_failures=MAX_ACTOR_FAILURES),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
        ),
    )
    trainer.fit()


def train_worker(config: dict) -> None:
    """What every process of a cell does; the first one commits, and whichever has an error of its own."""
    context: Context = ray.get(config["context"])
    cell, store = from_dict(config["cell"]), context.store()
    if store.is_ended(cell.cell_id, with_weights=cell.cell_id in context.kept):
        return
    device = ray.train.torch.get_device()
    set_up_process(context, device.type)
    here = ray.train.get_context()
    outcome: Result | Exception
    seconds = _Seconds()
    try:
        outcome = _trained(cell, context, str(device), seconds)
    except LostPeer:
        raise
    except Exception as error:
        outcome = error
    if isinstance(outcome, Result) and here.get_world_rank() != 0:
        return
    ended = Ended(
        cell=cell,
        outcome=outcome,
        seconds=seconds.passed() * here.get_world_size(),
        cells_at_once=1,
        peak_memory_mb=peak_memory_mb(device, 1),
    )
    found = outcome_of(ended, context, device.type)
    row = found.row | {"mode": DataParallelRun.mode, "attempts": store.attempts(cell.cell_id) + 1}
    store.commit(row, found.artifacts, weights=found.weights)
    if isinstance(outcome, Exception) and not isinstance(outcome, ALIKE):
        raise outcome  # the others wait for this process: Ray Train ends them, and the next attempt finds the row


class _Seconds:
    """Time spent on a cell, over all attempts; what was lost is not counted."""

    def __init__(self) -> None:
        self.before, self._began = 0.0, time.perf_counter()

    def passed(self) -> float:
        return self.before + time.perf_counter() - self._began


def _trained(cell: Cell, context: Context, device: str, seconds: _Seconds) -> Result:
    """The result of a cell, from its last kept epoch on."""
    input = context.inputs[cell.classifier]
    prepared, recipe = context.prepared[input], context.recipes[cell.recipe_hash]
    weights = context.weights.get(cell.classifier)
    run = DataParallelRun(
        cell,
        prepared,
        recipe,
        target_of(cell, context),
        resident(prepared, context.splits[input], de_normalisation=recipe.de_normalisation, device=device),
        weights=None if weights is None else Path(weights),
        earlier=earlier_weights(cell, context).get(cell.cell_id),
    )
    kept = ray.train.get_checkpoint()
    if kept is not None:
        with kept.as_directory() as folder:
            state = torch.load(Path(folder) / STATE, map_location="cpu", weights_only=True)
        run.restore(state["run"])
        seconds.before = state["seconds"]
    n_kept = run.epochs_done
    while run.advance():
        if run.epochs_done > n_kept:
            n_kept = run.epochs_done
            _keep({"run": run.state(), "seconds": seconds.passed()}, float(run.total))
    return run.result(keep=cell.cell_id in context.kept)


def _keep(state: dict, loss: float) -> None:
    """Hand the state of an epoch to Ray Train; all processes are in the same state, and the first one's is kept."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if ray.train.get_context().get_world_rank() == 0:
            torch.save(state, Path(folder) / STATE)
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({"loss": loss}, checkpoint=checkpoint)
