"""Disk: bytes that a plan promises against the bytes that trained cells, snapshots and conversions really take."""

import dataclasses
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import balanced_accuracy_score

from cluster import snapshots
from cluster.cell_table import METRICS, SCHEMA
from cluster.cells import train_rows
from cluster.context import Context
from cluster.disk import Sizes, built_on, committed_bytes, conversion_bytes, snapshot_bytes
from cluster.files import Folder
from cluster.snapshots import WORTH_IT
from cluster.store import Store
from tests.valence import training_world as world
from valence.classifiers import CLASSIFIERS
from valence.prepared import rows_of

ABOUT = world.recipe(epochs=1)


def sizes(input):
    data, split = world.dataset(input), world.split()
    return Sizes(
        spec=data.spec,
        n_clips=world.N_CLIPS,
        n_samples=len(data.x),
        n_validation=len(rows_of(data, split.validation)),
        n_test=len(rows_of(data, split.test)),
        test_subjects=len(split.test.subjects),
    )


def on_disk(folder, kinds):
    return {kind: sum(path.stat().st_size for path in (folder / kind).rglob("*")) for kind in kinds}


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("classifier", ["de_mlp", "ShallowFBCSPNet", "EEGNet"])
def test_bytes_of_a_trained_cell(tmp_path, one_thread, classifier, keep):
    (tmp_path / "plans").mkdir()
    cell, input = world.cell(classifier, about=ABOUT), CLASSIFIERS[classifier].input
    context = Context(
        folder=str(tmp_path),
        prepared={input: world.dataset(input)},
        splits={input: world.split()},
        recipes={ABOUT.hash: ABOUT},
        inputs={classifier: input},
        targets={},
        kept=frozenset({cell.cell_id} if keep else ()),
    )
    store = Store(tmp_path)
    for outcome in train_rows([cell], context, device="cpu", mode="eager"):
        assert outcome.row["status"] == "done", outcome.row
        store.commit(outcome.row | {"attempts": 1}, outcome.artifacts, weights=outcome.weights)
    promised = committed_bytes([cell], {input: sizes(input)}, keep=keep)
    assert set(promised) == {"cells", "predictions", "features"} | ({"samples", "layers", "trained"} if keep else set())
    actual = on_disk(tmp_path, promised)
    for kind, n_bytes in promised.items():
        assert n_bytes == pytest.approx(actual[kind], rel=0.2), kind


def test_weights_that_others_build_on_are_there_without_keep():
    plain, adapted = (world.cell("ShallowFBCSPNet", name, about=ABOUT) for name in ("none", "lora"))
    assert built_on([plain, adapted]) == {plain.cell_id}
    of = {"windows": sizes("windows")}
    bare = committed_bytes([plain, adapted], of, keep=False)
    built = committed_bytes([plain, adapted], of, keep=False, weights=built_on([plain, adapted]))
    both = committed_bytes([plain, adapted], of, keep=True)
    assert "trained" not in bare
    assert 2 * built["trained"] == both["trained"] > 0
    assert built["cells"] == bare["cells"]


def accuracies(rng, n_subjects):
    """Balanced accuracies of subjects who saw 28 clips of nine classes, as scikit-learn has them."""
    labels = np.repeat(np.arange(9), [3, 3, 3, 3, 4, 3, 3, 3, 3])
    return [
        balanced_accuracy_score(labels, np.where(rng.random(28) < 0.4, labels, rng.integers(9, size=28)))
        for _ in range(n_subjects)
    ]


def test_bytes_of_a_snapshot(tmp_path):
    rng, n_subjects, finished = np.random.default_rng(0), 19, datetime(2026, 1, 1, tzinfo=UTC)
    cells = [world.cell("de_mlp", ("none", "rsa")[seed % 2], about=ABOUT, seed=seed) for seed in range(WORTH_IT)]
    rows = [
        {
            **dataclasses.asdict(cell), "cell_id": cell.cell_id, "pair_id": cell.pair_id, "status": "done",
            "attempts": 1, **{name: rng.random() for name in METRICS}, "recall": rng.random(world.N_CLASSES).tolist(),
            "test_subjects": [f"sub{number:03d}" for number in range(80, 80 + n_subjects)], "best_epoch": index % 40,
            "subject_balanced_accuracy": accuracies(rng, n_subjects), "windows": 36400,
            "seconds": 10 * rng.random(), "mode": "eager", "device": "cpu", "cells_at_once": 1,
            "peak_memory_mb": 700 * rng.random(), "compared_with": "none", "versions": "{}",
            "finished_at": finished + timedelta(seconds=10 * index + rng.random()),
        }
        for index, cell in enumerate(cells)
    ]  # fmt: skip
    # size and time, as a folder stamps its files
    stamps = {cell.cell_id: f"9631-{1_770_000_000_000_000_000 + index}" for index, cell in enumerate(cells)}
    assert snapshots.write(Folder(tmp_path), pa.Table.from_pylist(rows, schema=SCHEMA), stamps, made_from=None)
    of = {"de": dataclasses.replace(sizes("de"), test_subjects=n_subjects)}
    assert snapshot_bytes(cells, of) == pytest.approx(on_disk(tmp_path, ["snapshots"])["snapshots"], rel=0.2)
    assert snapshot_bytes(cells[:-1], of) == 0


def test_band_features_are_there_twice():
    spec = world.spec("de")
    assert conversion_bytes(spec, 100) == 2 * 100 * len(world.CH_NAMES) * 6 * 5 * 4
    assert conversion_bytes(world.spec("windows"), 100) == 100 * len(world.CH_NAMES) * 200 * 4
