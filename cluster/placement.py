"""Predicted work to devices: how long each cell takes where it trains, and which train on CPU cores beside GPUs.

In: cells that wait and what a cluster has. Out: their placement, from which a sweep makes its packs, and a plan its
estimate (cluster.estimate).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from cluster import cost
from cluster.context import Execution
from cluster.session import Session
from valence.cell import Cell
from valence.packing import TOGETHER

GAIN = 0.99
"""a classifier moves only where the predicted end of the sweep becomes this part of what it was, or less"""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Predicted seconds of a classifier's cells."""

    on_gpu: float
    on_cpu: float
    longest_on_cpu: float
    """of its longest cell"""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where cells train, and how long."""

    session: Session
    """without the GPUs that are not to be used"""
    gpus_per_pack: float
    """0 where packs train on CPU cores"""
    seconds: Mapping[str, float]
    """of each cell on one slot, by cell id"""
    on_cpu: frozenset[str]
    """classifiers that train on CPU cores beside GPUs"""
    several: Mapping[Cell, int]
    """cells that train on several devices each"""
    at_once: Mapping[str, int]
    """cells that train together on one GPU, by classifier; 1 where not named"""

    @property
    def n_slots(self) -> int:
        """Packs that can train at once, those on cores beside GPUs apart."""
        return int(self.session.n_gpus / self.gpus_per_pack) if self.gpus_per_pack else self.session.n_cpus

    @property
    def n_cpu_slots(self) -> int:
        """Packs that can train at once on cores beside GPUs."""
        return max(self.session.n_cpus - self.n_slots, 1) if self.on_cpu else 0


def place(
    cells: Sequence[Cell],
    *,
    work: Mapping[str, cost.Work],
    rows: pd.DataFrame,
    how: Execution,
    session: Session,
    several: Mapping[Cell, int],
) -> Placement:
    """Place cells that wait on what a cluster has.

    Parameters
    ----------
    work, rows : of cluster.cost.predict.
    several : see cluster.data_parallel.devices_by_cell.
    """
    if how.gpus_per_pack == 0:
        session = replace(session, n_gpus=0)
    gpus = (how.gpus_per_pack or 1.0) if session.n_gpus else 0.0
    mode = None if how.mode == "auto" else how.mode

    def seconds_on(device: str) -> dict[str, float]:
        costs = cost.predict(cells, work=work, rows=rows, device=device, mode=mode, rewrites=how.rewrites)
        return {cell_id: one.seconds for cell_id, one in costs.items()}

    seconds, beside = seconds_on("cuda" if gpus else "cpu"), frozenset[str]()
    if gpus and mode is None:
        alone, slower = [cell for cell in cells if cell not in several], seconds_on("cpu")
        beside = on_cpus(work_of(alone, seconds, slower), session, gpus_per_pack=gpus)
        seconds |= {cell.cell_id: slower[cell.cell_id] for cell in alone if cell.classifier in beside}
    names = {cell.classifier for cell in cells} - beside if gpus else set()
    together = mode is None or mode in TOGETHER
    at_once = {name: how.cells_at_once or cost.cells_together(name, rows, mode=mode) for name in names if together}
    return Placement(
        session=session, gpus_per_pack=gpus, seconds=seconds, on_cpu=beside, several=several, at_once=at_once
    )


def work_of(cells: Sequence[Cell], on_gpu: Mapping[str, float], on_cpu: Mapping[str, float]) -> dict[str, Work]:
    """Predicted work by classifier, from predicted seconds of each cell on a GPU and on a core, by cell id."""
    members: dict[str, list[str]] = {}
    for cell in cells:
        members.setdefault(cell.classifier, []).append(cell.cell_id)
    return {
        name: Work(
            on_gpu=sum(on_gpu[one] for one in ids),
            on_cpu=sum(on_cpu[one] for one in ids),
            longest_on_cpu=max(on_cpu[one] for one in ids),
        )
        for name, ids in members.items()
    }


def on_cpus(work: Mapping[str, Work], session: Session, *, gpus_per_pack: float = 1.0) -> frozenset[str]:
    """Classifiers for the CPU cores that GPU packs leave, chosen so that the sweep ends sooner.

    A classifier stays whole, baselines and treatments: no comparison is between a GPU and a CPU. Those that lose
    least on a CPU go first, as long as the later of the two kinds of device ends earlier by it.

    Parameters
    ----------
    work : by classifier.

    Returns
    -------
    frozenset of str : empty where there are no GPUs, or no cores beside the one of each GPU pack.
    """
    gpu_slots = session.n_gpus / gpus_per_pack if gpus_per_pack else 0.0
    cpu_slots = session.n_cpus - gpu_slots
    if gpu_slots <= 0 or cpu_slots < 1:
        return frozenset()
    gpu_s, cpu_s, longest = sum(one.on_gpu for one in work.values()) / gpu_slots, 0.0, 0.0
    chosen = set()
    for name, one in sorted(work.items(), key=lambda item: item[1].on_cpu / max(item[1].on_gpu, 1e-9)):
        gpu_then = gpu_s - one.on_gpu / gpu_slots
        cpu_then, longest_then = cpu_s + one.on_cpu / cpu_slots, max(longest, one.longest_on_cpu)
        if max(gpu_then, cpu_then, longest_then) <= GAIN * max(gpu_s, cpu_s, longest):
            gpu_s, cpu_s, longest = gpu_then, cpu_then, longest_then
            chosen.add(name)
    return frozenset(chosen)
