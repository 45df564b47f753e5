"""A study of axes to MLflow: one run an LLM and one for the whole, a mirror that can be deleted and written again."""

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cluster.tracking import default_tracking_uri, experiment_id
from valence.axis_figures import of_benchmarks

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
EXPERIMENT = "valence-axis"
STUDY, LLM = "study", "llm"
PARAMS = ("llm", "family", "method", "layer", "pooling", "engine", "engine_version", "dtype", "writer", "n_paraphrases")
METRICS = ("explained_variance", "r_codes", "p_codes", "p_random", "p_untrained", "p_nonce", "correlation_of_sets")


def log_study(
    tables: Mapping[str, pd.DataFrame],
    figures: Sequence[Path],
    axes: Mapping[str, Path],
    *,
    folder: Path,
    study_hash: str,
    tracking_uri: str | None = None,
) -> int:
    """Write a study's numbers, tables and figures, where a run of its hash is not there already.

    Parameters
    ----------
    tables : as `cluster.axis_study.run_study` returns them.
    figures : files; axes : an axis file by LLM.
    folder : of the study, whose own sqlite database is written where no server is given.

    Returns
    -------
    int : runs written, 0 where MLflow was up to date.
    """
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow"):  # after the import, which sets them to speak
        logging.getLogger(name).setLevel(logging.WARNING)

    client = MlflowClient(tracking_uri=tracking_uri or default_tracking_uri(folder))
    experiment = experiment_id(client, EXPERIMENT, folder, tracking_uri)
    query = f"tags.study = '{study_hash}' and tags.level = '{STUDY}' and attributes.status = 'FINISHED'"
    if client.search_runs([experiment], filter_string=query, max_results=1):
        return 0
    parent = client.create_run(
        experiment, tags={"study": study_hash, "level": STUDY}, run_name=f"study {study_hash[:8]}"
    )
    for row in tables["axes"].to_dict("records"):
        _log_llm(client, experiment, row, tables, axes[row["llm"]], parent=parent.info.run_id, study_hash=study_hash)
    for path in figures:
        client.log_artifact(parent.info.run_id, str(path), "figures")
    with tempfile.TemporaryDirectory() as place:
        for name, table in tables.items():
            path = Path(place) / f"{name}.parquet"
            table.to_parquet(path, index=False)
            client.log_artifact(parent.info.run_id, str(path), "tables")
    # last: a parent that is not finished is a study that is written again
    client.set_terminated(parent.info.run_id)
    return 1 + len(tables["axes"])


def _log_llm(client, experiment: str, row: dict, tables, axis: Path, *, parent: str, study_hash: str) -> None:
    from mlflow.entities import Metric, Param

    tags = {"mlflow.parentRunId": parent, "study": study_hash, "level": LLM, "axis": row["digest"]}
    run = client.create_run(experiment, tags=tags, run_name=row["llm"])
    numbers = {name: row[name] for name in METRICS}
    valid = of_benchmarks(tables["validity"])
    for one in valid[(valid["llm"] == row["llm"]) & (valid["layer"] == row["layer"])].to_dict("records"):
        numbers[f"{one['benchmark']}/{one['dimension']}/{one['predictor']}"] = one["value"]
    start = run.info.start_time
    metrics = [Metric(_named(name), float(value), start, 0) for name, value in numbers.items() if pd.notna(value)]
    client.log_batch(run.info.run_id, metrics=metrics, params=[Param(name, str(row[name])) for name in PARAMS])
    client.log_artifact(run.info.run_id, str(axis))
    client.set_terminated(run.info.run_id)


def _named(name: str) -> str:
    """A metric's name: letters, digits, and what MLflow allows beside them."""
    return "".join(letter if letter.isalnum() or letter in "_-./ " else "_" for letter in name)
