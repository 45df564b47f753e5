"""Cells to packs: cells that share classifier and data train on one actor, sized by predicted work."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from valence.cell import Cell

TARGET_SECONDS = 600.0
"""predicted work of a pack; 5 to 15 minutes keep scheduling below a percent and a lost actor cheap"""
PACKS_PER_SLOT = 4
"""a small sweep is cut finer, so that no slot idles at its end"""


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Cells for one Tune trial, in order."""

    cells: tuple[Cell, ...]
    seconds: float
    """predicted"""


def make_packs(cells: Sequence[Cell], seconds: Mapping[str, float], *, n_slots: int) -> list[Pack]:
    """Cut cells, kept in their order of importance, into packs of one classifier, recipe and data set.

    Parameters
    ----------
    seconds : predicted seconds of each cell, by cell id.
    n_slots : packs that can run at once.

    Returns
    -------
    list of Pack : those that hold the most important cells first; among equals the longest first.
    """
    total = sum(seconds[cell.cell_id] for cell in cells)
    budget = min(TARGET_SECONDS, total / max(n_slots * PACKS_PER_SLOT, 1))
    open_packs: dict[tuple, list[Cell]] = {}
    filled: dict[tuple, float] = {}
    packs: list[tuple[int, Pack]] = []
    position = {cell.cell_id: index for index, cell in enumerate(cells)}

    def close(key: tuple) -> None:
        members = tuple(open_packs.pop(key))
        predicted = math.fsum(seconds[cell.cell_id] for cell in members)
        packs.append((position[members[0].cell_id], Pack(cells=members, seconds=predicted)))
        filled.pop(key)

    for cell in cells:
        # the baselines of a classifier never wait behind its treatments
        key = (cell.strategy == "none", cell.classifier, cell.recipe_hash, cell.dataset_hash)
        open_packs.setdefault(key, []).append(cell)
        filled[key] = filled.get(key, 0.0) + seconds[cell.cell_id]
        if filled[key] >= budget:
            close(key)
    for key in list(open_packs):
        close(key)
    packs.sort(key=lambda item: (not _has_baseline(item[1]), item[0] // max(len(cells) // 8, 1), -item[1].seconds))
    return [pack for _, pack in packs]


def _has_baseline(pack: Pack) -> bool:
    return any(cell.strategy == "none" for cell in pack.cells)
