"""The way of the data, from a request to a report; each stage in its place, each found done when it is done."""

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cluster import views
from cluster.binding import as_dicts, bind, earlier_cell
from cluster.data import Data, data_facts, data_hash, load_data, training_ratings
from cluster.grid import target_facts
from cluster.listener import Listener
from cluster.pretrained import digest_in, keep_weights
from cluster.request import Request
from cluster.session import MemoryPeak, ray_session
from cluster.store import Store
from valence.axis import Axis
from valence.cell import Cell, canonical_hash
from valence.plugins import is_file_word
from valence.targets import Target, TargetContext, make_target


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to."""

    n_cells: int
    n_new: int
    lost: list[str]
    """messages of packs that were given up; their cells are not committed"""
    peak_memory_bytes: int
    seconds: float
    plan: str
    """name of the recorded grid of this command"""
    views: views.Views | None
    """None where cells are missing and no partial table was asked for"""


def run(
    request: Request,
    *,
    tracking_uri: str | None,
    retry_failed: bool,
    partial: bool,
    listener: Listener,
    with_views: bool = True,
) -> Outcome:
    """Run what is not committed yet, then rebuild the views.

    Parameters
    ----------
    with_views : False for one part of several, whose caller builds the views of all of them.

    Raises
    ------
    BadInput : before anything is trained, for recordings that cannot be used.
    KeyboardInterrupt : passed on; committed cells stay.
    """
    started = time.monotonic()
    request.out.mkdir(parents=True, exist_ok=True)
    store = Store(request.out, request.store_url)
    modules = [word for word in request.plugins if not is_file_word(word)]
    with MemoryPeak() as memory, contextlib.ExitStack() as stack:
        data = load_data(request, listener)
        axes, session = found_axes(request), None
        if not axes and needs_axis(request):
            session = stack.enter_context(ray_session(plugins=modules))
            axes = (fit_axis(request, listener),)
        ratings = wanted_ratings(request, data)
        targets = made_targets(request, data, axes, ratings)
        for axis in axes:
            axis.save(request.out / axis_file(axis))
        weights = keep_weights(request.pretrained, store, {name: of.spec for name, of in data.prepared.items()})
        cells = bound_cells(request, data, axes, ratings, weights)
        name = save_plan(request, store, data, cells, axes)
        store.compact()
        store.rows([cell.cell_id for cell in cells])  # files that are damaged are found before work is counted
        for cell_id in store.failed([cell.cell_id for cell in cells]) if retry_failed else []:
            store.retry(cell_id)
        waiting = to_train(cells, store, keep=request.keep)
        lost: list[str] = []
        if waiting:
            session = session or stack.enter_context(ray_session(plugins=modules))
            n_committed = len(cells) - len(waiting)
            from cluster.schedule import train  # Ray Tune is imported where it is needed

            lost = train(request, store, data, targets, weights, waiting, session, listener, n_committed=n_committed)
        stack.close()
        store.compact()
        complete = not {cell.cell_id for cell in cells} - store.committed()
        built = None
        if with_views and (complete or partial):
            built = views.build(store, plan=name, tracking_uri=tracking_uri, partial=partial, say=listener.stage)
    return Outcome(
        plan=name,
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


def wanted_ratings(request: Request, data: Data) -> np.ndarray | None:
    """Ratings by the training subjects, (n_clips,), where a target of the grid is made from them."""
    wanted = any(target_facts(target).needs_ratings for target in request.grid.targets)
    return training_ratings(data) if wanted else None


def made_targets(
    request: Request, data: Data, axes: Sequence[Axis], ratings: np.ndarray | None
) -> dict[tuple[str, int], Target]:
    """Every target of the grid by name and seed, made once for a sweep.

    Raises BadInput before anything is trained where one of them cannot be made.
    """
    made: dict[tuple[str, int], Target] = {}
    for name in sorted(request.grid.targets):
        drawn = target_facts(name).numbered
        for seed in request.grid.seeds:
            if not drawn and seed != request.grid.seeds[0]:
                made[name, seed] = made[name, request.grid.seeds[0]]
                continue
            context = TargetContext.of(data.dataset, axes, seed=seed, ratings=ratings)
            made[name, seed] = make_target(name, context)
    return made


def to_train(cells: Sequence[Cell], store: Store, *, keep: bool = False) -> list[Cell]:
    """Cells that are not committed, and those whose weights are wanted and that were not kept.

    Wanted are the weights that a waiting cell builds on; with `keep`, those of all cells.
    """
    index = {cell: number for number, cell in enumerate(cells)}
    ids = [cell.cell_id for cell in cells]
    ended = store.ended(ids, with_weights=ids if keep else ())
    waiting = {cell: None for cell in cells if cell.cell_id not in ended}
    for cell in list(waiting):
        earlier = earlier_cell(cell)
        while earlier is not None and not store.is_ended(earlier.cell_id, with_weights=True):
            waiting[earlier] = None
            earlier = earlier_cell(earlier)
    return sorted(waiting, key=index.__getitem__)


def axis_file(axis: Axis) -> str:
    """Where an axis lies in the sweep's folder, by content: a later fit never takes its place."""
    return f"axis/{axis.digest}.safetensors"


def fit_folder(request: Request) -> Path:
    """Where the request's LLM is read: paraphrases, activations and the axis fitted last."""
    return request.out / "axis" / f"{request.llm.name.replace('/', '--')}-{request.n_paraphrases}"


def found_axes(request: Request) -> tuple[Axis, ...]:
    """The axes given by file, or the one this sweep or an earlier one has fitted; none where it is still to be."""
    from cluster.llm_actors import find_llm_axis

    if request.axis_files:
        return tuple(Axis.load(file) for file in request.axis_files)
    if not needs_axis(request):
        return ()
    found = find_llm_axis(
        request.llm, n_paraphrases=request.n_paraphrases, folder=fit_folder(request), engine=request.engine
    )
    return () if found is None else (found,)


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


def digest_of(ratings: np.ndarray | None) -> str:
    """16 hex digits over ratings, (n_clips,); empty where there are none."""
    if ratings is None:
        return ""
    return canonical_hash([None if np.isnan(rating) else float(rating) for rating in ratings])


def bound_cells(
    request: Request, data: Data, axes: Sequence[Axis], ratings: np.ndarray | None, weights: Mapping[str, Path]
) -> list[Cell]:
    """The cells of a request, in order of importance."""
    split = next(iter(data.splits.values())).name
    return bind(
        request.grid,
        dataset=request.dataset,
        hashes={input: data_hash(data, input) for input in data.prepared},
        split=split,
        recipes=request.preset.recipes,
        axis_digests=[axis.digest for axis in axes],
        ratings_digest=digest_of(ratings),
        weights={classifier: digest_in(kept, Store(request.out)) for classifier, kept in weights.items()},
    )


def save_plan(request: Request, store: Store, data: Data, cells: list[Cell], axes: Sequence[Axis]) -> str:
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
        "axis_file": axis_file(axes[0]) if axes else None,
        "cells": as_dicts(cells),
    }
    facts = json.loads(json.dumps(facts))
    name = canonical_hash(facts, 12)
    store.save_plan(facts, name)
    return name
