"""Committed cells to MLflow: an idempotent mirror that can be deleted and rebuilt. Workers never talk to MLflow."""

import logging
import os
import shlex
import sys
from pathlib import Path

import pandas as pd

from cluster.store import METRICS

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
EXPERIMENT = "saturation-grid"
PARAMS = ("dataset", "split", "classifier", "recipe", "strategy", "target", "axis", "lambda_", "seed", "pair_id")
logger = logging.getLogger(__name__)


def default_tracking_uri(folder: Path) -> str:
    """The sweep's own sqlite database."""
    return f"sqlite:///{folder.resolve()}/mlflow.db"


def project(rows: pd.DataFrame, *, folder: Path, tracking_uri: str | None = None) -> int:
    """Mirror committed cells: one run a cell, under one parent run a classifier.

    Runs that are there already, found by their tag cell_id, are left alone; one that an earlier mirror began and did
    not end, or whose cell was asked for again, is written anew. Times are the cells' own, so a second mirror of the
    same cells is the same mirror.

    Returns
    -------
    int : runs written; 0 where MLflow was up to date.
    """
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_uri or default_tracking_uri(folder))
    experiment = experiment_id(client, EXPERIMENT, folder, own_database=tracking_uri is None)
    known = {run.data.tags["cell_id"]: run for run in _runs(client, experiment) if "cell_id" in run.data.tags}
    rows = rows.sort_values(["classifier", "finished_at", "cell_id"])
    stale = rows[[not _is_current(known.get(row.cell_id), row) for row in rows.itertuples()]]
    if stale.empty:
        return 0
    parents = _parents(client, experiment, rows)
    for row in stale.to_dict("records"):
        _write(client, experiment, row, parent=parents[row["classifier"]], run=known.get(row["cell_id"]))
    return len(stale)


def experiment_id(client, name: str, folder: Path, *, own_database: bool) -> str:
    """Id of an experiment, made where it is not there; artifacts of our own database lie beside it."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    location = f"{folder.resolve().as_uri()}/mlartifacts" if own_database else None
    return client.create_experiment(name, artifact_location=location)


def _runs(client, experiment: str) -> list:
    runs, token = [], None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


def _is_current(run, row) -> bool:
    if run is None or run.info.status == "RUNNING":
        return False
    return run.data.tags.get("attempts") == str(row.attempts) and run.data.tags.get("status") == row.status


def _parents(client, experiment: str, rows: pd.DataFrame) -> dict[str, str]:
    found = {
        run.data.tags["classifier"]: run.info.run_id
        for run in _runs(client, experiment)
        if run.data.tags.get("level") == "classifier"
    }
    for classifier, members in rows.groupby("classifier"):
        if classifier not in found:
            start = _milliseconds(members["finished_at"].min())
            tags = {"level": "classifier", "classifier": classifier}
            run = client.create_run(experiment, start_time=start, tags=tags, run_name=classifier)
            client.set_terminated(run.info.run_id, "FINISHED", end_time=_milliseconds(members["finished_at"].max()))
            found[classifier] = run.info.run_id
    return found


def _write(client, experiment: str, row: dict, *, parent: str, run) -> None:
    from mlflow.entities import Metric, Param, RunTag

    end = _milliseconds(row["finished_at"])
    if run is None:
        start = end - int(1000 * row["seconds"])
        name = f"{row['strategy']} {row['target']} seed {row['seed']}"
        identity = {"cell_id": row["cell_id"], "mlflow.parentRunId": parent, "level": "cell"}
        run = client.create_run(experiment, start_time=start, tags=identity, run_name=name)
    values: dict[str, float] = {name: row[name] for name in (*METRICS, "best_epoch", "seconds")}
    metrics = [Metric(name, float(value), end, 0) for name, value in values.items() if pd.notna(value)]
    params = [Param(name, str(row[name])) for name in PARAMS]
    tags = [RunTag("status", row["status"]), RunTag("attempts", str(row["attempts"]))]
    tags += [RunTag(name, str(row[name])) for name in ("classifier", "strategy", "target")]
    if pd.notna(row["error"]):
        tags.append(RunTag("error", row["error"][-5000:]))
    client.log_batch(run.info.run_id, metrics=metrics, params=params, tags=tags)
    client.set_terminated(run.info.run_id, "FINISHED" if row["status"] == "done" else "FAILED", end_time=end)


def _milliseconds(time: pd.Timestamp) -> int:
    return int(time.timestamp() * 1000)


def ui_command(folder: Path, tracking_uri: str | None) -> str:
    """The command that opens the results in a browser."""
    return shlex.join(
        [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", tracking_uri or default_tracking_uri(folder)]
    )
