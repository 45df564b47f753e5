"""Cells to results: those that share classifier, recipe and data train together on one device.

Modes. "eager": one cell after the other. "compiled": the same with a compiled step. "graph": every cell's step captured
once as a CUDA graph; the cells take turns, each on its own stream. "batched": all cells as one network. On a CPU the
mode is eager unless another is forced, and a result is then the same to the last bit in whatever pack a cell ran.
"""

import gc
import logging
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch

from valence.batched import BatchedRuns, CannotBatch
from valence.captured import CapturedRun
from valence.cell import Cell, Recipe
from valence.compiled import CompiledRun
from valence.errors import BadInput
from valence.resident import Resident, resident
from valence.results import Result
from valence.targets import Target
from valence.training import CellRun

if TYPE_CHECKING:
    from valence.prepared import Prepared
    from valence.splits import Split

MODES: dict[str, type[CellRun]] = {
    "eager": CellRun,
    "compiled": CompiledRun,
    "graph": CapturedRun,
    "batched": CellRun,
}
TOGETHER = ("graph", "batched")
"""modes in which several cells train at once"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """One cell that has ended."""

    cell: Cell
    outcome: Result | Exception
    seconds: float
    """its share of the time of the cells that trained with it"""
    cells_at_once: int
    peak_memory_mb: float | None
    """its share of the device's memory on a GPU; the whole process's on a CPU"""


def check_mode(mode: str, device: str) -> None:
    """Raises BadInput for a mode that there is not, on this device."""
    allowed = [name for name in MODES if name != "graph" or torch.device(device).type == "cuda"]
    if mode not in allowed:
        raise BadInput(f"mode {mode!r} on {device}", allowed=", ".join(allowed), do="take one of these, or auto")


def train_group(
    cells: Sequence[Cell],
    prepared: "Prepared",
    split: "Split",
    recipe: Recipe,
    targets: Mapping[str, Target | None],
    *,
    device: str = "cpu",
    mode: str = "eager",
    rewrites: bool = True,
    weights: Path | None = None,
) -> Iterator[Ended]:
    """Train cells together and give each one's result as it ends; an error of a cell is its outcome.

    Where memory does not suffice, the group is halved and its unfinished cells begin anew: a cell's result does not
    depend on the cells beside it.

    Parameters
    ----------
    cells : of one classifier, trained with this recipe on this data.
    targets : by cell id; None for the strategy none.
    rewrites, weights : see valence.training.train_cell.

    Raises
    ------
    BadInput : for an unknown mode, or where split and data do not fit.
    """
    check_mode(mode, device)
    data = resident(prepared, split, de_normalisation=recipe.de_normalisation, device=device)
    waiting, size = list(cells), len(cells) if mode in TOGETHER else 1
    while waiting:
        group = waiting[:size]
        ended = set()
        try:
            for one in _together(group, prepared, recipe, targets, data, mode=mode, rewrites=rewrites, weights=weights):
                ended.add(one.cell.cell_id)
                yield one
        except CannotBatch as reason:
            logger.info("%s trains eagerly, as it cannot be batched: %s", group[0].classifier, reason)
            mode, size = "eager", 1
        except RuntimeError as error:
            if not is_out_of_memory(error) or len(group) == 1:
                raise
            size = len(group) // 2
            gc.collect()  # the error holds the frames that hold the cells
            logger.info("%s: memory does not suffice for %d cells at once, now %d", group[0].classifier, 2 * size, size)
        release_memory(device)
        waiting = [cell for cell in waiting if cell.cell_id not in ended]


def is_out_of_memory(error: BaseException) -> bool:
    """True where a device or the CPU had too little memory."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def release_memory(device: str) -> None:
    """Give back what ended cells held on a GPU; a captured graph keeps its memory as long as it lives."""
    if torch.device(device).type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _together(
    cells: Sequence[Cell],
    prepared: "Prepared",
    recipe: Recipe,
    targets: Mapping[str, Target | None],
    data: Resident,
    *,
    mode: str,
    rewrites: bool,
    weights: Path | None,
) -> Iterator[Ended]:
    """One group. Errors of a cell are outcomes; too little memory for several of them is raised."""
    started = time.perf_counter()

    def ended(cell: Cell, outcome: Result | Exception) -> Ended:
        return Ended(
            cell=cell,
            outcome=outcome,
            seconds=(time.perf_counter() - started) / len(cells),
            cells_at_once=len(cells),
            peak_memory_mb=peak_memory_mb(data.x.device, len(cells)),
        )

    runs: dict[Cell, CellRun] = {}
    for cell in cells:
        try:
            runs[cell] = MODES[mode](
                cell, prepared, recipe, targets[cell.cell_id], data, rewrites=rewrites, weights=weights
            )
        except Exception as error:
            if is_out_of_memory(error) and len(cells) > 1:
                raise
            yield ended(cell, error)
    if not runs:
        return
    failed: dict[Cell, Exception] = {}
    if mode == "batched":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")  # still one network
            batch = BatchedRuns(list(runs.values()))
            while batch.advance():
                pass
        failed = {cell: batch.failed[position] for position, cell in enumerate(runs) if position in batch.failed}
    else:
        failed = _in_turns(runs, several=len(cells) > 1)
    for cell, run in runs.items():
        try:
            outcome = failed.get(cell) or run.result()
        except Exception as error:
            if is_out_of_memory(error) and len(cells) > 1:
                raise
            outcome = error
        yield ended(cell, outcome)


def _in_turns(runs: Mapping[Cell, CellRun], *, several: bool) -> dict[Cell, Exception]:
    """Advance cells one step each, until all have ended; errors by cell."""
    going, failed = dict(runs), {}
    while going:
        for cell, run in list(going.items()):
            try:
                if not run.advance():
                    del going[cell]
            except Exception as error:
                if is_out_of_memory(error) and several:
                    raise
                failed[cell] = error
                del going[cell]
    return failed


def peak_memory_mb(device: torch.device, n_cells: int) -> float | None:
    """Share of a cell in the peak memory of a GPU since it was last reset; on a CPU what the process takes now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / n_cells / 2**20
    return psutil.Process().memory_info().rss / 2**20
