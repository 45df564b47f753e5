"""What was built from a sweep's cells, to MLflow: one run a sweep, with report, tables, figures and axis as artifacts.

These runs have an experiment of their own: there, as in that of the cells, all runs have the same columns, and
sweeps can be compared with sweeps. A file is written once, and again when its content has changed; the run's tags
hold the SHA-256 of what is there, set after the file is.
"""

import hashlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from cluster.store import Store
from cluster.tracking import EXPERIMENT, client_of, experiment_id, milliseconds
from valence.cell import canonical_hash

SWEEPS = f"{EXPERIMENT}-sweeps"
SWEEP = "sweep"
"""level of runs"""
HASH = "sha256/"
"""start of the tags that hold what an artifact is"""
VERDICTS = ("helps", "hurts", "equivalent", "undecided")
FILES = (
    *("report.html", "statistics.parquet", "axis/*.safetensors"),
    *("brain/brain.html", "brain/brain.parquet", "brain/figures/*.svg"),
)
"""in a sweep's folder, what belongs to it as a whole"""
FIGURE = re.compile(r'<script type="application/json" id="([\w-]+)-json">(.*?)</script>', re.DOTALL)
"""a figure of the report: plotly writes every < inside as \\u003c"""


def sweep_files(folder: Path, statistics: pd.DataFrame) -> dict[str, bytes]:
    """By name, everything that belongs to a sweep as a whole: what of it was built so far.

    The report and its figures (JSON that `plotly.io.read_json` opens), the table of comparisons, the axes that cells
    were aligned to, and what brain_map wrote into the sweep's folder.
    """
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for pattern in FILES
        for path in sorted(folder.glob(pattern))
    }
    files["statistics.csv"] = statistics.to_csv(index=False).encode()
    report = files.get("report.html", b"").decode(errors="replace")
    return files | {f"figures/{name}.json": text.encode() for name, text in FIGURE.findall(report)}


def hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 by name."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}


def project_sweep(
    store: Store,
    sweep: dict,
    rows: pd.DataFrame,
    statistics: pd.DataFrame,
    files: Mapping[str, bytes],
    *,
    tracking_uri: str | None = None,
) -> int:
    """Mirror a sweep as a whole; the same sweep is the same run, found by where its cells are committed.

    Returns
    -------
    int : artifacts written; 0 where MLflow was up to date.
    """
    from mlflow.entities import Metric, RunTag

    client = client_of(store.folder, tracking_uri)
    experiment = experiment_id(client, SWEEPS, store.folder, tracking_uri)
    start, end = (milliseconds(time) for time in (rows["finished_at"].min(), rows["finished_at"].max()))
    run = _run(client, experiment, store, start=start)
    numbers, wanted = _numbers(sweep, rows, statistics), hashes(files)
    state = canonical_hash([numbers, wanted])
    if run.data.tags.get("state") == state and run.info.status == "FINISHED":
        return 0
    changed = [name for name in wanted if run.data.tags.get(HASH + name) != wanted[name]]
    for name in changed:
        _log(client, run.info.run_id, name, files[name])
        client.set_tag(run.info.run_id, HASH + name, wanted[name])
    # of one metric the last step counts, not the last time: the same cells may be judged anew
    step = int(run.data.tags.get("revision", "0")) + 1
    metrics = [Metric(name, float(value), end, step) for name, value in numbers.items()]
    # tags, not params, which never change: a sweep grows
    tags = {"dataset": sweep["dataset"], "splits": ", ".join(sorted(set(rows["split"]))), "preset": sweep["preset"]}
    tags |= {"llm": sweep.get("llm") or "", "revision": str(step), "state": state}
    client.log_batch(run.info.run_id, metrics, tags=[RunTag(name, value) for name, value in tags.items()])
    client.set_terminated(run.info.run_id, "FINISHED", end_time=end)
    return len(changed)


def _run(client, experiment: str, store: Store, *, start: int):
    """The sweep's run, made where it is not there; of two that were made at once, the same for everybody."""
    sweep = canonical_hash([store.url or str(store.folder.resolve())])
    query = f"tags.sweep = '{sweep}' and tags.level = '{SWEEP}'"
    runs = sorted(client.search_runs([experiment], filter_string=query), key=lambda run: run.info.run_id)
    for run in runs[1:]:
        client.delete_run(run.info.run_id)
    tags = {"sweep": sweep, "level": SWEEP}
    return runs[0] if runs else client.create_run(experiment, start_time=start, tags=tags, run_name=store.folder.name)


def _numbers(sweep: dict, rows: pd.DataFrame, statistics: pd.DataFrame) -> dict[str, float]:
    verdicts = statistics["verdict"].value_counts()
    memory = rows["peak_memory_mb"].max()
    return {
        "n_cells": len(sweep["cells"]),
        "n_done": int((rows["status"] == "done").sum()),
        "n_failed": int((rows["status"] == "failed").sum()),
        **{f"n_{verdict}": int(verdicts.get(verdict, 0)) for verdict in VERDICTS},
        "seconds": float(rows["seconds"].sum()),
        **({} if pd.isna(memory) else {"system/peak_memory_megabytes": float(memory)}),
    }


def _log(client, run_id: str, name: str, content: bytes) -> None:
    folder, _, file = name.rpartition("/")
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / file).write_bytes(content)
        client.log_artifact(run_id, str(Path(place) / file), folder or None)
