"""Results: committed cells as immutable Parquet files, put if absent; every view is rebuilt from them.

Layout of a sweep's folder:
  cells/<cell_id>.parquet        one row, committed exactly once; plain pandas and DuckDB read the folder
  predictions/<cell_id>.parquet  test logits of the cell, one row a sample
  features/<cell_id>.parquet     mean penultimate features of the cell on test subjects, one row a clip
  modes/*.json                   how each classifier trains fastest on each kind of GPU
  .train/<cell_id>/              last epoch of a cell that trains on several devices, until it has ended
  trained/<cell_id>.safetensors  weights of a cell that others build on
  failures/<cell_id>-<n>.parquet rows of failed attempts that were asked for again
  plans/<hash>.json              each command's grid, put if absent; the sweep is their union
Everything random or slow stays out: a row is written once its cell has ended, never changed, never written twice.
"""

import dataclasses
import io
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from valence.cache import write_whole
from valence.cell import Cell
from valence.errors import BadInput

PLAN_FORMAT = 3
"""raised whenever a plan holds other things"""
METRICS = (
    "balanced_accuracy",
    "accuracy",
    "kappa",
    "weighted_f1",
    "cross_entropy",
    "calibration_error",
    "brier",
    "validation_balanced_accuracy",
    "validation_kappa",
    "gradient_ratio",
    "axis_encoding",
)
_ARROW: dict[Any, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64()}
SCHEMA = pa.schema(
    [pa.field("cell_id", pa.string(), nullable=False), pa.field("pair_id", pa.string(), nullable=False)]
    + [pa.field(field.name, _ARROW[field.type], nullable=False) for field in dataclasses.fields(Cell)]
    + [pa.field(name, pa.float64()) for name in METRICS]
    + [
        pa.field("best_epoch", pa.int64()),
        pa.field("windows", pa.int64()),
        pa.field("recall", pa.list_(pa.float64())),
        pa.field("test_subjects", pa.list_(pa.string())),
        pa.field("subject_balanced_accuracy", pa.list_(pa.float64())),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("attempts", pa.int64(), nullable=False),
        pa.field("seconds", pa.float64()),
        pa.field("mode", pa.string()),
        pa.field("rewrites", pa.list_(pa.string())),
        pa.field("compared_with", pa.string()),
        pa.field("notes", pa.list_(pa.string())),
        pa.field("cells_at_once", pa.int64()),
        pa.field("peak_memory_mb", pa.float64()),
        pa.field("device", pa.string()),
        pa.field("device_name", pa.string()),
        pa.field("versions", pa.string()),
        pa.field("finished_at", pa.timestamp("us", tz="UTC")),
    ]
)


