"""Cells to packs: cells that share classifier and data train on one actor, sized by predicted work.

Packs become smaller as the work left does (guided self-scheduling, Polychronopoulos and Kuck 1987), so that no slot
idles long while another ends its last pack.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.binding import depth
from valence.cell import Cell

TARGET_SECONDS = 600.0
"""predicted work of a pack at most; 5 to 15 minutes keep scheduling below a percent and a lost actor cheap"""
PACKS_PER_SLOT = 4
"""a pack holds at most this part of what is left for its slot, whose cells may take longer than predicted"""
STAGES = 8
"""parts that treatments are cut into by importance: within one of them the longest cells go first"""
EARLY = 0.5
"""a cell (a group of those that train together) that takes more than this part of what is left for a slot at its stage
goes into the one before"""

ROUNDING = 1e-9
"""of sums of seconds"""


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Cells for one Tune trial, in order."""

    cells: tuple[Cell, ...]
    seconds: float
    """predicted"""


def make_packs(
    cells: Sequence[Cell],
    seconds: Mapping[str, float],
    *,
    n_slots: int,
    at_once: Mapping[str, int] | None = None,
) -> list[Pack]:
    """Cut cells, given in their order of importance, into packs of one classifier, recipe and data set.

    Parameters
    ----------
    seconds : predicted seconds of each cell, by cell id.
    n_slots : packs that can run at once.
    at_once : cells that train together on one device, by classifier; 1 where not given. A pack is not cut finer, as
        long as every slot has one.

    Returns
    -------
    list of Pack : baselines, then the most important cells; among those of about one importance the longest first.
    """
    left = math.fsum(seconds[cell.cell_id] for cell in cells)
    fair = left / n_slots
    packs: list[Pack] = []
    together = at_once or {}
    for stage in _stages(cells, seconds, n_slots, together):
        for members in _alike(stage, seconds):
            least = together.get(members[0].classifier, 1)
            while members:
                budget = min(TARGET_SECONDS, left / (n_slots * PACKS_PER_SLOT))
                n_cells = _fitting(members, seconds, budget=budget, fair=fair, least=least)
                chosen, members = members[:n_cells], members[n_cells:]
                predicted = math.fsum(seconds[cell.cell_id] for cell in chosen)
                packs.append(Pack(cells=tuple(chosen), seconds=predicted))
                left -= predicted
    return packs


def waves(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells in their order, those that build on others after these."""
    found: dict[int, list[Cell]] = {}
    for cell in cells:
        found.setdefault(depth(cell), []).append(cell)
    return [found[level] for level in sorted(found)]


def _stages(
    cells: Sequence[Cell], seconds: Mapping[str, float], n_slots: int, at_once: Mapping[str, int]
) -> list[list[Cell]]:
    """Baselines, which never wait behind treatments, then treatments; groups too long for the end stand earlier."""

    def work(groups: Sequence[Sequence[Cell]]) -> float:
        return math.fsum(seconds[cell.cell_id] for group in groups for cell in group)

    baselines = [cell for cell in cells if cell.strategy == "none"]
    treated = _groups([cell for cell in cells if cell.strategy != "none"], at_once)
    size = max(math.ceil(len(treated) / STAGES), 1)
    stages = [treated[begin : begin + size] for begin in range(0, len(treated), size)]
    left = 0.0
    for index in range(len(stages) - 1, 0, -1):
        left += work(stages[index])
        most = EARLY * left / n_slots
        long = [group for group in stages[index] if work([group]) > most]
        left -= work(long)
        stages[index - 1] = stages[index - 1] + long
        stages[index] = [group for group in stages[index] if work([group]) <= most]
    return [baselines, *([cell for group in stage for cell in group] for stage in stages)]


def _groups(cells: Sequence[Cell], at_once: Mapping[str, int]) -> list[list[Cell]]:
    """Cells that can train together, in the order of the first of each group."""
    groups: list[list[Cell]] = []
    unfilled: dict[tuple, list[Cell]] = {}
    for cell in cells:
        group = unfilled.get(_kind(cell))
        if group is None:
            groups.append(group := unfilled.setdefault(_kind(cell), []))
        group.append(cell)
        if len(group) >= at_once.get(cell.classifier, 1):
            del unfilled[_kind(cell)]
    return groups


def _kind(cell: Cell) -> tuple:
    return cell.classifier, cell.recipe_hash, cell.dataset_hash


def _alike(cells: Sequence[Cell], seconds: Mapping[str, float]) -> list[list[Cell]]:
    """Cells by classifier, recipe and data set, those with the longest cell first."""
    found: dict[tuple, list[Cell]] = {}
    for cell in cells:
        found.setdefault(_kind(cell), []).append(cell)
    return sorted(found.values(), key=lambda members: -max(seconds[cell.cell_id] for cell in members))


def _fitting(cells: Sequence[Cell], seconds: Mapping[str, float], *, budget: float, fair: float, least: int) -> int:
    """How many of the first cells make a pack: one group of those that train together, if slots do not idle for it.

    Parameters
    ----------
    budget, fair : seconds, what a pack should hold, and what each slot has of all cells.
    """
    n_cells, filled = 0, 0.0
    for cell in cells:
        filled += seconds[cell.cell_id]
        most = budget if n_cells >= least else max(budget, fair)
        if n_cells and filled > most * (1 + ROUNDING):
            return n_cells - n_cells % least if n_cells > least else n_cells
        n_cells += 1
    return n_cells
