"""What the main job's options do, one function each; each returns an exit code."""

import pandas as pd
from rich.markup import escape
from rich.table import Table

from cluster import pipeline, tracking
from cluster.differences import differences
from cluster.request import Request, chosen_preset, output_folder, resolve, store_url_of
from cluster.store import Store
from cluster.verdict import verdicts
from cluster.views import Views
from jobs.terminal import (
    Terminal,
    baseline_table,
    console,
    duration,
    mirror_trouble,
    statistics_tables,
    summary,
)
from valence.errors import BadInput


def request_of(options) -> Request:
    """The options' words, checked."""
    grid = ("preset", "classifiers", "strategies", "targets", "seeds")
    data = ("dataset", "data_root", "split", "protocol", "features", "de_window_s", "recipe", "prepared")
    how = ("pretrained", "mode", "cells_at_once", "exact", "gpus_per_cell", "gpus_per_pack", "verdict", "keep")
    words = {name: getattr(options, name) for name in (*grid, *data, *how, "llm", "axis", "engine", "out", "store")}
    return resolve(**words, plugins=options.plugin)


def store_of(options) -> Store:
    """The sweep's store, for options that only look at it."""
    preset = chosen_preset(options.preset, options.dataset, verdict=options.verdict)
    return Store(output_folder(options.out, name=preset.name), store_url_of(options.store))


def run(options, *, command: str) -> int:
    """Run what is not committed yet and show what came out."""
    request = request_of(options)
    with Terminal() as listener:
        outcome = pipeline.run(
            request,
            tracking_uri=options.tracking_uri,
            retry_failed=options.retry_failed,
            partial=options.partial,
            listener=listener,
        )
    ui = tracking.ui_command(request.out, options.tracking_uri)
    cells = f"{request.store_url or request.out}/cells"
    summary(outcome, cells=cells, ui=ui, resume=command)
    views = outcome.views
    if request.judged and views is not None:
        show_verdict(request, outcome.plan, views)
    return 1 if views is None or views.n_failed or views.n_missing else 0


def show_verdict(request: Request, plan: str, views: Views) -> None:
    """The verdict on each dose asked about, with each classifier."""
    store = Store(request.out, request.store_url)
    if views.n_missing:
        console.print(f"\npartial: {views.n_missing} of {views.n_planned} cells are missing; verdicts may change")
    for one in verdicts(store, store.plans()[plan], views.statistics, request.judged):
        console.print(f"\n[bold]Verdict on {escape(one.loss)} with {one.classifier}[/]")
        for line in one.lines:
            console.print(line, markup=False)


def show_status(options) -> int:
    """How far a sweep is, from its plans and committed cells."""
    from cluster.views import union_of_plans

    store = store_of(options)
    plans = list(store.plans().values())
    # without cells whose plug-in was edited since: the report leaves them out, too
    cells = union_of_plans(plans)["cells"]
    planned = pd.DataFrame(cells)
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
    for line in differences(cells, plans):
        console.print(f"note: {line}", markup=False)
    for cell_id in merged.loc[merged["status"] == "failed", "cell_id"].head(10):
        console.print(f"failed: --why {cell_id}")
    return 0


def show_cell(options) -> int:
    """What is known of one cell."""
    store = store_of(options)
    planned = _planned(store)
    matches = planned[planned["cell_id"].str.startswith(options.why)]
    if len(matches) != 1 or not options.why:
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
    for file in store.failures(cell["cell_id"]):
        console.print(f"earlier failure: {file}", markup=False)
    return 0


def rebuild(options) -> int:
    """Table, report and MLflow again, from committed cells."""
    from cluster import views

    store = store_of(options)
    built = views.build(
        store,
        plan=None,
        tracking_uri=options.tracking_uri,
        partial=options.partial,
        say=Terminal().stage,
        again=True,
    )
    console.print(baseline_table(built.rows))
    for statistics in statistics_tables(built.statistics):
        console.print()
        console.print(statistics)
    for line in built.differences:
        console.print(f"\nnote: {line}", markup=False)
    if built.n_missing:
        console.print(f"\npartial: {built.n_missing} of {built.n_planned} cells are not committed yet")
    mirror_trouble(built)
    console.print(f"\nreport      {built.report_path}\nstatistics  {built.statistics_path}", markup=False)
    console.print(f"MLflow UI   {tracking.ui_command(store.folder, options.tracking_uri)}", markup=False)
    return 1 if built.n_failed else 0


def _planned(store: Store) -> pd.DataFrame:
    cells = {cell["cell_id"]: cell for plan in store.plans().values() for cell in plan["cells"]}
    return pd.DataFrame([cells[cell_id] for cell_id in sorted(cells)])
