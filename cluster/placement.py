"""Predicted work to devices: which classifiers train on CPU cores while the GPUs train the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.session import Session
from valence.cell import Cell

GAIN = 0.99
"""a classifier moves only where the predicted end of the sweep becomes this part of what it was, or less"""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Predicted seconds of a classifier's cells."""

    on_gpu: float
    on_cpu: float
    longest_on_cpu: float
    """of its longest cell"""


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
