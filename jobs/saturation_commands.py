"""What the main job's options do, one function each; each returns an exit code."""

from collections import Counter

import pandas as pd
from rich.table import Table

from cluster import pipeline, tracking
from cluster.cost import table_seconds
from cluster.request import Request, output_folder, resolve
from cluster.session import local_slots
from cluster.store import Store
from jobs.terminal import Terminal, baseline_table, console, duration, number, statistics_tables, summary
from valence.classifiers import CLASSIFIERS
from valence.errors import BadInput


def request_of(options) -> Request:
    """The options' words, checked."""
    names = ("preset", "classifiers", "strategies", "targets", "seeds", "dataset", "data_root", "split", "llm")
    words = {name: getattr(options, name) for name in (*names, "axis", "engine", "out")}
    return resolve(**words, plugins=options.plugin)


def run(options, *, command: str) -> int:
    """Run what is not committed yet and show what came out."""
    request = request_of(options)
    listener = Terminal()
    try:
        outcome = pipeline.run(
            request,
            tracking_uri=options.tracking_uri or None,
            retry_failed=options.retry_failed,
            partial=options.partial,
            listener=listener,
        )
    finally:
        listener.cells_end()
    ui = tracking.ui_command(request.out, options.tracking_uri or None)
    summary(outcome, out=request.out, ui=ui, resume=command)
    return 1 if outcome.views is None or outcome.views.n_failed else 0


def show_plan(options) -> int:
    """The grid, what is excluded and why, the power it has and what it costs."""
    from valence.stats import minimum_detectable

    request = request_of(options)
    grid = request.grid
    counts = Counter((classifier, strategy) for classifier, strategy, *_ in grid.combinations)
    n_train = pipeline.planned_training_samples(request)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("classifier", "input", "strategies", "cells", "seconds a cell", "core hours"):
        table.add_column(name, justify="left" if name in ("classifier", "input") else "right")
    total = 0.0
    for classifier in grid.classifiers:
        n_cells = sum(n for (name, _), n in counts.items() if name == classifier)
        seconds = table_seconds(classifier, n_train=n_train, recipes=request.preset.recipes)
        total += n_cells * seconds
        strategies = sum(1 for name, _ in counts if name == classifier)
        input = CLASSIFIERS[classifier].input
        table.add_row(
            classifier, input, str(strategies), str(n_cells), f"{seconds:.1f}", f"{n_cells * seconds / 3600:.2f}"
        )
    console.print(table)
    seeds = sorted({combination[-1] for combination in grid.combinations})
    console.print(f"\n{len(grid.combinations)} cells; targets: {', '.join(sorted(grid.targets)) or 'none'}")
    console.print(f"seeds: {', '.join(map(str, seeds))}; split: {request.split}; preset: {request.preset.name}")
    console.print(
        f"power: {len(seeds)} paired seeds detect a difference of {number(minimum_detectable(len(seeds)), '.4f')} "
        "in balanced accuracy (80 % power, two-sided .05, sd of a paired difference .010, before Holm)"
    )
    cores = local_slots()
    console.print(f"time: {total / 3600:.2f} core hours, about {duration(total / cores)} on this machine's {cores} cores")
    console.print(f"LLM: {request.llm.name}, {request.n_paraphrases} paraphrases a story" if pipeline.needs_axis(request) else "LLM: not needed")
    for exclusion in grid.exclusions:
        console.print(f"excluded: {exclusion.classifier} {exclusion.strategy} {exclusion.target}: {exclusion.reason}", markup=False)
    if not grid.exclusions:
        console.print("excluded: nothing")
    return 0


def show_status(options) -> int:
    """How far a sweep is, from its plans and committed cells."""
    store = Store(output_folder(options.out, preset=options.preset))
    planned = _planned(store)
    rows = store.rows(planned["cell_id"])
    merged = planned.merge(rows[["cell_id", "status", "seconds", "finished_at"]], on="cell_id", how="left")
    merged["status"] = merged["status"].fillna("waiting")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("classifier", "strategy", "done", "failed", "waiting"):
        table.add_column(name, justify="left" if name in ("classifier", "strategy") else "right")
    for (classifier, strategy), members in merged.groupby(["classifier", "strategy"]):
        counts = members["status"].value_counts()
        table.add_row(classifier, strategy, *(str(counts.get(name, 0)) for name in ("done", "failed", "waiting")))
    console.print(table)
    counts = merged["status"].value_counts()
    console.print(
        f"\n{len(merged)} cells: {counts.get('done', 0)} done, {counts.get('failed', 0)} failed, "
        f"{counts.get('waiting', 0)} waiting; {duration(rows['seconds'].sum())} of training"
    )
    if len(rows):
        console.print(f"last commit {rows['finished_at'].max():%Y-%m-%d %H:%M:%S} UTC")
    for cell_id in merged.loc[merged["status"] == "failed", "cell_id"].head(10):
        console.print(f"failed: --why {cell_id}")
    return 0


def show_cell(options) -> int:
    """What is known of one cell."""
    store = Store(output_folder(options.out, preset=options.preset))
    planned = _planned(store)
    matches = planned[planned["cell_id"].str.startswith(options.why)]
    if len(matches) != 1:
        raise BadInput(
            f"--why {options.why} fits {len(matches)} cells",
            allowed="the id of one planned cell, or an unambiguous beginning of it",
            do="see --status for failed cells, or the report for all",
        )
    cell = matches.iloc[0]
    row = store.row(cell["cell_id"])
    for name, value in (row or cell.to_dict()).items():
        if name != "error":
            console.print(f"{name:30} {value}", markup=False)
    if row is None:
        console.print("status                         waiting: planned and not committed")
    elif row["error"]:
        console.print(f"\n{row['error']}", markup=False)
    for file in sorted((store.folder / "failures").glob(f"{cell['cell_id']}-*.parquet")):
        console.print(f"earlier failure: {file}", markup=False)
    return 0


def rebuild(options) -> int:
    """Table, report and MLflow again, from committed cells."""
    from cluster import views

    store = Store(output_folder(options.out, preset=options.preset))
    built = views.build(
        store,
        plans=None,
        tracking_uri=options.tracking_uri or None,
        partial=options.partial,
        say=Terminal().stage,
        again=True,
    )
    console.print(baseline_table(built.rows))
    for statistics in statistics_tables(built.statistics):
        console.print()
        console.print(statistics)
    if built.n_missing:
        console.print(f"\npartial: {built.n_missing} of {built.n_planned} cells are not committed yet")
    console.print(f"\nreport      {built.report_path}\nstatistics  {built.statistics_path}", markup=False)
    console.print(f"MLflow UI   {tracking.ui_command(store.folder, options.tracking_uri or None)}", markup=False)
    return 1 if built.n_failed else 0


def _planned(store: Store) -> pd.DataFrame:
    cells = {cell["cell_id"]: cell for plan in store.plans().values() for cell in plan["cells"]}
    return pd.DataFrame([cells[cell_id] for cell_id in sorted(cells)])
