"""Snapshots are views: rows are those of the single files, whatever is in a snapshot, and it saves reading them."""

import json
import logging
import subprocess
import sys
import time

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster import committed_rows
from cluster.store import Store
from tests.cluster.test_store import make_cell, make_row


@pytest.fixture
def cells():
    return [make_cell(seed) for seed in range(6)]


@pytest.fixture
def store(tmp_path, cells, monkeypatch):
    monkeypatch.setattr(committed_rows, "FEW", 0)
    store = Store(tmp_path)
    for cell in cells:
        store.commit(make_row(cell, status="failed" if cell.seed == 0 else "done"))
    return store


def read_files(store, monkeypatch):
    """Single files that a new reader of this store reads."""
    seen = []
    reader = Store(store.folder)

    def recorded(names, plain=reader.files.read_each):
        seen.extend(name.partition("/")[2].removesuffix(".parquet") for name in names)
        return plain(names)

    with monkeypatch.context() as patched:
        patched.setattr(reader.files, "read_each", recorded)
        rows = reader.rows()
    return rows, sorted(seen)


def test_a_snapshot_saves_reading_and_changes_nothing(store, cells, monkeypatch):
    before, seen = read_files(store, monkeypatch)
    assert len(seen) == 6
    assert store.compact(least=6) == "snapshot-000001"
    after, seen = read_files(store, monkeypatch)
    assert seen == []
    pd.testing.assert_frame_equal(before, after)
    new = make_cell(6)
    store.commit(make_row(new))
    rows, seen = read_files(store, monkeypatch)
    assert seen == [new.cell_id]
    assert len(rows) == 7
    assert rows["cell_id"].is_unique
    assert len(pd.read_parquet(store.cells)) == 7


def test_a_manifest_says_what_it_is_made_from(store, cells):
    store.compact(least=1)
    store.commit(make_row(make_cell(6)))
    assert store.compact(least=2) is None, "only one is new"
    assert store.compact(least=1) == "snapshot-000002"
    manifest = json.loads((store.folder / "snapshots/snapshot-000002.json").read_text())
    assert manifest["made_from"] == {"snapshot": "snapshot-000001", "n_cells": 7}
    assert set(manifest["cells"]) == {make_cell(seed).cell_id for seed in range(7)}
    assert Store(store.folder).compact(least=1) is None
    assert len(pd.read_parquet(store.folder / "snapshots/snapshot-000002.parquet")) == 7


def test_a_cell_that_was_run_again_is_read_from_its_own_file(store, cells, monkeypatch):
    store.compact(least=1)
    store.retry(cells[0].cell_id)
    rows, _ = read_files(store, monkeypatch)
    assert cells[0].cell_id not in set(rows["cell_id"]), "the truth is the single files"
    store.commit(make_row(cells[0], attempts=2))
    for reader in (store, Store(store.folder)):
        row = reader.rows().set_index("cell_id").loc[cells[0].cell_id]
        assert (row["status"], row["attempts"]) == ("done", 2)
    assert read_files(store, monkeypatch)[1] == [cells[0].cell_id]


def test_a_cell_that_is_damaged_later_is_not_taken_from_a_snapshot(store, cells):
    assert len(store.rows()) == 6
    store.compact(least=1)
    (store.cells / f"{cells[1].cell_id}.parquet").write_bytes(b"rubbish")
    for reader in (store, Store(store.folder)):
        assert cells[1].cell_id not in set(reader.rows()["cell_id"])
    assert len(store.committed()) == 5


def cut_parquet(folder):
    path = folder / "snapshots/snapshot-000002.parquet"
    path.write_bytes(path.read_bytes()[:-10])


def other_values(folder):
    path = folder / "snapshots/snapshot-000002.parquet"
    table = pq.ParquetFile(path).read()
    place = table.column_names.index("balanced_accuracy")
    changed = pa.array([0.99] * table.num_rows)
    pq.write_table(table.set_column(place, table.schema.field(place), changed), path)


def cut_manifest(folder):
    path = folder / "snapshots/snapshot-000002.json"
    path.write_text(path.read_text()[:-10])


def no_manifest(folder):
    (folder / "snapshots/snapshot-000002.json").unlink()


def other_manifest(folder):
    manifest = json.loads((folder / "snapshots/snapshot-000002.json").read_text())
    manifest["cells"].popitem()
    (folder / "snapshots/snapshot-000002.json").write_text(json.dumps(manifest))


def list_manifest(folder):
    (folder / "snapshots/snapshot-000002.json").write_text("[1]")


def other_columns(folder):
    path = folder / "snapshots/snapshot-000002.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"columns": manifest["columns"][:-1]}))


@pytest.mark.parametrize(
    ("damage", "warned"),
    [
        *(
            (cut_parquet, True),
            (other_values, True),
            (cut_manifest, True),
            (other_manifest, True),
            (list_manifest, True),
        ),
        *((no_manifest, False), (other_columns, False)),
    ],
)
def test_the_newest_whole_snapshot_is_taken(store, cells, monkeypatch, caplog, damage, warned):
    store.compact(least=1)
    new = make_cell(6)
    store.commit(make_row(new))
    store.compact(least=1)
    damage(store.folder)
    with caplog.at_level(logging.WARNING):
        rows, seen = read_files(store, monkeypatch)
    assert len(rows) == 7
    assert seen == [new.cell_id]
    assert set(rows["balanced_accuracy"].dropna()) == {0.25}
    assert ("snapshot-000002 is damaged" in caplog.text) == warned
    assert Store(store.folder).compact(least=1) == "snapshot-000003"
    assert read_files(store, monkeypatch)[1] == []


def test_a_copied_store_is_read_anew(store, tmp_path, monkeypatch):
    store.compact(least=1)
    copy = tmp_path.parent / f"{tmp_path.name}-copy"
    (copy / "cells").mkdir(parents=True)
    for path in store.cells.iterdir():
        (copy / "cells" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "snapshots").rename(copy / "snapshots")
    rows, seen = read_files(Store(copy), monkeypatch)
    assert len(rows) == len(seen) == 6


COMPACT = """
import sys
from pathlib import Path
from cluster.store import Store
print(Store(Path(sys.argv[1])).compact(least=1))
"""


def test_racing_compactors_leave_one_snapshot_of_a_name(store, monkeypatch, repository):
    compactors = [
        subprocess.Popen(
            [sys.executable, "-c", COMPACT, store.folder], stdout=subprocess.PIPE, text=True, cwd=repository
        )
        for _ in range(3)
    ]
    names = [compactor.communicate(timeout=60)[0].strip() for compactor in compactors]
    assert all(compactor.returncode == 0 for compactor in compactors)
    assert "snapshot-000001" in names
    rows, seen = read_files(store, monkeypatch)
    assert len(rows) == 6
    assert seen == []
    assert not [path for path in (store.folder / "snapshots").iterdir() if path.name.startswith(".")]


def test_ids_of_many_cells_are_listed_in_a_moment(tmp_path):
    store = Store(tmp_path)
    store.cells.mkdir()
    ids = [f"{number:016x}" for number in range(50_000)]
    for cell_id in ids:
        (store.cells / f"{cell_id}.parquet").touch()
    started = time.process_time()
    assert store.committed() == set(ids)
    assert store.ended(ids, with_weights=()) == set(ids)
    assert time.process_time() - started < 1
