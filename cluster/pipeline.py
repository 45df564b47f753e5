"""The way of the data, from a request to a report; each stage in its place, each found done when it is done."""

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster import views
from cluster.cost import predict
from cluster.data import Data, data_facts, data_hash, load_data, planned_work
from cluster.grid import as_dicts, bind, target_facts
from cluster.listener import Listener
from cluster.packs import make_packs
from cluster.pretrained import digest_in, keep_weights
from cluster.request import Request
from cluster.session import MemoryPeak, Session, ray_session
from cluster.store import Store
from valence.axis import Axis
from valence.cell import Cell, canonical_hash
from valence.classifiers import CLASSIFIERS
from valence.packing import check_mode
from valence.targets import TargetContext, make_target


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to."""

    n_cells: int
    n_new: int
    lost: list[str]
    """messages of packs that were given up; their cells are not committed"""
    peak_memory_bytes: int
    seconds: float
    views: views.Views | None
    """None where cells are missing and no partial table was asked for"""


def run(
    request: Request, *, tracking_uri: str | None, retry_failed: bool, partial: bool, listener: Listener
) -> Outcome:
    """Run what is not committed yet, then rebuild the views.

    Raises
    ------
    BadInput : before anything is trained, for recordings that cannot be used.
    KeyboardInterrupt : passed on; committed cells stay.
    """
    started = time.monotonic()
    request.out.mkdir(parents=True, exist_ok=True)
    store = Store(request.out)
    with MemoryPeak() as memory, contextlib.ExitStack() as stack:
        data = load_data(request, listener)
        axis, session = found_axis(request), None
        if axis is None and needs_axis(request):
            session = stack.enter_context(ray_session(plugins=request.plugins))
            axis = fit_axis(request, listener)
        _check_targets(request, data, axis)
        if axis is not None:
            axis.save(request.out / axis_file(axis))
        weights = keep_weights(request.pretrained, store, {name: of.spec for name, of in data.prepared.items()})
        cells = bound_cells(request, data, axis, weights)
        name = save_plan(request, store, data, cells, axis)
        for cell_id in store.failed([cell.cell_id for cell in cells]) if retry_failed else []:
            store.retry(cell_id)
        committed = store.committed()
        waiting = [cell for cell in cells if cell.cell_id not in committed]
        lost: list[str] = []
        if waiting:
            session = session or stack.enter_context(ray_session(plugins=request.plugins))
            n_committed = len(cells) - len(waiting)
            lost = train(request, store, data, axis, weights, waiting, session, listener, n_committed=n_committed)
        stack.close()
        complete = not {cell.cell_id for cell in cells} - store.committed()
        built = None
        if complete or partial:
            built = views.build(store, plan=name, tracking_uri=tracking_uri, partial=partial, say=listener.stage)
    return Outcome(
        n_cells=len(cells),
        n_new=len(waiting),
        lost=lost,
        peak_memory_bytes=memory.peak_bytes,
        seconds=time.monotonic() - started,
        views=built,
    )


def needs_axis(request: Request) -> bool:
    """True where a target of the grid is made from the axis."""
    return any(target_facts(target).needs_axis for target in request.grid.targets)


def _check_targets(request: Request, data: Data, axis: Axis | None) -> None:
    """Raise BadInput before anything is trained where a target of the grid cannot be made."""
    for target in request.grid.targets:
        context = TargetContext(
            class_of_clip=data.dataset.class_of_clip,
            n_classes=len(data.dataset.classes),
            classes=tuple(data.dataset.emotions or data.dataset.classes),
            axis=axis,
            seed=0,
        )
        make_target(target, context)


def axis_file(axis: Axis) -> str:
    """Where an axis lies in the sweep's folder, by content: a later fit never takes its place."""
    return f"axis/{axis.digest}.safetensors"


def fit_folder(request: Request) -> Path:
    """Where the request's LLM is read: paraphrases, activations and the axis fitted last."""
    return request.out / "axis" / f"{request.llm.name.replace('/', '--')}-{request.n_paraphrases}"


