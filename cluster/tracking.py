"""Committed cells to MLflow: an idempotent mirror that can be deleted and rebuilt. Workers never talk to MLflow.

One run a cell under one parent run a classifier, all cells with the same params, tags and names of metrics, so that a
comparison of any of them is one table. What a cell cost is logged as MLflow's own system metrics are named
(`system/…`) from the committed row: peak memory, cells that shared the device; seconds beside them. MLflow's sampling
of a process is not used: it watches the process that logs, which here is the mirror, minutes or weeks after the
training and on another machine.
"""

import logging
import os
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cluster.store import METRICS
from cluster.tracking_weights import WEIGHTS_TAG, Checkpoint, log_checkpoint

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# a server that is away for a minute is waited for; MLflow's own default is four minutes and more
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
EXPERIMENT = "saturation-grid"
FORMAT = "2"
"""raised whenever a cell's run says other things: runs of another format are written anew"""
CELL, CLASSIFIER = "cell", "classifier"
"""levels of runs"""
PARAMS = (
    *("dataset", "dataset_hash", "split", "classifier", "recipe", "recipe_hash", "weights", "plugins", "strategy"),
    *("options", "target", "axis", "lambda_", "gradient_match", "seed", "pair_id"),
)
TAGS = ("status", "attempts", "classifier", "strategy", "target", "device", "device_name", "mode")
SYSTEM = {"system/peak_memory_megabytes": "peak_memory_mb", "system/cells_at_once": "cells_at_once"}
"""metric to column"""
LONGEST_ERROR = 5000
logger = logging.getLogger(__name__)


def default_tracking_uri(folder: Path) -> str:
    """The sweep's own sqlite database."""
    return f"sqlite:///{folder.resolve()}/mlflow.db"


def client_of(folder: Path, tracking_uri: str | None):
    """MLflow's client, of the sweep's own database where no place is given."""
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow"):  # after the import, which sets them to speak
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=tracking_uri or default_tracking_uri(folder))


def project(
    rows: pd.DataFrame,
    *,
    folder: Path,
    tracking_uri: str | None = None,
    checkpoints: Mapping[str, Checkpoint] | None = None,
) -> int:
    """Mirror committed cells: one run a cell, under one parent run a classifier.

    Runs that are there already, found by their tag cell_id, are left alone; one that an earlier mirror began and did
    not end, or whose cell was asked for again, is written anew. Times are the cells' own, so a second mirror of the
    same cells is the same mirror. Of two runs of one cell (a request that a dying server carried out and MLflow's
    client sent again, or two mirrors at once) one is kept.

    Parameters
    ----------
    checkpoints : by cell id, kept weights, logged once with their signature.

    Returns
    -------
    int : runs written; 0 where MLflow was up to date.
    """
    client = client_of(folder, tracking_uri)
    experiment = experiment_id(client, EXPERIMENT, folder, tracking_uri)
    checkpoints = checkpoints or {}
    runs = _runs(client, experiment)
    parents = _parents(client, experiment, rows, _by_tag(runs, CLASSIFIER, "classifier"))
    known, surplus = _one_each(_by_tag(runs, CELL, "cell_id"))
    n_written = 0
    for row in rows.sort_values(["classifier", "finished_at", "cell_id"]).to_dict("records"):
        run, parent, checkpoint = known.get(row["cell_id"]), parents[row["classifier"]], checkpoints.get(row["cell_id"])
        if not _is_current(run, row, parent, checkpoint):
            _write(client, experiment, row, parent=parent, run=run, checkpoint=checkpoint)
            n_written += 1
    for run in surplus:
        client.delete_run(run.info.run_id)
    return n_written


def experiment_id(client, name: str, folder: Path, tracking_uri: str | None) -> str:
    """Id of an experiment, made where it is not there; artifacts of a sqlite database lie beside it.

    MLflow itself would put them into mlruns of whatever folder a command is called from.
    """
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    kind, _, path = (tracking_uri or default_tracking_uri(folder)).partition(":///")
    location = f"{Path(path).resolve().parent.as_uri()}/mlartifacts" if kind == "sqlite" else None
    return client.create_experiment(name, artifact_location=location)


def milliseconds(time: pd.Timestamp) -> int:
    """A time as MLflow keeps it."""
    return int(time.timestamp() * 1000)


def _runs(client, experiment: str) -> list:
    runs, token = [], None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


