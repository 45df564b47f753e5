"""The MLflow mirror: one run a cell, whole after being killed, nothing written twice."""

import pandas as pd
import pytest
from mlflow import MlflowClient

from cluster.store import Store
from cluster.tracking import EXPERIMENT, default_tracking_uri, project
from tests.cluster.test_store import make_cell, make_row


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    store = Store(folder)
    for seed in range(4):
        store.commit(make_row(make_cell(seed, classifier=f"c{seed % 2}")))
    store.commit(make_row(make_cell(9, classifier="c0"), status="failed"))
    assert project(store.rows(), folder=folder) == 5
    return store


def runs(store):
    client = MlflowClient(tracking_uri=default_tracking_uri(store.folder))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return client, client.search_runs([experiment.experiment_id])


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
        assert "kappa" not in run.data.metrics  # null stays missing


def test_a_second_mirror_writes_nothing(mirrored):
    assert project(mirrored.rows(), folder=mirrored.folder) == 0


def test_a_mirror_that_was_killed_is_completed(mirrored):
    client, found = runs(mirrored)
    victim = next(run for run in found if run.data.tags.get("status") == "done")
    client.update_run(victim.info.run_id, status="RUNNING")
    assert project(mirrored.rows(), folder=mirrored.folder) == 1
    assert client.get_run(victim.info.run_id).info.status == "FINISHED"
    assert len(runs(mirrored)[1]) == len(found)


def test_a_retried_cell_is_written_anew(mirrored):
    rows = mirrored.rows()
    failed = rows.index[rows["status"] == "failed"][0]
    rows.loc[failed, ["status", "attempts", "balanced_accuracy", "error"]] = ["done", 2, 0.5, None]
    assert project(rows, folder=mirrored.folder) == 1
    _, found = runs(mirrored)
    run = next(run for run in found if run.data.tags.get("cell_id") == rows.loc[failed, "cell_id"])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["balanced_accuracy"] == 0.5


def test_no_rows_is_no_error(tmp_path):
    assert project(Store(tmp_path).rows(), folder=tmp_path) == 0
    assert isinstance(Store(tmp_path).rows(), pd.DataFrame)
