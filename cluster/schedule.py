"""Cells that wait to committed ones: what is to be trained, in what order, in which packs, on what devices."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cluster.binding import depth, earlier_cell
from cluster.context import Context
from cluster.cost import predict
from cluster.data import Data, planned_work
from cluster.data_parallel import devices_by_cell, run_cells
from cluster.listener import Listener
from cluster.packs import make_packs
from cluster.placement import on_cpus, work_of
from cluster.request import Request
from cluster.session import Session
from cluster.store import Store
from cluster.sweep import run_packs
from valence.cell import Cell
from valence.classifiers import CLASSIFIERS
from valence.packing import check_mode
from valence.plugins import is_file_word, plugin_files
from valence.targets import Target


def train(
    request: Request,
    store: Store,
    data: Data,
    targets: Mapping[tuple[str, int], Target],
    weights: Mapping[str, Path],
    waiting: list[Cell],
    session: Session,
    listener: Listener,
    *,
    n_committed: int,
) -> list[str]:
    """Train cells on the session's cluster; messages of packs that were given up."""
    recipes = request.preset.recipes
    how = request.execution
    if how.gpus_per_pack == 0:
        session = replace(session, n_gpus=0)
    gpus = (how.gpus_per_pack or 1.0) if session.n_gpus else 0.0
    n_slots = int(session.n_gpus / gpus) if gpus else session.n_cpus
    several = devices_by_cell(waiting, how, session)
    if how.mode != "auto":
        check_mode(how.mode, "cuda" if gpus else "cpu")
    work, rows, mode = planned_work(request), store.rows(), None if how.mode == "auto" else how.mode

    def seconds_on(device: str) -> dict[str, float]:
        costs = predict(waiting, work=work, rows=rows, device=device, mode=mode, rewrites=how.rewrites)
        return {cell_id: cost.seconds for cell_id, cost in costs.items()}

    seconds, on_cpu = seconds_on("cuda" if gpus else "cpu"), frozenset[str]()
    if gpus and mode is None:
        alone, slower = [cell for cell in waiting if cell not in several], seconds_on("cpu")
        on_cpu = on_cpus(work_of(alone, seconds, slower), session, gpus_per_pack=gpus)
        seconds |= {cell.cell_id: slower[cell.cell_id] for cell in alone if cell.classifier in on_cpu}
    earlier = [cell for cell in map(earlier_cell, waiting) if cell is not None]
    context = Context(
        folder=str(store.folder.resolve()),
        store_url=store.url,
        prepared=data.prepared,
        splits=data.splits,
        recipes={recipe.hash: recipe for recipe in recipes.values()},
        inputs={name: CLASSIFIERS[name].input for name in request.grid.classifiers},
        targets=targets,
        kept=frozenset(cell.cell_id for cell in [*earlier, *(waiting if request.keep else [])]),
        weights={classifier: str(folder.resolve()) for classifier, folder in weights.items()},
        execution=request.execution,
        plugins=tuple(plugin_files(name) if is_file_word(word) else name for word, name in request.plugins.items()),
    )
    predicted = sum(seconds.values()) / (n_slots + (session.n_cpus - n_slots if on_cpu else 0))
    listener.cells_begin(n_cells=n_committed + len(waiting), n_committed=n_committed, predicted_s=predicted)
    try:
        lost = list[str]()
        for wave in waves(waiting):  # a cell's earlier one is committed before it is asked for
            wave, without = ready(wave, store)
            lost += without
            packs = make_packs([cell for cell in wave if cell not in several], seconds, n_slots=n_slots)
            lost += run_packs(packs, context=context, gpus_per_pack=gpus, on_cpu=on_cpu, on_cell=listener.cell)
            together = {cell: several[cell] for cell in wave if cell in several}
            lost += run_cells(together, context=context, session=session, on_cell=listener.cell)
        return lost
    finally:
        listener.cells_end()


def ready(cells: Sequence[Cell], store: Store) -> tuple[list[Cell], list[str]]:
    """Cells whose earlier one has ended, and a message for each of the others: they wait for the next command."""
    able, lost = [], []
    for cell in cells:
        earlier = earlier_cell(cell)
        if earlier is None or store.is_ended(earlier.cell_id, with_weights=True):
            able.append(cell)
        else:
            lost.append(f"{cell.strategy}, cell {cell.cell_id}: {earlier.strategy}, which it builds on, was lost")
    return able, lost


def waves(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells in their order, those that build on others after these."""
    found: dict[int, list[Cell]] = {}
    for cell in cells:
        found.setdefault(depth(cell), []).append(cell)
    return [found[level] for level in sorted(found)]
