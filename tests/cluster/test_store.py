"""The store: committed exactly once, read by pandas and DuckDB, nothing half-written ever seen."""

import dataclasses
import multiprocessing
from datetime import UTC, datetime

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.store import SCHEMA, Store, Unusable, put_if_absent, replace
from valence.cell import Cell
from valence.errors import BadInput


def make_cell(seed=0, **fields):
    names = {
        "dataset": "d", "dataset_hash": "h", "split": "s:0", "classifier": "c", "recipe": "r", "recipe_hash": "rh",
        "strategy": "none", "target": "none", "axis": "", "lambda_": 0.0,
    }  # fmt: skip
    return Cell(**names | fields, seed=seed)


def make_row(cell, status="done", **columns):
    return {
        "cell_id": cell.cell_id, "pair_id": cell.pair_id, **dataclasses.asdict(cell), "status": status, "attempts": 1,
        "balanced_accuracy": 0.25 if status == "done" else None, "error": None if status == "done" else "boom",
        "test_subjects": ["sub000", "sub001"], "subject_balanced_accuracy": [0.2, 0.3], "seconds": 1.5,
        "finished_at": datetime(2026, 1, 1, tzinfo=UTC),
    } | columns  # fmt: skip


def test_put_if_absent_never_overwrites(tmp_path):
    path = tmp_path / "a" / "x"
    assert put_if_absent(path, b"first")
    assert not put_if_absent(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


def race(path, number, barrier, queue):
    barrier.wait()
    queue.put(put_if_absent(path, str(number).encode() * 1000))


def test_of_racing_writers_one_wins(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(8), context.Queue()
    path = tmp_path / "x"
    writers = [context.Process(target=race, args=(path, number, barrier, queue)) for number in range(8)]
    for writer in writers:
        writer.start()
    wins = [queue.get(timeout=30) for _ in writers]
    for writer in writers:
        writer.join()
    assert sorted(wins) == [False] * 7 + [True]
    assert len(set(path.read_bytes())) == 1
    assert len(path.read_bytes()) == 1000
    assert list(tmp_path.iterdir()) == [path]


def test_replace_swaps_whole_files(tmp_path):
    replace(tmp_path / "v", b"one")
    replace(tmp_path / "v", b"two")
    assert (tmp_path / "v").read_bytes() == b"two"
    assert len(list(tmp_path.iterdir())) == 1


def test_rows_come_back_typed_and_missing_is_null(tmp_path):
    store = Store(tmp_path)
    cells = [make_cell(seed) for seed in range(3)]
    for cell in cells:
        assert store.commit(make_row(cell))
    assert not store.commit(make_row(cells[0], balanced_accuracy=0.9))
    rows = store.rows()
    assert list(rows["cell_id"]) == sorted(cell.cell_id for cell in cells)
    assert set(rows["balanced_accuracy"]) == {0.25}
    assert rows["kappa"].isna().all()
    assert list(rows.columns) == SCHEMA.names
    assert store.committed() == {cell.cell_id for cell in cells}


def test_plain_pandas_and_duckdb_read_the_folder(tmp_path):
    store = Store(tmp_path)
    for seed in range(4):
        store.commit(make_row(make_cell(seed)))
    (store.cells / ".half.parquet.0123").write_bytes(b"not parquet")
    assert len(pd.read_parquet(store.cells)) == 4
    query = f"select count(*), avg(balanced_accuracy) from '{store.cells}/**/*.parquet'"
    assert duckdb.sql(query).fetchone() == (4, 0.25)


def test_artifacts_are_there_before_the_row(tmp_path, monkeypatch):
    store, written = Store(tmp_path), []

    def recorded(self, name, content):
        written.append((name.partition("/")[0], self.exists(name)))
        return put_if_absent(tmp_path / name, content)

    monkeypatch.setattr("cluster.files.Folder.put_if_absent", recorded)
    cell = make_cell()
    tables = {kind: pa.table({"clip": [1, 2]}) for kind in ("predictions", "features")}
    assert store.commit(make_row(cell), tables)
    assert written == [("predictions", False), ("features", False), ("cells", False)]
    for kind in ("predictions", "features", "cells"):
        assert (tmp_path / kind / f"{cell.cell_id}.parquet").exists()
    other = make_cell(1)
    monkeypatch.setattr("cluster.store.parquet_bytes", lambda table: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        store.commit(make_row(other), {"predictions": pa.table({"clip": [1, 2]})})
    assert other.cell_id not in store.committed()


def test_retry_puts_the_failed_row_aside_and_keeps_it(tmp_path):
    store = Store(tmp_path)
    failed, done = make_cell(0), make_cell(1)
    store.commit(make_row(failed, status="failed"))
    store.commit(make_row(done))
    assert store.failed([failed.cell_id, done.cell_id]) == [failed.cell_id]
    store.retry(failed.cell_id)
    assert store.committed() == {done.cell_id}
    assert store.attempts(failed.cell_id) == 1
    assert store.commit(make_row(failed, attempts=2))
    with pytest.raises(BadInput, match="has not failed"):
        store.retry(done.cell_id)


def test_a_second_retry_leaves_what_was_committed_since(tmp_path, monkeypatch):
    store = Store(tmp_path)
    cell = make_cell()
    store.commit(make_row(cell, status="failed"))

    def other_command_is_faster(self, name, content):
        monkeypatch.undo()
        Store(tmp_path).retry(cell.cell_id)
        store.commit(make_row(cell, attempts=2))
        return False

    monkeypatch.setattr("cluster.files.Folder.put_if_absent", other_command_is_faster)
    store.retry(cell.cell_id)
    assert store.row(cell.cell_id)["status"] == "done"


def foreign(path, table):
    pq.write_table(pa.table({"a": [1]}), path)


def rubbish(path, table):
    path.write_bytes(b"PAR1 rubbish")


def cut_short(path, table):
    pq.write_table(table, path)
    path.write_bytes(path.read_bytes()[:-100])


def empty(path, table):
    path.touch()


def of_another_cell(path, table):
    pq.write_table(table, path)


@pytest.mark.parametrize("damage", [foreign, rubbish, cut_short, empty, of_another_cell])
def test_a_damaged_cell_is_put_into_quarantine_and_runs_again(tmp_path, caplog, damage):
    store = Store(tmp_path)
    good, bad = make_cell(0), make_cell(1)
    store.commit(make_row(good))
    path = store.cells / f"{bad.cell_id}.parquet"
    damage(path, pq.read_table(store.cells / f"{good.cell_id}.parquet", partitioning=None))
    content = path.read_bytes()
    assert list(store.rows()["cell_id"]) == [good.cell_id]
    assert store.committed() == {good.cell_id}
    assert f"cell {bad.cell_id} counts as not run" in caplog.text
    kept, reason = sorted((tmp_path / "quarantine").iterdir())
    assert (kept.suffix, kept.read_bytes()) == (".parquet", content)
    assert bad.cell_id in reason.read_text()
    assert store.commit(make_row(bad))
    assert len(store.rows()) == 2
    assert Store(tmp_path).row(bad.cell_id)["status"] == "done"


def test_a_damaged_cell_that_is_looked_at_is_put_into_quarantine(tmp_path):
    store = Store(tmp_path)
    rubbish(put_in_place(store, make_cell()), None)
    assert store.row(make_cell().cell_id) is None
    assert not store.committed()


def put_in_place(store, cell):
    store.cells.mkdir(parents=True, exist_ok=True)
    return store.cells / f"{cell.cell_id}.parquet"


def test_a_file_that_cannot_be_read_is_no_damaged_cell(tmp_path):
    store = Store(tmp_path)
    put_in_place(store, make_cell()).mkdir()  # the system refuses to read it
    with pytest.raises(Unusable, match="cannot be read"):
        store.rows()
    assert not (tmp_path / "quarantine").exists()


def test_rows_of_an_older_version_have_nulls_in_new_columns(tmp_path):
    store, cell = Store(tmp_path), make_cell()
    table = pa.Table.from_pylist([make_row(cell)], schema=SCHEMA)
    pq.write_table(table.drop_columns(["mode", "notes"]), put_in_place(store, cell))
    rows = store.rows()
    assert list(rows.columns) == SCHEMA.names
    assert rows[["mode", "notes"]].isna().all(axis=None)
    assert rows.loc[0, "balanced_accuracy"] == 0.25


def test_a_folder_without_a_sweep_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="holds no sweep"):
        Store(tmp_path).plans()


def test_a_grid_of_another_version_is_named(tmp_path):
    store = Store(tmp_path)
    store.save_plan({"cells": []}, "new")
    assert store.plans()["new"]["cells"] == []
    (tmp_path / "plans/old.json").write_text('{"cells": []}')
    with pytest.raises(BadInput, match=r"another version of this program: old[\s\S]*committed cells stay"):
        store.plans()
