"""Windows and DE features through the main job, with a training process killed on the way, against one process."""

import json
import threading
import time

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import torch

from cluster.binding import from_dict
from cluster.data import Data, data_hash
from cluster.presets import preset
from cluster.store import METRICS, Store
from valence.axis import Axis
from valence.datasets import DATASETS
from valence.datasets.simulated import write_cohort
from valence.prepared import prepare
from valence.splits import make_split
from valence.stories import EMOTIONS
from valence.targets import TargetContext, make_target
from valence.training import train_cell

pytestmark = pytest.mark.slow
N_CELLS = 2 * (1 + 2 * 3) * 2
"""classifiers × (baseline + strategies × targets) × seeds"""


def small_axis() -> Axis:
    centroids = np.random.default_rng(5).standard_normal((len(EMOTIONS), 96))
    centroids -= centroids.mean(axis=0)
    direction = np.linalg.svd(centroids, full_matrices=False)[2][0]
    positions = centroids @ direction
    facts = {"llm": "planted", "llm_hash": "0" * 16, "layer": -2, "pooling": "last", "method": "pca", "engine": "none"}
    return Axis(
        direction=direction,
        class_positions=(positions - positions.mean()) / positions.std(),
        centroids=centroids,
        explained_variance=0.5,
        n_paraphrases=1,
        dtype="float32",
        **facts,
    )


def kill_one_actor(out, store: Store, running: threading.Thread) -> str:
    """Kill a process that trains for this sweep, once two cells are committed; what it was, "" where none was found."""
    deadline = time.monotonic() + 400
    while running.is_alive() and time.monotonic() < deadline:
        if len(store.committed()) >= 2:
            for process in training_processes(out):
                title = " ".join(process.cmdline())
                process.kill()
                return title
        time.sleep(0.05)
    return ""


def training_processes(out) -> list[psutil.Process]:
    found = []
    for job in psutil.Process().children():
        try:
            if str(out) in job.cmdline():
                found += [p for p in job.children(recursive=True) if is_actor(p)]
        except psutil.NoSuchProcess:
            continue
    return found


def is_actor(process: psutil.Process) -> bool:
    """Ray writes class and method into the title of its workers: one that trains, or waits for its next pack."""
    try:
        title = " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
    return title.startswith("ray::") and "Trainable" in title


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("cohort") / "simulated", n_subjects=6, inputs=("windows", "de"))


def test_a_sweep_that_lost_a_process_is_that_of_one_process(job, cohort, tmp_path, one_thread):
    axis, out, ended = small_axis(), tmp_path / "out", []
    axis.save(tmp_path / "axis.safetensors")
    words = (
        "--dataset", "simulated", "--data-root", cohort, "--preset", "quick", "--classifiers", "EEGNet,de_mlp",
        "--strategies", "aux_mse,kd_prototypes", "--targets", "vaxis,permuted,random", "--seeds", "2",
        "--axis", tmp_path / "axis.safetensors", "--out", out,
    )  # fmt: skip
    store = Store(out)
    running = threading.Thread(target=lambda: ended.append(job(*words)))
    running.start()
    killed = kill_one_actor(out, store, running)
    n_at_kill = len(store.committed())
    running.join()
    assert ended[0].returncode == 0, ended[0].stdout + ended[0].stderr
    assert killed, "no training process was found"
    assert n_at_kill < N_CELLS, "it was to be killed half-way"
    (plan,) = store.plans().values()
    cells = {cell.cell_id: cell for cell in map(from_dict, plan["cells"])}
    rows = store.rows()
    assert len(cells) == N_CELLS
    assert sorted(rows["cell_id"]) == sorted(cells), "each cell once"
    assert set(rows["status"]) == {"done"}
    assert set(rows["attempts"]) == {1}

    eegnet = rows[rows["classifier"] == "EEGNet"].sort_values("finished_at", ascending=False)
    prototypes = eegnet[(eegnet["strategy"] == "kd_prototypes") & (eegnet["target"] == "vaxis")]
    values = eegnet[(eegnet["strategy"] == "aux_mse") & (eegnet["target"] == "permuted_1")]
    chosen = {prototypes.index[0], values.index[0]}
    for _, row in eegnet[eegnet.index.isin(chosen)].iterrows():  # the last first
        check_against_this_process(cells[row["cell_id"]], row, cohort=cohort, axis=axis, out=out, folder=tmp_path)


def check_against_this_process(cell, row, *, cohort, axis, out, folder) -> None:
    """Train the cell here, from recordings converted here; every number has to be the same, bit for bit."""
    dataset = DATASETS["simulated"](cohort)
    recipe = preset("quick").recipes["windows"]
    prepared = prepare(dataset, "windows", recipe, folder / "prepared-here")
    split = make_split(dataset, "windows", cell.split)
    here = Data(dataset=dataset, prepared={"windows": prepared}, splits={"windows": split}, audits={})
    assert (data_hash(here, "windows"), recipe.hash) == (cell.dataset_hash, cell.recipe_hash)
    context = TargetContext(
        class_of_clip=dataset.class_of_clip,
        n_classes=len(dataset.classes),
        classes=dataset.classes,
        axis=axis,
        seed=cell.seed,
    )
    result = train_cell(cell, prepared, split, recipe, make_target(cell.target, context))
    for metric in (*METRICS, "best_epoch"):
        assert row[metric] == result.metrics[metric], metric
    assert list(row["recall"]) == list(result.recall)
    committed = dict(zip(row["test_subjects"], row["subject_balanced_accuracy"], strict=True))
    assert committed == result.subject_balanced_accuracy
    predictions = pq.read_table(out / "predictions" / f"{cell.cell_id}.parquet").to_pandas()
    logits = {part: np.stack(rows["logits"]) for part, rows in predictions.groupby("part")}
    assert logits["test"].tobytes() == result.test_logits.tobytes()
    assert logits["validation"].tobytes() == result.validation_logits.tobytes()
    features = pq.read_table(out / "features" / f"{cell.cell_id}.parquet").to_pandas()
    assert np.stack(features["features"]).tobytes() == result.clip_features.tobytes()
    assert json.loads(row["versions"])["torch"] == torch.__version__
