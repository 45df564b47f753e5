"""Cells that wait to committed ones: what is to be trained, in what order, in which packs, on what devices."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.binding import depth, earlier_cell
from cluster.cells import Context
from cluster.cost import predict
from cluster.data import Data, planned_work
from cluster.data_parallel import devices_by_cell, run_cells
from cluster.listener import Listener
from cluster.packs import make_packs
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
    several = devices_by_cell(waiting, request.execution, session)
    how = request.execution
    if how.mode != "auto":
        check_mode(how.mode, "cuda" if session.n_gpus else "cpu")
    costs = predict(
        waiting,
        work=planned_work(request),
        rows=store.rows(),
        device="cuda" if session.n_gpus else "cpu",
        mode=None if how.mode == "auto" else how.mode,
        rewrites=how.rewrites,
    )
    seconds = {cell_id: cost.seconds for cell_id, cost in costs.items()}
    earlier = [earlier_cell(cell) for cell in waiting]
    context = Context(
        folder=str(store.folder.resolve()),
        store_url=store.url,
        prepared=data.prepared,
        splits=data.splits,
        recipes={recipe.hash: recipe for recipe in recipes.values()},
        inputs={name: CLASSIFIERS[name].input for name in request.grid.classifiers},
        targets=targets,
        kept=frozenset(cell.cell_id for cell in earlier if cell is not None),
        weights={classifier: str(folder.resolve()) for classifier, folder in weights.items()},
        execution=request.execution,
        plugins=tuple(plugin_files(name) if is_file_word(word) else name for word, name in request.plugins.items()),
    )
    predicted = sum(seconds.values()) / session.n_slots
    listener.cells_begin(n_cells=n_committed + len(waiting), n_committed=n_committed, predicted_s=predicted)
    try:
        gpus, lost = 1.0 if session.n_gpus else 0.0, list[str]()
        for wave in waves(waiting):  # a cell's earlier one is committed before it is asked for
            wave, without = ready(wave, store)
            lost += without
            packs = make_packs([cell for cell in wave if cell not in several], seconds, n_slots=session.n_slots)
            lost += run_packs(packs, context=context, gpus_per_pack=gpus, on_cell=listener.cell)
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