def put_if_absent(path: Path, content: bytes) -> bool:
    """Write a file that appears whole or not at all; False where the name is taken, and then nothing changes.

    A hard link refuses an existing name, where a rename would overwrite it: a worker counted dead may still commit.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return True


def replace(path: Path, content: bytes) -> None:
    """Write a view (a file that may be rebuilt at any time) so that readers see the old or the new one, whole."""
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as the bytes of a zstd-compressed Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


class Store:
    """The committed results of one sweep, in one folder that every node can reach."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.cells = folder / "cells"

    def committed(self) -> set[str]:
        """Ids of all committed cells, done and failed, from file names alone."""
        if not self.cells.is_dir():
            return set()
        names = (entry.name for entry in os.scandir(self.cells))
        return {name.removesuffix(".parquet") for name in names if name.endswith(".parquet") and name[0] != "."}

    def is_committed(self, cell_id: str) -> bool:
        """True where a cell has ended, done or failed."""
        return (self.cells / f"{cell_id}.parquet").exists()

    def trained_path(self, cell_id: str) -> Path:
        """Where the weights of a cell lie, if they are kept."""
        return self.folder / "trained" / f"{cell_id}.safetensors"

    def is_ended(self, cell_id: str, *, with_weights: bool) -> bool:
        """True where there is nothing left to do for a cell: it is committed, and its weights are kept if wanted."""
        if not self.is_committed(cell_id):
            return False
        return not with_weights or self.trained_path(cell_id).exists() or bool(self.failed([cell_id]))

    def commit(
        self, row: dict[str, object], artifacts: dict[str, pa.Table] | None = None, *, weights: bytes | None = None
    ) -> bool:
        """Commit one cell; False where another worker was first. Its artifacts are in place before its row is."""
        if weights is not None:
            put_if_absent(self.trained_path(str(row["cell_id"])), weights)
        for kind, table in (artifacts or {}).items():
            put_if_absent(self.folder / kind / f"{row['cell_id']}.parquet", parquet_bytes(table))
        content = parquet_bytes(pa.Table.from_pylist([row], schema=SCHEMA))
        return put_if_absent(self.cells / f"{row['cell_id']}.parquet", content)

    def rows(self, cell_ids: Iterable[str] | None = None) -> pd.DataFrame:
        """Committed rows, sorted by cell id; all of them or those asked for. Raises BadInput for a damaged file."""
        wanted = self.committed() if cell_ids is None else self.committed() & set(cell_ids)
        tables = [_read(self.cells / f"{cell_id}.parquet") for cell_id in sorted(wanted)]
        table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
        return table.to_pandas()

    def row(self, cell_id: str) -> dict[str, object] | None:
        """One committed row, or None."""
        path = self.cells / f"{cell_id}.parquet"
        return _read(path).to_pylist()[0] if path.exists() else None

    def failed(self, cell_ids: Iterable[str]) -> list[str]:
        """Those of the cells whose committed row is a failure."""
        rows = self.rows(cell_ids)
        return sorted(rows.loc[rows["status"] == "failed", "cell_id"])

    def attempts(self, cell_id: str) -> int:
        """Failed attempts of a cell that were put aside so far."""
        return len(list((self.folder / "failures").glob(f"{cell_id}-*.parquet")))

    def retry(self, cell_id: str) -> None:
        """Put a failed row aside, so that its cell counts as not run. Nothing is deleted."""
        path = self.cells / f"{cell_id}.parquet"
        content = path.read_bytes() if path.exists() else b""
        row = pq.read_table(io.BytesIO(content), schema=SCHEMA).to_pylist()[0] if content else {"status": "waiting"}
        if row["status"] != "failed":
            raise BadInput(f"cell {cell_id} has not failed", allowed="cells whose status is failed", do="see --status")
        put_if_absent(self.folder / "failures" / f"{cell_id}-{row['attempts']}.parquet", content)
        # another command may have retried the same cell meanwhile: what it has committed since is left alone
        if path.exists() and path.read_bytes() == content:
            path.unlink(missing_ok=True)
            _sync_folder(self.cells)

    def save_plan(self, plan: dict[str, object], name: str) -> None:
        """Record a command's grid; the same grid is recorded once."""
        path = self.folder / "plans" / f"{name}.json"
        text = json.dumps({"format": PLAN_FORMAT, **plan}, sort_keys=True, indent=1)
        if not put_if_absent(path, text.encode()):
            os.utime(path)  # the plan asked for last speaks for the sweep

    def plans(self) -> dict[str, dict]:
        """All recorded grids by name, the one asked for last at the end. Raises BadInput where there is none."""
        files = sorted((self.folder / "plans").glob("*.json"), key=lambda file: (file.stat().st_mtime, file.name))
        if not files:
            raise BadInput(
                f"{self.folder} holds no sweep",
                allowed="a folder that a sweep was started in (it has plans/ and cells/)",
                do="check --out, or start a sweep there first",
            )
        plans = {file.stem: json.loads(file.read_text()) for file in files}
        old = [name for name, plan in plans.items() if plan.get("format") != PLAN_FORMAT]
        if old:
            raise BadInput(
                f"{self.folder / 'plans'}: grids of another version of this program: {', '.join(old)}",
                allowed=f"plans of format {PLAN_FORMAT}",
                do="remove them and run the sweep's command again: committed cells stay",
            )
        return plans


def _read(path: Path) -> pa.Table:
    """One committed row, checked to be that of its file name."""
    try:
        # partitioning=None: the folder names above the sweep are the user's, not columns
        table = pq.read_table(path, schema=SCHEMA, partitioning=None)
        problem = "" if table["cell_id"].to_pylist() == [path.stem] else "it does not hold this one cell"
    except (pa.ArrowException, OSError) as error:
        problem = str(error)
    if problem:
        raise BadInput(
            f"{path} cannot be read as a committed cell: {problem}",
            allowed="Parquet files that this program wrote",
            do="move the file away and run the same command again: only this cell is run anew",
        )
    return table