def _by_tag(runs: Iterable, level: str, tag: str) -> dict[str, list]:
    found = defaultdict(list)
    for run in runs:
        if run.data.tags.get("level") == level:
            found[run.data.tags[tag]].append(run)
    return found


def _one_each(found: Mapping[str, list]) -> tuple[dict[str, Any], list]:
    """The run of each name, an ended one first and then by id, so that all mirrors choose the same; and the others."""
    ordered = {
        name: sorted(runs, key=lambda run: (run.info.status == "RUNNING", run.info.run_id))
        for name, runs in found.items()
    }
    return {name: runs[0] for name, runs in ordered.items()}, [run for runs in ordered.values() for run in runs[1:]]


def _is_current(run, row: dict, parent: str, checkpoint: Checkpoint | None) -> bool:
    if run is None or run.info.status == "RUNNING" or (checkpoint and WEIGHTS_TAG not in run.data.tags):
        return False
    wanted = {"format": FORMAT, "mlflow.parentRunId": parent, "status": row["status"], "attempts": str(row["attempts"])}
    return wanted.items() <= run.data.tags.items()


def _parents(client, experiment: str, rows: pd.DataFrame, found: Mapping[str, list]) -> dict[str, str]:
    """Run ids by classifier. Their time is that of their cells; what two mirrors made twice is removed."""
    known, surplus = _one_each(found)
    for run in surplus:
        client.delete_run(run.info.run_id)
    ids = {}
    for classifier, members in rows.groupby("classifier"):
        end, run = milliseconds(members["finished_at"].max()), known.get(str(classifier))
        if run is None:
            tags = {"level": CLASSIFIER, "classifier": str(classifier)}
            start = milliseconds(members["finished_at"].min())
            run = client.create_run(experiment, start_time=start, tags=tags, run_name=str(classifier))
        if run.info.status == "RUNNING" or run.info.end_time < end:
            client.set_terminated(run.info.run_id, "FINISHED", end_time=end)
        ids[str(classifier)] = run.info.run_id
    return ids


def _write(client, experiment: str, row: dict, *, parent: str, run, checkpoint: Checkpoint | None) -> None:
    from mlflow.entities import Metric, Param, RunTag

    end = milliseconds(row["finished_at"])
    if run is None:
        start = end - int(1000 * row["seconds"])
        name = f"{row['strategy']} {row['target']} seed {row['seed']}"
        # with the run, not after it: a run without them would be nobody's
        identity = {"cell_id": row["cell_id"], "level": CELL}
        run = client.create_run(experiment, start_time=start, tags=identity, run_name=name)
    elif run.info.status != "RUNNING":
        client.update_run(run.info.run_id, status="RUNNING")  # who is interrupted now writes it again
    columns = {**{name: name for name in (*METRICS, "best_epoch", "windows", "seconds")}, **SYSTEM}
    values = {name: row[column] for name, column in columns.items()}
    metrics = [Metric(name, float(value), end, 0) for name, value in values.items() if pd.notna(value)]
    params = [Param(name, str(row[name])) for name in PARAMS]
    tags = {name: "" if pd.isna(row[name]) else str(row[name]) for name in TAGS}
    tags |= {"mlflow.parentRunId": parent, "format": FORMAT}
    tags["error"] = "" if pd.isna(row["error"]) else row["error"][-LONGEST_ERROR:]
    if checkpoint:
        tags |= log_checkpoint(client, run.info.run_id, row, checkpoint)
    client.log_batch(run.info.run_id, metrics, params, [RunTag(name, value) for name, value in tags.items()])
    client.set_terminated(run.info.run_id, "FINISHED" if row["status"] == "done" else "FAILED", end_time=end)


def ui_command(folder: Path, tracking_uri: str | None) -> str:
    """The command that opens the results in a browser, or the server's own address; passwords are left out."""
    if tracking_uri and tracking_uri.startswith(("http://", "https://")):
        return without_password(tracking_uri)
    place = without_password(tracking_uri) if tracking_uri else default_tracking_uri(folder)
    return shlex.join([sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", place])


def without_password(uri: str) -> str:
    """A URI as it may be shown and stored."""
    scheme, mark, rest = uri.partition("://")
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    return f"{scheme}{mark}{user.partition(':')[0]}{':***' if ':' in user else ''}{at}{host}{slash}{path}"
