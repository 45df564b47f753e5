"""A few training steps in every mode, to the mode and group size in which a classifier trains fastest on a device.

On a CPU nothing is measured: cells train eagerly, one at a time in each process, because a result must not depend on
how fast the machine happened to be. On a GPU modes agree up to rounding, so the fastest may be taken.
"""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from valence.batched import BatchedRuns, CannotBatch
from valence.cell import Cell, Recipe
from valence.device_errors import is_fatal, is_out_of_memory
from valence.packing import MODES, TOGETHER, bytes_of, peak_memory_mb, release_memory
from valence.resident import Resident, resident
from valence.targets import Target
from valence.training import CellRun

if TYPE_CHECKING:
    from valence.prepared import Prepared
    from valence.splits import Split

SIZES = (1, 2, 4, 8, 16, 32)
"""cells at once that are tried, as long as each gains something"""
LEAST_GAIN = 1.05
WARM_STEPS, TIMED_STEPS = 6, 20
TOLERANCE = 0.02
"""largest difference of the summed loss from eager training's, relative, after the warm-up"""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One mode and group size that was tried."""

    mode: str
    cells_at_once: int
    windows_per_second: float
    """of training, all cells together; 0 where it could not be done"""
    peak_memory_mb: float | None
    """of one cell"""
    problem: str = ""
    """why it could not be done, or why it is not to be taken"""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How the cells of a classifier train on a device."""

    mode: str
    cells_at_once: int
    trials: tuple[Trial, ...] = ()


def calibrate(
    cells: Sequence[Cell],
    prepared: "Prepared",
    split: "Split",
    recipe: Recipe,
    targets: Mapping[str, Target | None],
    *,
    device: str,
    rewrites: bool = True,
    earlier: Mapping[str, Path] = MappingProxyType({}),
    modes: Sequence[str] = TOGETHER,
    sizes: Sequence[int] = SIZES,
) -> Choice:
    """Try modes and group sizes on cells of one classifier; take the fastest that agrees with eager training.

    Parameters
    ----------
    cells : those to be trained, one or more; a larger group repeats them.
    earlier : see valence.packing.train_group.
    modes : of valence.packing, tried beside eager training; "compiled" takes minutes to try, so it must be asked for.
    """
    data = resident(prepared, split, de_normalisation=recipe.de_normalisation, device=device)
    trials: list[Trial] = []
    wanted: float | None = None
    for mode in dict.fromkeys(("eager", *modes)):
        best = 0.0
        for size in sizes:
            if mode not in TOGETHER and size > 1:
                break
            group = list(itertools.islice(itertools.cycle(cells), size))
            trial, loss = _try(
                group, prepared, recipe, targets, data, earlier, mode=mode, rewrites=rewrites, wanted=wanted
            )
            trials.append(trial)
            if mode == "eager":
                wanted = loss
            if trial.problem or trial.windows_per_second < LEAST_GAIN * best:
                break
            best = trial.windows_per_second
    usable = [trial for trial in trials if not trial.problem]
    if not usable:  # the cells themselves will say why
        return Choice(mode="eager", cells_at_once=1, trials=tuple(trials))
    fastest = max(usable, key=lambda trial: trial.windows_per_second)
    return Choice(mode=fastest.mode, cells_at_once=fastest.cells_at_once, trials=tuple(trials))


def _try(
    cells: Sequence[Cell],
    prepared: "Prepared",
    recipe: Recipe,
    targets: Mapping[str, Target | None],
    data: Resident,
    earlier: Mapping[str, Path],
    *,
    mode: str,
    rewrites: bool,
    wanted: float | None,
) -> tuple[Trial, float | None]:
    """One trial, and the first cell's summed loss after the warm-up."""
    device = str(data.x.device)
    release_memory(device)
    speed, loss, problem = 0.0, None, ""
    try:
        runs = []
        for cell in cells:
            own = (cell, prepared, recipe, targets[cell.cell_id], data)
            runs.append(MODES[mode](*own, rewrites=rewrites, earlier=earlier.get(cell.cell_id)))
        advancing = [BatchedRuns(runs)] if mode == "batched" else runs
        _advance(advancing, WARM_STEPS)
        _now(device)  # waits for the cells' own streams
        loss = float(runs[0].total)
        started = _now(device)
        n_steps = _advance(advancing, TIMED_STEPS)
        speed = n_steps * len(cells) * recipe.batch_size / (_now(device) - started)
        if not n_steps:
            problem = "training is too short to be measured"
        elif runs[0].mode != mode:
            problem = f"trains in mode {runs[0].mode}"
        elif wanted is not None and not abs(loss - wanted) <= TOLERANCE * abs(wanted):
            problem = f"loss {loss:.6g} after {WARM_STEPS} steps, eager {wanted:.6g}"
    except CannotBatch as error:
        problem = str(error)
    except Exception as error:  # a trial decides nothing but speed: what is wrong with a cell its training will tell
        if is_fatal(error):
            raise
        problem = "too little memory" if is_out_of_memory(error) else f"{type(error).__name__}: {error}"[:200]
    memory = peak_memory_mb(data.x.device, len(cells), data_bytes=bytes_of([data]))
    trial = Trial(mode=mode, cells_at_once=len(cells), windows_per_second=speed, peak_memory_mb=memory, problem=problem)
    return trial, loss


def _advance(advancing: Sequence[CellRun | BatchedRuns], n_steps: int) -> int:
    """Take steps in turns; how many there were before training ended."""
    for number in range(n_steps):
        if not all([each.advance() for each in advancing]):
            return number
    return n_steps


def _now(device: str) -> float:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
