"""Cells that wait to wall time: the packs that the sweep would make, given to slots as they become free.

In: cells and their placement (cluster.placement). Out: when the last one ends, and how long slots idle before that.
No formula in closed form: classifiers differ by a factor of a thousand, and waves of cells wait for earlier ones.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.context import Execution
from cluster.packs import Pack, make_packs, waves
from cluster.placement import Placement
from cluster.session import Session
from valence.cell import Cell
from valence.classifiers import CLASSIFIERS

ACTOR_START_S = 8.0
"""a process that has imported torch and mapped the data, in every wave on every slot"""
PACK_S = 0.05
"""between two packs on one slot"""
CELL_S = 0.08
"""between two cells: artifacts and row are written and synced to disk"""


@dataclass(frozen=True, kw_only=True)
class WallTime:
    """When a sweep will end, and what it uses until then."""

    seconds: float
    """from when Ray runs to the last commit; recordings, LLM, statistics and report apart"""
    tail_s: float
    """at the end of every wave, from when a slot has nothing left to do"""
    busy: float
    """part of the slots' time in which they train"""
    n_packs: int
    gpu_s: float
    """predicted work on GPUs, of whole GPUs"""
    cpu_s: float
    """predicted work on CPU cores"""


def several_devices(cells: Sequence[Cell], how: Execution, session: Session) -> dict[Cell, int]:
    """As `cluster.data_parallel.devices_by_cell`, without Ray Train where no cell asks for several devices."""
    if (how.gpus_per_cell or max((CLASSIFIERS[cell.classifier].gpus_per_cell for cell in cells), default=1)) <= 1:
        return {}
    from cluster.data_parallel import devices_by_cell

    return devices_by_cell(cells, how, session)


def sweep_packs(cells: Sequence[Cell], placement: Placement) -> list[Pack]:
    """The packs that a sweep makes of cells that wait for no others."""
    alone = [cell for cell in cells if cell not in placement.several]
    return make_packs(alone, placement.seconds, n_slots=placement.n_slots, at_once=placement.at_once)


def wall_time(cells: Sequence[Cell], placement: Placement) -> WallTime:
    """Train cells in thought: each pack on the slot that is free first, each wave when the one before has ended."""
    clock, tail, trained, n_packs = 0.0, 0.0, 0.0, 0
    on_gpu = on_cpu = 0.0
    n_slots = placement.n_slots + placement.n_cpu_slots
    for wave in waves(cells):
        packs = sweep_packs(wave, placement)
        if packs:
            end, idle_from = _ends(packs, placement, start=clock + ACTOR_START_S)
            tail += end - idle_from
            clock = end
        for pack in packs:
            if _is_on_gpu(pack, placement):
                on_gpu += pack.seconds * placement.gpus_per_pack
            else:
                on_cpu += pack.seconds
        trained += sum(pack.seconds for pack in packs)
        n_packs += len(packs)
        for n_devices in sorted({placement.several[cell] for cell in wave if cell in placement.several}):
            together = [cell for cell in wave if placement.several.get(cell) == n_devices]
            slots = [clock + ACTOR_START_S] * max(placement.session.n_slots // n_devices, 1)
            for cell in together:
                heapq.heapreplace(slots, slots[0] + placement.seconds[cell.cell_id] / n_devices)
            clock = max(slots)
            work = sum(placement.seconds[cell.cell_id] for cell in together)
            on_gpu, on_cpu = (on_gpu + work, on_cpu) if placement.session.n_gpus else (on_gpu, on_cpu + work)
            trained += work
    return WallTime(
        seconds=clock,
        tail_s=tail,
        busy=trained / (n_slots * clock) if clock else 0.0,
        n_packs=n_packs,
        gpu_s=on_gpu,
        cpu_s=on_cpu,
    )


def _ends(packs: Sequence[Pack], placement: Placement, *, start: float) -> tuple[float, float]:
    """When the last pack ends, and when the first slot has nothing left to do."""
    free = {True: [start] * placement.n_slots, False: [start] * placement.n_cpu_slots}
    for pack in packs:
        slots = free[_is_on_gpu(pack, placement) or not placement.n_cpu_slots]
        heapq.heapreplace(slots, slots[0] + pack.seconds + PACK_S + CELL_S * len(pack.cells))
    ends = free[True] + free[False]
    return max(ends), min(ends)


def _is_on_gpu(pack: Pack, placement: Placement) -> bool:
    return bool(placement.gpus_per_pack) and pack.cells[0].classifier not in placement.on_cpu
