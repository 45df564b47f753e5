"""Cells that wait to committed ones: what is to be trained, in what order, in which packs, on what devices."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cluster.binding import earlier_cell
from cluster.context import Context
from cluster.data import Data, planned_work
from cluster.data_parallel import run_cells
from cluster.estimate import several_devices, sweep_packs, wall_time
from cluster.listener import Listener
from cluster.packs import waves
from cluster.placement import place
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
    several = several_devices(waiting, how, session)
    placement = place(waiting, work=planned_work(request), rows=store.rows(), how=how, session=session, several=several)
    gpus, on_cpu = placement.gpus_per_pack, placement.on_cpu
    if how.mode != "auto":
        check_mode(how.mode, "cuda" if gpus else "cpu")
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
    predicted = wall_time(waiting, placement).seconds
    listener.cells_begin(n_cells=n_committed + len(waiting), n_committed=n_committed, predicted_s=predicted)
    try:
        lost = list[str]()
        for wave in waves(waiting):  # a cell's earlier one is committed before it is asked for
            wave, without = ready(wave, store)
            lost += without
            packs = sweep_packs(wave, placement)
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