def found_axis(request: Request) -> Axis | None:
    """The axis given by file, or the one this sweep or an earlier one has fitted; None where it is still to be."""
    from cluster.llm_actors import find_llm_axis

    if not needs_axis(request):
        return None
    if request.axis_file is not None:
        return Axis.load(request.axis_file)
    return find_llm_axis(
        request.llm, n_paraphrases=request.n_paraphrases, folder=fit_folder(request), engine=request.engine
    )


def fit_axis(request: Request, listener: Listener) -> Axis:
    """The axis of the request's LLM, from paraphrases and activations. Ray must be running."""
    from cluster.llm_actors import fit_llm_axis

    return fit_llm_axis(
        request.llm,
        n_paraphrases=request.n_paraphrases,
        folder=fit_folder(request),
        engine=request.engine,
        on_event=listener.stage,
    )


def bound_cells(request: Request, data: Data, axis: Axis | None, weights: Mapping[str, Path]) -> list[Cell]:
    """The cells of a request, in order of importance."""
    split = next(iter(data.splits.values())).name
    return bind(
        request.grid,
        dataset=request.dataset,
        hashes={input: data_hash(data, input) for input in data.prepared},
        split=split,
        recipes=request.preset.recipes,
        axis_digest=axis.digest if axis else "",
        weights={classifier: digest_in(kept, Store(request.out)) for classifier, kept in weights.items()},
    )


def save_plan(request: Request, store: Store, data: Data, cells: list[Cell], axis: Axis | None) -> str:
    """Record the grid of this command; returns the plan's name."""
    facts = {
        "preset": request.preset.name,
        "dataset": request.dataset,
        "llm": request.llm.name,
        "recipes": {recipe.hash: asdict(recipe) for recipe in request.preset.recipes.values()},
        "splits": {input: asdict(split) for input, split in data.splits.items()},
        "leakage": {input: [asdict(finding) for finding in audit] for input, audit in data.audits.items()},
        "data": {input: data_facts(prepared) for input, prepared in data.prepared.items()},
        "exclusions": [asdict(exclusion) for exclusion in request.grid.exclusions],
        "axis_file": axis_file(axis) if axis else None,
        "cells": as_dicts(cells),
    }
    facts = json.loads(json.dumps(facts))
    name = canonical_hash(facts, 12)
    store.save_plan(facts, name)
    return name


def train(
    request: Request,
    store: Store,
    data: Data,
    axis: Axis | None,
    weights: Mapping[str, Path],
    waiting: list[Cell],
    session: Session,
    listener: Listener,
    *,
    n_committed: int,
) -> list[str]:
    """Train cells on the session's cluster; messages of packs that were given up."""
    from cluster.cells import Context
    from cluster.data_parallel import devices_by_cell, run_cells
    from cluster.sweep import run_packs

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
    packs = make_packs([cell for cell in waiting if cell not in several], seconds, n_slots=session.n_slots)
    context = Context(
        folder=str(store.folder.resolve()),
        prepared=data.prepared,
        splits=data.splits,
        recipes={recipe.hash: recipe for recipe in recipes.values()},
        inputs={name: CLASSIFIERS[name].input for name in request.grid.classifiers},
        class_of_clip=tuple(data.dataset.class_of_clip),
        classes=tuple(data.dataset.emotions or data.dataset.classes),
        axis=axis,
        weights={classifier: str(folder.resolve()) for classifier, folder in weights.items()},
        execution=request.execution,
        plugins=request.plugins,
    )
    predicted = sum(seconds.values()) / session.n_slots
    listener.cells_begin(n_cells=n_committed + len(waiting), n_committed=n_committed, predicted_s=predicted)
    try:
        gpus = 1.0 if session.n_gpus else 0.0
        lost = run_packs(packs, context=context, gpus_per_pack=gpus, on_cell=listener.cell)
        return lost + run_cells(several, context=context, session=session, on_cell=listener.cell)
    finally:
        listener.cells_end()
