"""The MLflow mirror of cells: one run a cell, whole after being killed, nothing written twice, one table to compare."""

import contextlib
import multiprocessing
import signal
import sqlite3
import time

import pandas as pd
import pytest
from mlflow import MlflowClient

from cluster.cell_table import METRICS
from cluster.store import Store
from cluster.tracking import EXPERIMENT, PARAMS, TAGS, default_tracking_uri, project, ui_command, without_password
from tests.cluster.test_store import make_cell, make_row


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    store = Store(folder)
    numbers = {name: 0.01 * place for place, name in enumerate(METRICS, start=1)}
    for seed in range(4):
        known = numbers if seed == 0 else {}
        cost = {"peak_memory_mb": 12.5, "cells_at_once": 3, "device": "cpu", "device_name": "a CPU", "windows": 77}
        store.commit(make_row(make_cell(seed, classifier=f"c{seed % 2}"), **cost, **known))
    store.commit(make_row(make_cell(9, classifier="c0"), status="failed"))
    assert project(store.rows(), folder=folder) == 5
    return store


def runs(store):
    client = MlflowClient(tracking_uri=default_tracking_uri(store.folder))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return client, client.search_runs([experiment.experiment_id])


def cells_of(store):
    return {run.data.tags["cell_id"]: run for run in runs(store)[1] if run.data.tags["level"] == "cell"}


def test_one_run_a_cell_under_its_classifier(mirrored):
    _, found = runs(mirrored)
    cells = {run.data.tags["cell_id"]: run for run in found if "cell_id" in run.data.tags}
    parents = {run.info.run_id: run.info.run_name for run in found if "cell_id" not in run.data.tags}
    assert set(cells) == mirrored.committed()
    assert sorted(parents.values()) == ["c0", "c1"]
    for row in mirrored.rows().itertuples():
        run = cells[row.cell_id]
        assert parents[run.data.tags["mlflow.parentRunId"]] == row.classifier
        assert run.info.status == ("FINISHED" if row.status == "done" else "FAILED")
        if row.status == "done":
            assert run.data.metrics["balanced_accuracy"] == pytest.approx(row.balanced_accuracy)
        assert run.info.end_time == int(row.finished_at.timestamp() * 1000)
        if row.seed != 0:
            assert "kappa" not in run.data.metrics  # null stays missing


def test_cells_make_one_table(mirrored):
    cells = list(cells_of(mirrored).values())
    assert {frozenset(run.data.params) for run in cells} == {frozenset(PARAMS)}
    own = {*TAGS, "cell_id", "level", "format", "error", "mlflow.parentRunId", "mlflow.runName"}
    assert {frozenset(run.data.tags) for run in cells} == {frozenset(own)}
    assert own >= {"status", "attempts", "classifier", "strategy", "target", "device", "device_name", "mode"}
    assert set(PARAMS) >= {"dataset", "split", "classifier", "recipe", "strategy", "target", "axis", "lambda_", "seed"}
    whole = {*METRICS, "windows", "seconds", "system/peak_memory_megabytes", "system/cells_at_once"}
    assert {name for run in cells for name in run.data.metrics} == whole
    row = mirrored.rows().set_index("seed").loc[0]
    run = cells_of(mirrored)[row["cell_id"]]
    assert run.data.metrics["system/peak_memory_megabytes"] == 12.5
    assert run.data.metrics["system/cells_at_once"] == 3
    assert {name: run.data.metrics[name] for name in METRICS} == {name: row[name] for name in METRICS}
    assert (run.data.tags["device"], run.data.tags["device_name"]) == ("cpu", "a CPU")


def test_a_second_mirror_writes_nothing(mirrored):
    assert project(mirrored.rows(), folder=mirrored.folder) == 0


def test_a_mirror_that_was_killed_is_completed(mirrored):
    client, found = runs(mirrored)
    victim = next(run for run in found if run.data.tags.get("status") == "done")
    client.update_run(victim.info.run_id, status="RUNNING")
    assert project(mirrored.rows(), folder=mirrored.folder) == 1
    assert client.get_run(victim.info.run_id).info.status == "FINISHED"
    assert len(runs(mirrored)[1]) == len(found)


def test_what_is_there_twice_is_there_once_again(mirrored):
    before = cells_of(mirrored)
    client, found = runs(mirrored)
    cell_id, run = next(iter(before.items()))
    experiment = run.info.experiment_id
    client.create_run(experiment, tags={"level": "cell", "cell_id": cell_id})
    client.create_run(experiment, tags={"level": "classifier", "classifier": "c1"})
    assert len(runs(mirrored)[1]) == len(found) + 2
    project(mirrored.rows(), folder=mirrored.folder)
    assert {run.info.run_id for run in runs(mirrored)[1]} == {run.info.run_id for run in found}
    assert {cell: run.info.run_id for cell, run in cells_of(mirrored).items()} == {
        cell: run.info.run_id for cell, run in before.items()
    }


def test_a_retried_cell_is_written_anew(mirrored):
    rows = mirrored.rows()
    failed = rows.index[rows["status"] == "failed"][0]
    assert cells_of(mirrored)[rows.loc[failed, "cell_id"]].data.tags["error"] == "boom"
    rows.loc[failed, ["status", "attempts", "balanced_accuracy", "error"]] = ["done", 2, 0.5, None]
    assert project(rows, folder=mirrored.folder) == 1
    run = cells_of(mirrored)[rows.loc[failed, "cell_id"]]
    assert run.info.status == "FINISHED"
    assert run.data.metrics["balanced_accuracy"] == 0.5
    assert run.data.tags["error"] == ""


def test_a_mirror_killed_at_any_moment_is_completed(tmp_path):
    store = Store(tmp_path)
    for number in range(24):
        store.commit(make_row(make_cell(number, classifier=f"c{number % 3}")))
    rows = store.rows()
    assert project(rows[:1], folder=tmp_path) == 1  # the tables are made
    for n_runs in (7, 15):
        mirror = multiprocessing.get_context("fork").Process(target=project, args=(rows,), kwargs={"folder": tmp_path})
        mirror.start()
        while count(tmp_path) < n_runs:
            assert mirror.exitcode is None
            time.sleep(0.005)
        mirror.kill()
        mirror.join()
        assert mirror.exitcode == -signal.SIGKILL
    assert 0 < project(rows, folder=tmp_path) <= 24 - 14
    assert sorted(cells_of(store)) == sorted(store.committed())
    assert count(tmp_path) == 24
    assert {run.info.status for run in runs(store)[1]} == {"FINISHED"}
    assert project(rows, folder=tmp_path) == 0


def count(folder):
    """Runs of cells, from the database as it is."""
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db", timeout=30)) as database:
        return database.execute("SELECT count(*) FROM tags WHERE key = 'cell_id'").fetchone()[0]


def test_no_rows_is_no_error(tmp_path):
    assert project(Store(tmp_path).rows(), folder=tmp_path) == 0
    assert isinstance(Store(tmp_path).rows(), pd.DataFrame)


def test_passwords_are_not_shown(tmp_path):
    assert without_password("postgresql://me:a@b:secret@db:5432/x") == "postgresql://me:***@db:5432/x"
    assert without_password("sqlite:////data/a@b/mlflow.db") == "sqlite:////data/a@b/mlflow.db"
    assert ui_command(tmp_path, "https://me:secret@tracking.org/path") == "https://me:***@tracking.org/path"
    assert "secret" not in ui_command(tmp_path, "postgresql://me:secret@db/x")
    assert default_tracking_uri(tmp_path) in ui_command(tmp_path, None)
