"""Cells to results: those that share classifier, recipe and data train together on one device.

Modes. "eager": one cell after the other. "compiled": the same with a compiled step. "graph": every cell's step captured
once as a CUDA graph; the cells take turns, each on its own stream. "batched": all cells as one network. On a CPU the
mode is eager unless another is forced, and a result is then the same to the last bit in whatever pack a cell ran.
"""

import gc
import logging
import time
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import psutil
import torch

from valence.batched import BatchedRuns, CannotBatch, why_alone
from valence.captured import CapturedRun
from valence.cell import Cell, Recipe
from valence.compiled import CompiledRun
from valence.cpu_memory import give_back
from valence.device_errors import is_fatal, is_out_of_memory
from valence.errors import BadInput
from valence.resident import Resident, resident
from valence.results import Result
from valence.strategy_options import make_strategy
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
    earlier: Mapping[str, Path] = MappingProxyType({}),
    kept: Collection[str] = (),
) -> Iterator[Ended]:
    """Train cells together and give each one's result as it ends; an error of a cell is its outcome.

    Where memory does not suffice, the group is halved and its unfinished cells begin anew: a cell's result does not
    depend on the cells beside it.

    Parameters
    ----------
    cells : of one classifier, trained with this recipe on this data.
    targets : by cell id; None for the strategy none.
    rewrites, weights : see valence.training.train_cell.
    earlier : by cell id, for cells that build on another: that one's weights.
    kept : ids of cells whose result has what later stages look into, see Result.

    Raises
    ------
    BadInput : for an unknown mode, or where split and data do not fit.
    """
    check_mode(mode, device)
    if mode == "batched":
        alone = [cell for cell in cells if why_alone(make_strategy(cell.strategy, cell.options))]
        for cell in alone:  # the others need not do without the faster mode
            own: dict[str, Any] = {
                "device": device,
                "mode": "eager",
                "rewrites": rewrites,
                "weights": weights,
                "earlier": earlier,
                "kept": kept,
            }
            yield from train_group([cell], prepared, split, recipe, targets, **own)
        cells = [cell for cell in cells if cell not in alone]
    data = resident(prepared, split, de_normalisation=recipe.de_normalisation, device=device)
    options: dict[str, Any] = {"rewrites": rewrites, "weights": weights, "kept": kept}
    waiting, size = list(cells), len(cells) if mode in TOGETHER else 1
    while waiting:
        group = waiting[:size]
        ended, halved = set(), False
        try:
            for one in _together(group, prepared, recipe, targets, data, earlier, mode=mode, **options):
                ended.add(one.cell.cell_id)
                yield one
        except CannotBatch as reason:
            logger.info("%s trains eagerly, as it cannot be batched: %s", group[0].classifier, reason)
            mode, size = "eager", 1
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(group) == 1:
                raise
            size, halved = len(group) // 2, True
            told = (group[0].classifier, len(group), size)
            logger.info("%s: memory does not suffice for %d cells at once, now %d", *told)
        if halved:
            gc.collect()  # the error held the frames that hold the cells
        release_memory(device)
        waiting = [cell for cell in waiting if cell.cell_id not in ended]


def release_memory(device: str) -> None:
    """Give back what ended cells held; a captured graph keeps its memory as long as it lives."""
    if torch.device(device).type == "cpu":
        give_back()
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
    earlier: Mapping[str, Path],
    *,
    mode: str,
    kept: Collection[str],
    **options: Any,
) -> Iterator[Ended]:
    """One group. Errors of a cell are outcomes; too little memory for several of them is raised."""
    started, runs = time.perf_counter(), dict[Cell, CellRun]()

    def ended(cell: Cell, outcome: Result | Exception) -> Ended:
        return Ended(
            cell=cell,
            outcome=outcome,
            seconds=(time.perf_counter() - started) / len(cells),
            cells_at_once=len(cells),
            peak_memory_mb=peak_memory_mb(
                data.x.device, len(cells), data_bytes=bytes_of([data, *(run.data for run in runs.values())])
            ),
        )

    for cell in cells:
        try:
            own = (cell, prepared, recipe, targets[cell.cell_id], data)
            runs[cell] = MODES[mode](*own, earlier=earlier.get(cell.cell_id), **options)
        except Exception as error:
            yield ended(cell, _own(error, len(cells)))
    going, batch = dict(runs), None
    if mode == "batched" and runs:
        batch = _batch(runs)
    while going:
        for position, (cell, run) in enumerate(runs.items()):
            if cell not in going:
                continue
            try:
                if batch is None and run.advance():
                    continue
                outcome: Result | Exception = (batch and batch.failed.get(position)) or run.result(
                    keep=cell.cell_id in kept
                )
            except Exception as error:
                outcome = _own(error, len(cells))
            del going[cell]
            yield ended(cell, outcome)


def _own(error: Exception, n_cells: int) -> Exception:
    """An error that is a cell's own; others are raised: too little memory for several cells, a device that is lost."""
    if is_fatal(error) or (is_out_of_memory(error) and n_cells > 1):
        raise error
    return error


def _batch(runs: Mapping[Cell, CellRun]) -> BatchedRuns:
    """Cells trained to their end as one network. Where that fails they can still train one by one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")  # still one network
        try:
            batch = BatchedRuns(list(runs.values()))
            while batch.advance():
                pass
        except Exception as error:
            if isinstance(error, CannotBatch) or is_fatal(error) or (is_out_of_memory(error) and len(runs) > 1):
                raise
            raise CannotBatch(f"{type(error).__name__}: {error}") from error
    return batch


def peak_memory_mb(device: torch.device, n_cells: int, *, data_bytes: int = 0) -> float | None:
    """Share of a cell in the peak memory of a GPU since it was last reset, the data apart; on a CPU the process's."""
    if device.type == "cuda":
        return (torch.cuda.max_memory_allocated(device) - data_bytes) / n_cells / 2**20
    return psutil.Process().memory_info().rss / 2**20


def bytes_of(held: Iterable[Resident]) -> int:
    """Memory of windows that lie on a device, each counted once."""
    return sum({data.x.data_ptr(): data.x.numel() * data.x.element_size() for data in held}.values())
